//! `SmartModule.toml`, in Fluvio's form.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::BuildError;
use crate::find::closest;

/// A module's description.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SmartModuleToml {
    /// What it is.
    pub package: Package,
    /// Parameters that it takes, by name.
    #[serde(default)]
    pub params: BTreeMap<String, Param>,
}

/// `[package]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Package {
    /// The name that `uses:` names.
    pub name: String,
    /// Whose it is, on Fluvio's hub.
    pub group: Option<String>,
    /// The version that `uses: NAME@VERSION` asks for.
    pub version: String,
    /// Version of this file's format.
    #[serde(rename = "apiVersion")]
    pub api_version: Option<String>,
    /// One line.
    pub description: Option<String>,
    /// SPDX expression.
    pub license: Option<String>,
}

/// One of `[params]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Param {
    /// One line.
    pub description: Option<String>,
    /// Whether it may be left out.
    #[serde(default)]
    pub optional: bool,
}

impl SmartModuleToml {
    /// Hold parameters against what the module says it takes. Fluvio's form has no types, and a
    /// file without `[params]` says nothing: anything goes then.
    ///
    /// # Errors
    /// What is unknown or missing, with the remedy.
    pub fn check_params<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Result<(), String> {
        if self.params.is_empty() {
            return Ok(());
        }
        let module = &self.package.name;
        let known: Vec<String> = self.params.keys().cloned().collect();
        let unknown = |name: &&str| !self.params.contains_key(*name);
        if let Some(name) = names.clone().into_iter().find(unknown) {
            let remedy = match closest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it takes: {}", known.join(", ")),
            };
            return Err(format!("{module} has no parameter `{name}`; {remedy}"));
        }
        let given = |name: &str| names.clone().into_iter().any(|given| given == name);
        let missing = |(name, param): &(&String, &Param)| !param.optional && !given(name);
        if let Some((name, param)) = self.params.iter().find(missing) {
            let about = match &param.description {
                Some(text) => format!(": {text}"),
                None => String::new(),
            };
            return Err(format!("{module} needs the parameter `{name}`{about}"));
        }
        Ok(())
    }

    /// Read the manifest of a crate in `dir`. A crate without one is described by its
    /// `Cargo.toml`.
    pub(crate) fn of_crate(dir: &Path) -> Result<Self, BuildError> {
        let path = dir.join("SmartModule.toml");
        if path.is_file() {
            let manifest = Self::read(&path)?;
            // Both become parts of a file's name.
            let Package { name, version, .. } = &manifest.package;
            let fit = |text: &str| {
                !text.is_empty()
                    && text
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+'))
            };
            return match fit(name) && fit(version) {
                true => Ok(manifest),
                false => Err(BuildError::Manifest {
                    path,
                    reason: format!(
                        "name `{name}` and version `{version}` may have letters, digits, `-`, \
                         `_`, `.` and `+`"
                    ),
                }),
            };
        }
        let path = dir.join("Cargo.toml");
        let cargo: CargoToml = parse(&path)?;
        Ok(Self {
            package: Package {
                name: cargo.package.name,
                group: None,
                // `version.workspace = true` is no string; it has no version of its own then.
                version: cargo.package.version.as_str().unwrap_or("0.0.0").to_owned(),
                api_version: None,
                description: None,
                license: None,
            },
            params: BTreeMap::new(),
        })
    }

    /// Read the manifest in the file `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, BuildError> {
        parse(path)
    }
}

#[derive(Deserialize)]
struct CargoToml {
    package: CargoPackage,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    version: toml::Value,
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, BuildError> {
    let text = std::fs::read_to_string(path).map_err(|error| BuildError::io(path, error))?;
    toml::from_str(&text).map_err(|error| BuildError::Manifest {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    })
}
