//! A guest as `wasm32-wasip1` makes it: a reactor that imports exactly what a stock one does and
//! sets itself up in `_initialize`.

#![allow(clippy::unwrap_used)]

mod common;

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
