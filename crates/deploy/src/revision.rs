//! What is deployed: the file as it was, with the modules that it names as they were, so that a
//! stage that is started again is the same one whatever was edited meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DeployError, state};

const FILE: &str = "revision.json";
const TEXT: &str = "pipeline.yaml";
const MODULES: &str = "modules";

/// A pipeline file with everything that makes it run the same way once more. Secrets are not in
/// it: they are looked up each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// `meta.name`.
    pub pipeline: String,
    /// The file that it was made from: what messages call it.
    pub file: PathBuf,
    /// What relative paths count from.
    pub cwd: PathBuf,
    /// `--set`.
    pub set: Vec<String>,
    /// `--secrets`.
    pub secrets: Option<PathBuf>,
    /// The directory of embedded topics and counts, if that is where they are.
    pub local: Option<PathBuf>,
    /// Where metrics are served, if that is not what the file says.
    pub listen: Option<SocketAddr>,
    /// Every stage of the file and whether it is a source, in the file's order.
    pub stages: Vec<StageEntry>,
    /// What `uses` names, as a path in the revision's directory.
    pub modules: BTreeMap<String, PathBuf>,
    /// Names the content: two of the same digest are the same.
    pub digest: String,
}

/// A stage of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageEntry {
    /// `meta.name`.
    pub name: String,
    /// `meta.type`.
    pub kind: String,
    /// `meta.topic`.
    pub topic: String,
    /// Whether it brings records into its topic.
    pub is_source: bool,
    /// `uses` of its transforms, in order.
    #[serde(default)]
    pub transforms: Vec<String>,
    /// Whether it is deployed.
    pub runs: bool,
}

impl Revision {
    /// Names of the stages that are to run.
    pub fn running(&self) -> Vec<String> {
        let running = self.stages.iter().filter(|stage| stage.runs);
        running.map(|stage| stage.name.clone()).collect()
    }

    /// Let exactly those stages run that `wanted` says.
    pub fn select(&mut self, wanted: impl Fn(&str) -> bool) {
        for stage in &mut self.stages {
            stage.runs = wanted(&stage.name);
        }
    }

    /// Copy the WASM file `wasm`, the module `name` that `uses` means, into the revision in `dir`.
    ///
    /// # Errors
    /// What the system says.
    pub fn add_module(
        &mut self,
        dir: &Path,
        uses: &str,
        name: &str,
        wasm: &Path,
    ) -> Result<(), DeployError> {
        let bytes = fs::read(wasm).map_err(DeployError::io(wasm))?;
        // A module goes by its file's name and content: two of the same name have a directory each.
        let place = Path::new(MODULES).join(hex(&Sha256::digest(&bytes)));
        let path = place.join(format!("{name}.wasm"));
        fs::create_dir_all(dir.join(&place))
            .and_then(|()| fs::write(dir.join(&path), &bytes))
            .map_err(DeployError::io(&dir.join(&path)))?;
        self.modules.insert(uses.to_owned(), path);
        Ok(())
    }

    /// Write it, with the file's text, into `dir`.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&mut self, dir: &Path, text: &[u8]) -> Result<(), DeployError> {
        let path = dir.join(TEXT);
        fs::write(&path, text).map_err(DeployError::io(&path))?;
        let content = Self {
            // From where it is deployed makes no other revision of it.
            cwd: PathBuf::new(),
            digest: String::new(),
            ..self.clone()
        };
        let mut hasher = Sha256::new();
        hasher.update(serde_json::json!(content).to_string());
        hasher.update(text);
        self.digest = hex(&hasher.finalize());
        state::write_json(&dir.join(FILE), self)
    }

    /// The revision in `dir`.
    ///
    /// # Errors
    /// None there, or a damaged one.
    pub fn load(dir: &Path) -> Result<Self, DeployError> {
        state::read_json(&dir.join(FILE))
    }

    /// The text of the revision in `dir`.
    ///
    /// # Errors
    /// What the system says.
    pub fn text(dir: &Path) -> Result<Vec<u8>, DeployError> {
        let path = dir.join(TEXT);
        fs::read(&path).map_err(DeployError::io(&path))
    }

    /// The same in `to`, with other stages running.
    ///
    /// # Errors
    /// What the system says.
    pub fn copy(
        from: &Path,
        to: &Path,
        select: impl Fn(&str) -> bool,
    ) -> Result<Self, DeployError> {
        let mut revision = Self::load(from)?;
        for module in revision.modules.values() {
            let target = to.join(module);
            fs::create_dir_all(target.parent().unwrap_or(to))
                .and_then(|()| fs::copy(from.join(module), &target).map(drop))
                .map_err(DeployError::io(&target))?;
        }
        revision.select(select);
        revision.save(to, &Self::text(from)?)?;
        Ok(revision)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision() -> Revision {
        let stage = |name: &str| StageEntry {
            name: name.to_owned(),
            kind: "redis-sink".to_owned(),
            topic: "edits".to_owned(),
            is_source: false,
            transforms: Vec::new(),
            runs: true,
        };
        Revision {
            pipeline: "p".to_owned(),
            file: "/p.yaml".into(),
            cwd: "/".into(),
            set: Vec::new(),
            secrets: None,
            local: None,
            listen: None,
            stages: vec![stage("a"), stage("b")],
            modules: BTreeMap::new(),
            digest: String::new(),
        }
    }

    #[test]
    fn a_copy_is_whole_and_a_digest_names_the_content() {
        let (one, two, three) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        let wasm = one.path().join("built.wasm");
        fs::write(&wasm, b"code").unwrap();
        let mut first = revision();
        first
            .add_module(one.path(), "g/mark@1", "mark", &wasm)
            .unwrap();
        first.save(one.path(), b"text").unwrap();
        assert_eq!(Revision::load(one.path()).unwrap(), first);
        let same = Revision::copy(one.path(), two.path(), |_| true).unwrap();
        assert_eq!(same.digest, first.digest);
        let module = two.path().join(&same.modules["g/mark@1"]);
        assert_eq!(fs::read(&module).unwrap(), b"code");
        assert_eq!(module.file_name().unwrap(), "mark.wasm");
        let other = Revision::copy(one.path(), three.path(), |name| name == "b").unwrap();
        assert_ne!(other.digest, first.digest);
        assert_eq!(other.running(), ["b"]);
        let mut edited = first.clone();
        edited.save(three.path(), b"other text").unwrap();
        assert_ne!(edited.digest, first.digest);
    }
}
