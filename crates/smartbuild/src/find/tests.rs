use super::*;

fn check(uses: &str, name: &str, version: Option<&str>) {
    let expect = Uses::Name {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    };
    assert_eq!(Uses::parse(uses).unwrap(), expect, "{uses}");
}

#[test]
fn forms_of_uses() {
    check("extract-type", "extract-type", None);
    check("extract-type@0.1.0", "extract-type", Some("0.1.0"));
    check(
        "gristmill/extract-type@0.1.0",
        "extract-type",
        Some("0.1.0"),
    );
    let path = Uses::parse("some/dir/x@1.wasm").unwrap();
    assert_eq!(path, Uses::Path("some/dir/x@1.wasm".into()));
    for bad in [
        "",
        "@1",
        "a@",
        "../../etc/passwd",
        "a/b/c",
        "a b",
        "/a",
        "a/",
    ] {
        let error = Uses::parse(bad).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{bad}` names no SmartModule")),
            "{error}"
        );
    }
}

/// A directory with a crate `extract-type` 0.1.0 and prebuilt modules.
fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let krate = dir.path().join("extract-type");
    std::fs::create_dir(&krate).unwrap();
    std::fs::write(krate.join("Cargo.toml"), "").unwrap();
    std::fs::write(
        krate.join("SmartModule.toml"),
        "[package]\nname = \"extract-type\"\nversion = \"0.1.0\"\n[params]\nfield = {optional = true}\n",
    )
    .unwrap();
    for file in ["plain.wasm", "multi@1.0.0.wasm", "multi@2.0.0.wasm"] {
        std::fs::write(dir.path().join(file), b"\0asm").unwrap();
    }
    dir
}

fn look(dir: &Path, uses: &str) -> Result<Found, String> {
    find(
        &[dir.to_owned()],
        Path::new(""),
        &Uses::parse(uses).unwrap(),
    )
    .map_err(|error| error.to_string())
}

#[test]
fn crates_and_files_are_found() {
    let dir = dir();
    let Found::Crate {
        version, manifest, ..
    } = look(dir.path(), "extract-type").unwrap()
    else {
        panic!("not a crate");
    };
    assert_eq!(version, "0.1.0");
    assert!(manifest.params["field"].optional);
    for (uses, file) in [
        ("plain", "plain.wasm"),
        ("plain@3.0.0", "plain.wasm"), // it has no version to be wrong
        ("multi", "multi@2.0.0.wasm"),
        ("multi@1.0.0", "multi@1.0.0.wasm"),
    ] {
        let Found::File { wasm, .. } = look(dir.path(), uses).unwrap() else {
            panic!("not a file");
        };
        assert_eq!(wasm, dir.path().join(file), "{uses}");
    }
}

#[test]
fn errors_say_what_was_looked_for_where() {
    let dir = dir();
    let at = dir.path().display();
    let error = look(dir.path(), "extract-typ@0.1.0").unwrap_err();
    assert_eq!(
        error,
        format!("no SmartModule `extract-typ` in {at}; did you mean `extract-type`?")
    );
    let error = look(dir.path(), "window").unwrap_err();
    assert_eq!(
        error,
        format!("no SmartModule `window` in {at}; there are: extract-type, multi, plain")
    );
    let error = look(dir.path(), "extract-type@0.2.0").unwrap_err();
    assert_eq!(
        error,
        format!(
            "SmartModule `extract-type` is there in version 0.1.0 ({at}/extract-type), not 0.2.0; \
             write `uses: extract-type@0.1.0`"
        )
    );
    let error = look(dir.path(), "nowhere/x.wasm").unwrap_err();
    assert!(error.starts_with("nowhere/x.wasm: "), "{error}");
}
