//! Real builds of the modules in this repository.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests

use std::path::{Path, PathBuf};

use gristmill_smartbuild::{BuildError, Sources};

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smartmodules")
}

/// A build, or `None` where this machine has no wasm toolchain.
fn resolve(sources: &Sources, uses: &str) -> Option<gristmill_smartbuild::Built> {
    match sources.resolve(uses, &mut |line| eprintln!("{line}")) {
        Ok(built) => Some(built),
        Err(error @ BuildError::Toolchain { .. })
            if std::env::var("GRISTMILL_TEST_REQUIRE").as_deref() != Ok("1") =>
        {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A workspace of one tiny module without dependencies, which builds in a second.
fn tiny() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let krate = dir.path().join("tiny");
    std::fs::create_dir_all(krate.join("src")).unwrap();
    std::fs::write(
        dir.path().join("Cargo.toml"),
        "[workspace]\nmembers = [\"tiny\"]\n",
    )
    .unwrap();
    std::fs::write(
        krate.join("Cargo.toml"),
        "[package]\nname = \"tiny\"\nversion = \"0.3.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"cdylib\"]\n",
    )
    .unwrap();
    write_tiny(dir.path(), "one");
    dir
}

fn write_tiny(dir: &Path, name: &str) {
    let source = format!("#[unsafe(no_mangle)]\npub extern \"C\" fn {name}() -> i32 {{ 1 }}\n");
    std::fs::write(dir.join("tiny/src/lib.rs"), source).unwrap();
}

#[test]
fn the_main_jobs_module_is_built_once() {
    let sources = Sources::new(vec![modules()]);
    let Some(built) = resolve(&sources, "extract-type@0.1.0") else {
        return;
    };
    assert_eq!(built.version, "0.1.0");
    let manifest = built.manifest.unwrap();
    assert_eq!(manifest.package.group.as_deref(), Some("gristmill"));
    assert!(manifest.params["field"].optional);
    let wasm = std::fs::read(&built.wasm).unwrap();
    assert!(wasm.starts_with(b"\0asm"));
    assert!(!resolve(&sources, "extract-type").unwrap().fresh);
}

#[test]
fn changed_sources_are_built_anew_and_others_are_not() {
    let dir = tiny();
    let sources = Sources::new(vec![dir.path().to_owned()]);
    let Some(first) = resolve(&sources, "tiny@0.3.0") else {
        return;
    };
    assert!(first.fresh);
    assert!(!resolve(&sources, "tiny").unwrap().fresh);

    write_tiny(dir.path(), "two");
    let second = resolve(&sources, "tiny").unwrap();
    assert!(second.fresh);
    assert_ne!(second.wasm, first.wasm);
    assert!(!first.wasm.exists(), "the old build is forgotten");
    let wasm = std::fs::read(&second.wasm).unwrap();
    assert!(wasm.windows(3).any(|window| window == b"two"));
}

#[test]
fn two_at_once_build_once() {
    let dir = tiny();
    let sources = Sources::new(vec![dir.path().to_owned()]);
    let both: Vec<_> = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| resolve(&sources, "tiny")));
        threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap())
            .collect()
    });
    if let [a, b] = both.as_slice() {
        assert_eq!(a.wasm, b.wasm);
        assert!(a.fresh != b.fresh, "exactly one built it");
    }
}

#[test]
fn sources_that_do_not_compile_say_why() {
    let dir = tiny();
    std::fs::write(dir.path().join("tiny/src/lib.rs"), "fn broken( {}\n").unwrap();
    let sources = Sources::new(vec![dir.path().to_owned()]);
    match sources.resolve("tiny", &mut |_| {}) {
        Err(error @ BuildError::Compile { .. }) => {
            let text = error.to_string();
            assert!(text.contains("src/lib.rs:1"), "{text}");
        }
        Err(error @ BuildError::Toolchain { .. }) => eprintln!("skipped: {error}"),
        other => panic!("{other:?}"),
    }
}
