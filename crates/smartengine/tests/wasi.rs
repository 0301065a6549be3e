//! Guests for `wasm32-wasip1`: stock ones, built by rustc, and by hand a reactor that imports exactly
//! what they do and sets itself up in `_initialize`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use gristmill_smartengine::{EngineError, Kind};

/// `mark.wat` with the imports and the start of a wasip1 reactor: wasi-libc asks for the
/// environment there, and std's statics are set up.
fn reactor(initialize: &str) -> String {
    let imports = r#"(module
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))"#;
    let start = format!(
        r#"(global $mark (mut i32) (i32.const 63))
  (func (export "_initialize") {initialize})
  (func (export "dealloc") (param i32 i32)))"#
    );
    let text = include_str!("guests/mark.wat")
        .replacen("(module", imports, 1)
        .replace("(i32.const MARK)", "(global.get $mark)");
    let text = text.trim_end().strip_suffix(')').unwrap();
    format!("{text}{start}")
}

#[test]
fn it_is_initialised_before_its_first_record() {
    // No variables, and no room is written for any.
    let module = wat(&reactor(
        r#"
        (i32.store (i32.const 64) (i32.const -1))
        (i32.store (i32.const 68) (i32.const -1))
        (if (call $environ_sizes_get (i32.const 64) (i32.const 68)) (then (call $proc_exit (i32.const 70))))
        (if (i32.or (i32.load (i32.const 64)) (i32.load (i32.const 68))) (then unreachable))
        (if (call $environ_get (i32.const 72) (i32.const 76)) (then (call $proc_exit (i32.const 71))))
        (global.set $mark (i32.const 119))"#,
    ));
    assert_eq!(module.kind(), Kind::Map);
    let mut chain = chain([step(module)]);
    let mut previous = apply(&mut chain, batch(["a", "b"]));
    assert_eq!(
        values(&previous),
        [(0, "w".to_owned()), (1, "w".to_owned())]
    );
    for _ in 0..100 {
        previous = apply(&mut chain, then(&previous, ["c"]));
        assert_eq!(values(&previous), [(0, "w".to_owned())]);
    }
    assert_eq!(chain.usage().instances, 1, "one instance for all batches");
}

#[test]
fn one_that_gives_up_at_its_start_says_so() {
    // "no\n" to standard error, as a panic would, then its exit code.
    let module = wat(&reactor(
        r#"
        (i32.store (i32.const 64) (i32.const 80))
        (i32.store (i32.const 68) (i32.const 3))
        (i32.store (i32.const 80) (i32.const 0x000a6f6e))
        (drop (call $fd_write (i32.const 2) (i32.const 64) (i32.const 1) (i32.const 72)))
        (call $proc_exit (i32.const 101))"#,
    ));
    let error = gristmill_smartengine::Chain::new(vec![step(module)]).unwrap_err();
    assert!(matches!(error, EngineError::Instantiate { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.ends_with("trapped: exited with code 101; it said: no"),
        "{text}"
    );
}

const TARGET: &str = "wasm32-wasip1";
/// All that a stock guest for it asks for.
const IMPORTS: [&str; 5] = [
    "env.copy_records",
    "wasi_snapshot_preview1.environ_get",
    "wasi_snapshot_preview1.environ_sizes_get",
    "wasi_snapshot_preview1.fd_write",
    "wasi_snapshot_preview1.proc_exit",
];

/// A test guest of `smartmodules/`, built for [`TARGET`]; `None`, and a word about it, where there is
/// no such target.
fn wasip1(name: &str) -> Option<PathBuf> {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smartmodules");
    let target = Command::new("rustup")
        .args(["target", "add", TARGET])
        .output();
    if !target.as_ref().is_ok_and(|output| output.status.success()) {
        let why = format!("rustup has no target {TARGET}: {target:?}");
        eprintln!("skipped: {why}");
        return None;
    }
    let dir = guests.join("target/wasip1");
    let mut cargo = Command::new("cargo");
    // What is set for the build that runs this test is not meant for this one.
    for (variable, _) in std::env::vars() {
        let ours = variable.starts_with("CARGO_") && variable != "CARGO_HOME";
        if ours || ["RUSTFLAGS", "RUSTC", "MAKEFLAGS"].contains(&&*variable) {
            cargo.env_remove(variable);
        }
    }
    let built = cargo
        .args(["build", "--release", "--target", TARGET, "--package", name])
        // What is wanted is that it runs, soon.
        .args(["--config", "profile.release.lto=false"])
        .args(["--config", "profile.release.opt-level=1"])
        .args(["--config", "profile.release.codegen-units=16"])
        .arg("--target-dir")
        .arg(&dir)
        .current_dir(&guests)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let file = format!("{TARGET}/release/{}.wasm", name.replace('-', "_"));
    Some(dir.join(file))
}

/// The same crate for the two targets gives the same, and asks for nothing but what is listed: no
/// file, no socket, no clock.
#[test]
fn stock_guests_for_wasip1_are_the_same() {
    for name in ["stock-filter", "stock-map", "stock-array-map"] {
        let (Some(wasm), Some(twin)) = (wasip1(name), guest(name)) else {
            return;
        };
        let compiled = wasmtime::Module::from_file(&wasmtime::Engine::default(), &wasm).unwrap();
        let imports: Vec<_> = compiled
            .imports()
            .map(|i| format!("{}.{}", i.module(), i.name()))
            .collect();
        assert!(
            imports.iter().any(|import| import.starts_with("wasi")),
            "{imports:?}"
        );
        for import in &imports {
            assert!(IMPORTS.contains(&&**import), "{name} imports {import}");
        }
        let module = engine().load(name, &wasm).unwrap();
        let (mut own, mut other) = (chain([step(module)]), chain([step(twin)]));
        let mut input = batch(["a", "b,c", "bad", "", "d"]);
        for _ in 0..20 {
            let (own, other) = (
                apply(&mut own, input.clone()),
                apply(&mut other, input.clone()),
            );
            assert_eq!(own.records, other.records);
            assert_eq!(rejects(&own), rejects(&other));
            input = then(&input, ["x", "bad", "y,z"]);
        }
        assert_eq!(own.usage().instances, other.usage().instances);
    }
}

/// There a panic has words, and they are in the reason.
#[test]
fn a_panic_of_a_wasip1_guest_tells_itself() {
    let Some(wasm) = wasip1("stock-filter") else {
        return;
    };
    let module = engine().load("stock-filter", &wasm).unwrap();
    let mut chain = chain([step(module)]);
    let output = apply(&mut chain, batch(["a", "panic", "b"]));
    assert_eq!(indices(&rejects(&output)), [1]);
    let reason = &rejects(&output)[0].1;
    assert!(
        reason.contains("it said: ") && reason.contains("panicked at"),
        "{reason}"
    );
    let next = apply(&mut chain, then(&output, ["c"]));
    assert_eq!(next.rejects, []);
}
