//! New SmartModules: a crate that builds and tests at once.

use std::path::{Path, PathBuf};

use crate::BuildError;
use crate::cargo::{FEATURES, PROFILE, TARGET};
use crate::find::is_name;

/// The guest SDK's package.
const SDK: &str = "gristmill-smartmodule";

/// What a new module does with records, and the example that it starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Keeps records that hold a text.
    Filter,
    /// Puts a text before each value.
    Map,
    /// Takes a field out of a JSON document.
    FilterMap,
    /// Splits a value.
    ArrayMap,
    /// Adds numbers up.
    Aggregate,
}

struct Example {
    source: &'static str,
    description: &'static str,
    /// Name and description of its parameter, and whether it may be left out.
    param: Option<(&'static str, &'static str, bool)>,
}

impl Template {
    /// Every kind that there is.
    pub const ALL: [Self; 5] = [
        Self::Filter,
        Self::Map,
        Self::FilterMap,
        Self::ArrayMap,
        Self::Aggregate,
    ];

    fn example(self) -> Example {
        match self {
            Self::Filter => Example {
                source: include_str!("../templates/filter.rs"),
                description: "Keeps the records whose value holds a text",
                param: Some(("text", "The text to look for; all are kept without", true)),
            },
            Self::Map => Example {
                source: include_str!("../templates/map.rs"),
                description: "Puts a text before every value",
                param: Some(("prefix", "What to put before each value", true)),
            },
            Self::FilterMap => Example {
                source: include_str!("../templates/filter-map.rs"),
                description: "Replaces a JSON record by the text of one of its fields",
                param: Some((
                    "field",
                    "Name of a top-level field, or a JSON pointer (starting with `/`)",
                    false,
                )),
            },
            Self::ArrayMap => Example {
                source: include_str!("../templates/array-map.rs"),
                description: "Splits a value into records of their own",
                param: Some(("separator", "Where to split; a comma unless given", true)),
            },
            Self::Aggregate => Example {
                source: include_str!("../templates/aggregate.rs"),
                description: "The running sum of whole numbers",
                param: None,
            },
        }
    }
}

/// Make the crate `dir/name` on the guest SDK in the folder `sdk`, and give its folder.
///
/// It is a workspace of its own: it builds anywhere, within another workspace's folder too.
///
/// # Errors
/// A name that is none, a folder that is there already or cannot be written, an `sdk` that is not
/// the guest SDK.
pub fn scaffold(
    name: &str,
    template: Template,
    dir: &Path,
    sdk: &Path,
) -> Result<PathBuf, BuildError> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !is_name(name) || !starts_well || name.contains(|c: char| c.is_ascii_uppercase()) {
        return Err(BuildError::Uses {
            uses: name.to_owned(),
            reason: "a new one's name has small letters, digits and `-`, and starts with a letter"
                .to_owned(),
        });
    }
    let sdk = is_sdk(sdk)
        .then(|| sdk.canonicalize())
        .and_then(Result::ok)
        .ok_or_else(|| BuildError::Manifest {
            path: sdk.join("Cargo.toml"),
            reason: format!("this is not the guest SDK, the crate `{SDK}`"),
        })?;
    let home = dir.join(name);
    if home.exists() {
        let error = std::io::Error::other("it is there already; choose another name");
        return Err(BuildError::io(&home, error));
    }
    let write = |file: &str, text: &str| {
        let path = home.join(file);
        std::fs::write(&path, text).map_err(|error| BuildError::io(&path, error))
    };
    for folder in ["src", ".cargo"].map(|folder| home.join(folder)) {
        std::fs::create_dir_all(&folder).map_err(|error| BuildError::io(&folder, error))?;
    }
    let example = template.example();
    let from = home
        .canonicalize()
        .map_err(|error| BuildError::io(&home, error))?;
    write(
        "Cargo.toml",
        &cargo_toml(name, &example, &relative(&from, &sdk)),
    )?;
    write(".cargo/config.toml", &cargo_config())?;
    write("SmartModule.toml", &smart_module_toml(name, &example))?;
    write(".gitignore", "/target\n")?;
    write("src/lib.rs", example.source)?;
    Ok(home)
}

/// The guest SDK of the clone that `start` is in, if it is in one.
pub fn sdk_above(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    let places = start.ancestors().map(|dir| dir.join("crates/smartmodule"));
    places.into_iter().find(|place| is_sdk(place))
}

fn is_sdk(dir: &Path) -> bool {
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).ok();
    let table = manifest.and_then(|text| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| {
        let name = table.get("package").and_then(|p| p.get("name")?.as_str());
        name == Some(SDK)
    })
}

/// `to` as seen from `from`, both absolute: a clone that is moved takes its modules along. Where
/// they share nothing but the root, they are not of one clone.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    if shared <= 1 {
        return to.to_owned();
    }
    let up = from.components().skip(shared).map(|_| "..");
    let mut path: PathBuf = up.collect();
    path.extend(to.components().skip(shared));
    path
}

fn cargo_toml(name: &str, example: &Example, sdk: &Path) -> String {
    let description = example.description;
    // A path is text in TOML: its own quotes and backslashes must not end it.
    let sdk = toml::Value::from(sdk.display().to_string());
    let profile: String = PROFILE
        .iter()
        .filter_map(|setting| setting.strip_prefix("profile.release."))
        .map(|setting| format!("{}\n", setting.replacen('=', " = ", 1)))
        .collect();
    format!(
        "[package]\n\
         name = \"{name}\"\n\
         version = \"0.1.0\"\n\
         description = \"{description}\"\n\
         edition = \"2024\"\n\
         publish = false\n\
         \n\
         [lib]\n\
         # WASM, and a library for its own tests.\n\
         crate-type = [\"cdylib\", \"rlib\"]\n\
         \n\
         [dependencies]\n\
         {SDK} = {{ path = {sdk} }}\n\
         \n\
         # A workspace of its own: it is built for WASM, and builds in any folder.\n\
         [workspace]\n\
         \n\
         # What `gristmill smartmodule build` uses; here too, so that a plain cargo build gives the \
         same.\n\
         [profile.release]\n\
         {profile}"
    )
}

fn cargo_config() -> String {
    format!(
        "# As the profile in Cargo.toml: JSON is checked several times faster by `simd128`.\n\
         [target.{TARGET}]\n\
         rustflags = [\"-Ctarget-feature={FEATURES}\"]\n"
    )
}

fn smart_module_toml(name: &str, example: &Example) -> String {
    let description = example.description;
    let mut text = format!(
        "[package]\n\
         name = \"{name}\"\n\
         group = \"local\"\n\
         version = \"0.1.0\"\n\
         apiVersion = \"0.1.0\"\n\
         description = \"{description}\"\n"
    );
    if let Some((param, about, optional)) = example.param {
        text.push_str(&format!(
            "\n[params]\n{param} = {{ description = \"{about}\", optional = {optional} }}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the modules of the clone are built with by a plain cargo build.
    const OWN_CONFIG: &str = include_str!("../../../smartmodules/.cargo/config.toml");

    fn features(config: &str) -> String {
        let config: toml::Table = config.parse().unwrap();
        config["target"][TARGET]["rustflags"].to_string()
    }

    /// Something that looks like the SDK.
    fn sdk(root: &Path) -> PathBuf {
        let sdk = root.join("crates/smartmodule");
        std::fs::create_dir_all(&sdk).unwrap();
        let manifest = format!("[package]\nname = \"{SDK}\"\n");
        std::fs::write(sdk.join("Cargo.toml"), manifest).unwrap();
        sdk
    }

    #[test]
    fn what_is_made_is_described_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let sdk = sdk(root.path());
        for template in Template::ALL {
            let name = format!("{template:?}").to_lowercase();
            let home = scaffold(&name, template, root.path(), &sdk).unwrap();
            let manifest = crate::SmartModuleToml::of_crate(&home).unwrap();
            assert_eq!(manifest.package.name, name);
            let cargo = std::fs::read_to_string(home.join("Cargo.toml")).unwrap();
            let cargo: toml::Table = cargo.parse().unwrap();
            let path = cargo["dependencies"][SDK]["path"].as_str().unwrap();
            assert_eq!(path, "../crates/smartmodule");
            assert_eq!(cargo["profile"]["release"]["panic"].as_str(), Some("abort"));
            let config = std::fs::read_to_string(home.join(".cargo/config.toml")).unwrap();
            assert_eq!(features(&config), features(OWN_CONFIG));
            // Every parameter that the code takes is described, and none beside it.
            let source = std::fs::read_to_string(home.join("src/lib.rs")).unwrap();
            let takes = ["or(\"", "required(\"", "optional(\""];
            let taken: Vec<&str> = takes
                .iter()
                .flat_map(|call| source.split(*call).skip(1))
                .filter_map(|rest| rest.split('"').next())
                .collect();
            let described: Vec<&str> = manifest.params.keys().map(String::as_str).collect();
            assert_eq!(taken, described);
        }
        assert_eq!(sdk_above(&root.path().join("a/b")), Some(sdk));
    }

    #[test]
    fn what_is_there_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let sdk = sdk(root.path());
        let new = |name: &str, sdk: &Path| {
            let made = scaffold(name, Template::Filter, root.path(), sdk);
            made.unwrap_err().to_string()
        };
        std::fs::create_dir(root.path().join("there")).unwrap();
        assert!(new("there", &sdk).contains("there already"));
        assert!(new("x", root.path()).contains("not the guest SDK"));
        for name in ["", "../x", "Big", "1st", "a b", "a/b"] {
            assert!(new(name, &sdk).contains("starts with a letter"), "{name}");
        }
    }
}
