//! Compiled modules on disk.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gristmill_smartengine::{Engine, EngineOptions};

const MODULE: &str = r#"(module (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) (i32.const 0))
  (func (export "filter") (param i32 i32 i32) (result i32) (i32.const 0)))"#;

fn load(dir: &Path) {
    let engine = Engine::new(EngineOptions {
        cache_dir: Some(dir.to_owned()),
    })
    .unwrap();
    engine
        .load_bytes("wat", &wat::parse_str(MODULE).unwrap())
        .unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn a_compiled_module_is_kept_and_a_damaged_one_replaced() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("cache");
    load(&dir);
    let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let [code, sum] = &files(&dir)[..] else {
        panic!("{:?}", files(&dir))
    };
    let good = std::fs::read(code).unwrap();
    let made = std::fs::metadata(sum).unwrap().modified().unwrap();

    load(&dir);
    assert_eq!(
        std::fs::metadata(sum).unwrap().modified().unwrap(),
        made,
        "not compiled again"
    );

    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    for damage in [&bad[..], &good[..good.len() / 2], b""] {
        std::fs::write(code, damage).unwrap();
        load(&dir);
        assert_eq!(std::fs::read(code).unwrap().len(), good.len());
    }
    std::fs::remove_file(sum).unwrap();
    load(&dir);
    assert_eq!(files(&dir).len(), 2);
}

#[test]
fn only_the_last_modules_are_kept() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("cache");
    let engine = Engine::new(EngineOptions {
        cache_dir: Some(dir.clone()),
    })
    .unwrap();
    let load = |index: usize| {
        let text = MODULE.replace("(i32.const 0)))", &format!("(i32.const {index})))"));
        engine
            .load_bytes("wat", &wat::parse_str(text).unwrap())
            .unwrap();
    };
    let compiled = || {
        let is_module = |path: &PathBuf| path.extension().is_some_and(|e| e == "cwasm");
        files(&dir).into_iter().filter(is_module).count()
    };
    (0..64).for_each(load);
    assert_eq!((compiled(), files(&dir).len()), (64, 128));
    // The first one is used again, so the second one has to go.
    load(0);
    load(64);
    assert_eq!((compiled(), files(&dir).len()), (64, 128));
    let before = files(&dir);
    load(0);
    assert_eq!(files(&dir), before, "the first one is still there");
    load(1);
    assert_ne!(files(&dir), before, "the second one is not");
}

#[test]
fn a_directory_that_others_can_write_to_is_not_used() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("cache");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    load(&dir);
    assert_eq!(files(&dir), Vec::<PathBuf>::new());
}
