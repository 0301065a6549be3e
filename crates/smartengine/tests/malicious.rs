//! Guests that mean harm: each is contained, and the next batch is processed.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use gristmill_smartengine::{Chain, EngineError, Limits, Step};

/// A guest whose `filter` does `body` if the batch holds a value `!!` (bytes that no offset or
/// length here has), and else hands over no record. `$ptr` and `$len` are the input's; locals `$i` and `$hit` are there.
fn guest_wat(body: &str) -> String {
    format!(
        r#"(module
  (import "env" "copy_records" (func $copy (param i32 i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 0) "\00\00\00\00\00")
  (func (export "alloc") (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (if (i32.gt_u (local.get $len) (i32.const 60000)) (then (return (i32.const -1))))
    (if (i32.gt_u (i32.add (local.get $at) (local.get $len)) (i32.const 131072))
      (then (local.set $at (i32.const 4096))))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (local.get $at))
  (func $recurse (param i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))
  (func (export "filter") (param $ptr i32) (param $len i32) (param $version i32) (result i32)
    (local $i i32) (local $hit i32)
    (loop $scan
      (if (i32.lt_u (local.get $i) (local.get $len)) (then
        (if (i32.eq (i32.load16_u (i32.add (local.get $ptr) (local.get $i))) (i32.const 0x2121))
          (then (local.set $hit (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $scan))))
    (if (local.get $hit) (then {body}))
    (call $copy (i32.const 0) (i32.const 5))
    (i32.const 0)))"#
    )
}

/// Records 1 and 4 of 8 are guilty of `body`; the reason must hold `reason`.
#[track_caller]
fn contained(body: &str, limits: Limits, reason: &str) {
    let mut chain = chain([Step {
        limits,
        ..step(wat(&guest_wat(body)))
    }]);
    let value = |i| if i == 1 || i == 4 { "!!" } else { "." };
    let output = apply(&mut chain, batch((0..8).map(value)));
    let rejects = rejects(&output);
    assert_eq!(indices(&rejects), [1, 4], "{rejects:?}");
    for (_, text) in &rejects {
        assert!(
            text.starts_with("wat: filter at edits[1] offset 10"),
            "{text}"
        );
        assert!(text.contains(reason), "{text}");
    }
    let next = apply(&mut chain, batch(["."]));
    assert_eq!(next.rejects, []);
}

#[test]
fn endless_loop() {
    let limits = Limits {
        call_time_ms: 50,
        ..Limits::default()
    };
    contained(
        "(loop $l (br $l))",
        limits,
        "exceeded the time limit of 50 ms a call",
    );
}

#[test]
fn trap() {
    contained(
        "unreachable",
        Limits::default(),
        "trapped: wasm trap: wasm `unreachable`",
    );
}

#[test]
fn stack_overflow() {
    let body = "(drop (call $recurse (i32.const 0)))";
    contained(
        body,
        Limits::default(),
        "trapped: wasm trap: call stack exhausted",
    );
}

#[test]
fn memory_bomb() {
    let body =
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let limits = Limits {
        memory_bytes: 1 << 20,
        ..Limits::default()
    };
    contained(body, limits, "exceeded the memory limit of 1048576 bytes");
}

#[test]
fn output_bomb() {
    let limits = Limits {
        output_bytes: 1024,
        ..Limits::default()
    };
    let body = "(call $copy (i32.const 0) (i32.const 1025))";
    contained(
        body,
        limits,
        "output of 1025 bytes exceeds the limit of 1024",
    );
}

#[test]
fn lies() {
    for (body, reason) in [
        (
            "(call $copy (i32.const 131072) (i32.const 1))",
            "beyond its memory",
        ),
        (
            "(call $copy (i32.const -1) (i32.const 100))",
            "beyond its memory",
        ),
        (
            "(call $copy (i32.const 0) (i32.const -1))",
            "exceeds the limit",
        ),
        ("(return (i32.const 0))", "no output handed over"),
        (
            "(call $copy (i32.const 0) (i32.const 5)) (return (i32.const 3))",
            "returned 3 and handed over 0",
        ),
        (
            "(call $copy (i32.const 0) (i32.const 0)) (return (i32.const 0))",
            "answered nonsense",
        ),
        (
            "(call $copy (i32.const 0) (i32.const 6)) (return (i32.const 0))",
            "left over",
        ),
        // A count of two thousand million records.
        (
            "(i32.store8 (i32.const 0) (i32.const 127)) (call $copy (i32.const 0) (i32.const 5)) (return (i32.const 0))",
            "answered nonsense",
        ),
        ("(return (i32.const -1))", "returned -1 (unknown error)"),
        ("(return (i32.const -22))", "could not decode the records"),
        ("(return (i32.const -2147483648))", "no known status"),
        // The input's bytes as the output.
        (
            "(call $copy (local.get $ptr) (local.get $len)) (return (i32.const 0))",
            "answered nonsense",
        ),
    ] {
        contained(body, Limits::default(), reason);
    }
}

#[test]
fn alloc_that_gives_what_it_has_not() {
    // `alloc` above answers -1 to more than 60,000 bytes.
    let mut chain = chain([step(wat(&guest_wat("nop")))]);
    let long = ".".repeat(70_000);
    let output = apply(&mut chain, batch([".", &long, "."]));
    let rejects = rejects(&output);
    assert_eq!(indices(&rejects), [1]);
    assert!(
        rejects[0].1.contains("beyond its memory of 131072"),
        "{}",
        rejects[0].1
    );
}

#[test]
fn work_on_a_batch_of_loops_is_bounded() {
    let limits = Limits {
        call_time_ms: 50,
        ..Limits::default()
    };
    let module = wat(&guest_wat("(loop $l (br $l))"));
    let mut chain = chain([Step {
        limits,
        ..step(module)
    }]);
    let started = Instant::now();
    let output = apply(&mut chain, batch((0..512).map(|_| "!!")));
    assert_eq!(output.rejects.len(), 512);
    // 16 limits of 50 ms, each over by some ticks of 10 ms; without a bound it is 512 of them.
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert!(
        output.rejects[511].reason.contains("not tried"),
        "{}",
        output.rejects[511].reason
    );
    assert_eq!(apply(&mut chain, batch(["."])).rejects, []);
}

#[test]
fn a_batch_of_traps_is_rejected_one_by_one() {
    let mut chain = chain([step(wat(&guest_wat("unreachable")))]);
    let value = |i: usize| if i.is_multiple_of(2) { "!!" } else { "." };
    let output = apply(&mut chain, batch((0..512).map(value)));
    assert_eq!(output.rejects.len(), 256);
}

#[test]
fn an_init_that_never_ends_is_an_error() {
    let text = guest_wat("nop").replace(
        "(func $recurse",
        "(func (export \"init\") (param i32 i32 i32) (result i32) (loop $l (br $l)) (i32.const 0))\n(func $recurse",
    );
    let limits = Limits {
        call_time_ms: 20,
        ..Limits::default()
    };
    let error = Chain::new(vec![Step {
        limits,
        ..step(wat(&text))
    }])
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "SmartModule wat: init: exceeded the time limit of 20 ms a call"
    );
}

#[test]
fn a_start_function_that_never_ends_is_an_error() {
    let text = guest_wat("nop").replace(
        "(func $recurse",
        "(func $forever (loop $l (br $l)))\n(start $forever)\n(func $recurse",
    );
    let limits = Limits {
        call_time_ms: 20,
        ..Limits::default()
    };
    let error = start(&text, limits);
    assert!(
        error.contains("exceeded the time limit of 20 ms a call"),
        "{error}"
    );
}

#[test]
fn a_guest_that_starts_with_too_much_memory_is_an_error() {
    let limits = Limits {
        memory_bytes: 1 << 20,
        ..Limits::default()
    };
    let text = guest_wat("nop").replace(
        r#"(memory (export "memory") 2)"#,
        r#"(memory (export "memory") 17)"#,
    );
    let error = start(&text, limits);
    assert!(
        error.contains("exceeded the memory limit of 1048576 bytes"),
        "{error}"
    );
    let text = guest_wat("nop").replace("(memory", "(table 200000 funcref)\n(memory");
    assert!(start(&text, limits).contains("table"));
}

#[test]
fn limits_that_make_no_sense_are_errors() {
    let text = guest_wat("nop");
    let default = Limits::default();
    for (limits, expect) in [
        (
            Limits {
                call_time_ms: 0,
                ..default
            },
            "`limits.time` is 0 ms",
        ),
        (
            Limits {
                call_time_ms: u64::MAX,
                ..default
            },
            "1 ms to 1 h",
        ),
        (
            Limits {
                memory_bytes: 1000,
                ..default
            },
            "`limits.memory` is 1000 bytes",
        ),
        (
            Limits {
                output_bytes: 0,
                ..default
            },
            "`limits.output` is 0 bytes",
        ),
        (
            Limits {
                output_bytes: usize::MAX,
                ..default
            },
            "1024 to 268435456",
        ),
    ] {
        let error = start(&text, limits);
        assert!(error.contains(expect), "{error}");
    }
}

/// Why a guest does not start.
fn start(text: &str, limits: Limits) -> String {
    let step = Step {
        limits,
        ..step(wat(text))
    };
    Chain::new(vec![step]).unwrap_err().to_string()
}

#[test]
fn a_module_without_end_is_not_compiled() {
    let mut bytes = wat::parse_str("(module)").unwrap();
    // A custom section of 33 MB, which is otherwise well-formed.
    let len = 33_u32 << 20;
    bytes.push(0);
    let mut rest = len;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes.resize(bytes.len() + len as usize, 0);
    let error = engine().load_bytes("wat", &bytes).unwrap_err().to_string();
    assert!(error.contains("at most 33554432 are compiled"), "{error}");
}

#[test]
fn what_is_no_smartmodule_is_not_loaded() {
    let load = |text: &str| {
        let bytes = wat::parse_str(text).unwrap();
        engine().load_bytes("wat", &bytes).unwrap_err().to_string()
    };
    let memory = r#"(memory (export "memory") 1)"#;
    let alloc = r#"(func (export "alloc") (param i32) (result i32) (i32.const 0))"#;
    assert_eq!(load("(module)"), "SmartModule wat: it exports no `memory`");
    assert!(load(&format!("(module {memory})")).contains("no `alloc`"));
    assert!(load(&format!("(module {memory} {alloc})")).contains("none of filter, map"));
    let odd = r#"(func (export "map") (param i64) (result i32) (i32.const 0))"#;
    assert!(load(&format!("(module {memory} {alloc} {odd})")).contains("`map` is not a function"));
    let import = r#"(import "env" "open_file" (func))"#;
    assert!(load(&format!("(module {import} {memory})")).contains("it imports env.open_file"));
    let garbage = engine().load_bytes("wat", b"not wasm").unwrap_err();
    assert!(matches!(garbage, EngineError::Invalid { .. }), "{garbage}");
}

#[test]
fn wasi_gives_what_a_guest_needs_to_start_and_no_more() {
    let wasi = r#"(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))"#;
    let body = r#"
      (if (call $sizes (i32.const 64) (i32.const 68)) (then unreachable))
      (if (i32.load (i32.const 64)) (then unreachable))
      (if (i32.ne (call $sizes (i32.const -1) (i32.const 68)) (i32.const 21)) (then unreachable))
      (i32.store (i32.const 72) (i32.const 90)) (i32.store (i32.const 76) (i32.const 4))
      (i32.store (i32.const 90) (i32.const 0x73706f6f))
      (if (call $write (i32.const 2) (i32.const 72) (i32.const 1) (i32.const 80)) (then unreachable))
      (if (i32.ne (i32.load (i32.const 80)) (i32.const 4)) (then unreachable))
      (if (i32.ne (call $write (i32.const 5) (i32.const 72) (i32.const 1) (i32.const 80)) (i32.const 8)) (then unreachable))
      ACTION"#;
    for (action, reason) in [
        (
            "(call $exit (i32.const 3))",
            "trapped: exited with code 3; it said: oops",
        ),
        (
            "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 0)))",
            "called wasi_snapshot_preview1.clock_time_get, which SmartModules do not have",
        ),
    ] {
        let text = guest_wat(&body.replace("ACTION", action)).replacen("(module", wasi, 1);
        let mut chain = chain([step(wat(&text))]);
        let output = apply(&mut chain, batch(["!!"]));
        let rejects = rejects(&output);
        assert!(rejects[0].1.contains(reason), "{rejects:?}");
    }
}

/// A guest that says it is on our SDK, and is not: an `array_map` that gives the same output whatever
/// it is given, and room for an input at `room`.
fn impostor(output: &str, room: &str, introduction: &str) -> String {
    let len = output.matches('\\').count();
    format!(
        r#"(module
  (import "env" "copy_records" (func $copy (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{output}")
  (func (export "gristmill_host") (param i32) (result i32) {introduction})
  (func (export "alloc") (param i32) (result i32) (i32.const {room}))
  (func (export "array_map") (param i32 i32 i32) (result i32)
    (call $copy (i32.const 0) (i32.const {len}))
    (i32.load8_u (i32.const 3))))"#
    )
}

#[test]
fn impostors_of_our_sdk() {
    // One record at an offset that is nobody's: each is refused for itself.
    let nobody = r"\00\00\00\01\0e\00\00\40\00\02\41\00\00";
    let module = wat(&impostor(nobody, "4096", "(i32.const 1)"));
    let mut lying = chain([step(module)]);
    let output = apply(&mut lying, batch(["a", "b", "c"]));
    assert_eq!(output.records.len(), 0);
    let refused = rejects(&output);
    assert_eq!(indices(&refused), [0, 1, 2]);
    assert!(
        refused[0].1.contains("which it was not given"),
        "{refused:?}"
    );

    // Back and forth between records, which no SDK of ours does.
    let back = r"\00\00\00\02\0c\00\00\02\00\00\00\0c\00\00\00\00\00\00\00";
    let mut lying = chain([step(wat(&impostor(back, "4096", "(i32.const 1)")))]);
    let output = apply(&mut lying, batch(["a", "b", "c"]));
    assert_eq!(output.records.len(), 0, "{:?}", values(&output));
    assert_eq!(output.rejects.len(), 3);

    // Room beyond its memory.
    let mut lying = chain([step(wat(&impostor(nobody, "-1", "(i32.const 1)")))]);
    let output = apply(&mut lying, batch(["a"]));
    assert!(rejects(&output)[0].1.contains("beyond its memory"));

    // One that does not come back from being introduced, and one that will not be.
    let limits = Limits {
        call_time_ms: 50,
        ..Limits::default()
    };
    let endless = Step {
        limits,
        ..step(wat(&impostor(
            nobody,
            "4096",
            "(loop $l (br $l)) (i32.const 1)",
        )))
    };
    let error = Chain::new(vec![endless]).unwrap_err();
    assert!(matches!(error, EngineError::Instantiate { .. }), "{error}");
    assert!(error.to_string().contains("time limit of 50 ms"), "{error}");

    // A later version of the promise is none that we know: one record a call, as for stock guests.
    let first = r"\00\00\00\01\0e\00\00\00\00\02\41\00\00";
    let mut other = chain([step(wat(&impostor(first, "4096", "(i32.const 2)")))]);
    let output = apply(&mut other, batch(["a", "b"]));
    assert_eq!(values(&output), [(0, "A".to_owned()), (1, "A".to_owned())]);
}
