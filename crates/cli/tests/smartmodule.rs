//! `gristmill smartmodule`, the real binary on real WASM.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A guest that makes `w` of every value.
fn module(dir: &Path) -> PathBuf {
    let text = include_str!("../../smartengine/tests/guests/mark.wat").replace("MARK", "119");
    let path = dir.join("mark.wasm");
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    path
}

/// A guest that traps at every record.
fn trap(dir: &Path) -> PathBuf {
    let text = r#"(module
      (memory (export "memory") 1)
      (func (export "alloc") (param i32) (result i32) (i32.const 0))
      (func (export "filter") (param i32 i32 i32) (result i32) unreachable))"#;
    let path = dir.join("trap.wasm");
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    path
}

fn gristmill(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command
        .arg("smartmodule")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .env("XDG_CACHE_HOME", dir.join("cache"));
    command.output().unwrap()
}

/// Run, and hold the exit code, standard output and a part of standard error against what is
/// expected.
#[track_caller]
fn check(dir: &Path, args: &[&str], code: i32, out: &str, err: &str) -> String {
    let output = gristmill(dir, args);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}\n{stdout}{stderr}"
    );
    assert!(stdout.contains(out), "{args:?}\n{stdout}");
    assert!(stderr.contains(err), "{args:?}\n{stderr}");
    stdout
}

#[test]
fn records_go_through_the_real_module() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, module) = (dir.path(), module(dir.path()));
    let module = module.to_str().unwrap();
    check(
        dir,
        &["test", module, "--text", "x"],
        0,
        "w\n",
        "1 record in, 1 out, 0 errors",
    );
    let lines = (0..1300).map(|i| format!("{i}\r\n")).collect::<String>();
    std::fs::write(dir.join("lines"), lines).unwrap();
    let args = ["test", module, "--file", "lines", "--json", "--key", "k"];
    let out = check(
        dir,
        &args,
        0,
        r#"{"offset":1299,"key":null,"value":"w"}"#,
        "",
    );
    assert_eq!(out.lines().count(), 1300);
    check(
        dir,
        &["test", module, "--stdin"],
        0,
        "",
        "0 records in, 0 out, 0 errors",
    );
    check(dir, &["test", module], 2, "", "--text");
}

#[test]
fn every_error_is_told_and_is_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, trap) = (dir.path(), trap(dir.path()));
    let trap = trap.to_str().unwrap();
    let reason = "record 0: trap: filter at test[0] offset 0: trapped: wasm trap";
    check(dir, &["test", trap, "--text", "x"], 1, "", reason);
    check(
        dir,
        &["test", trap, "--text", "x", "--json"],
        1,
        r#""error":"trap: filter at"#,
        "",
    );
    // It takes no parameters.
    check(
        dir,
        &["test", trap, "--text", "x", "-e", "a=b"],
        1,
        "",
        "takes no parameters",
    );
    check(
        dir,
        &["test", trap, "--text", "x", "-e", "a"],
        2,
        "",
        "expected NAME=VALUE",
    );
    check(
        dir,
        &["test", "./nowhere.wasm", "--text", "x"],
        2,
        "",
        "nowhere.wasm",
    );
    check(
        dir,
        &["test", "--text", "x"],
        2,
        "",
        "there is no Cargo.toml here",
    );
    std::fs::write(dir.join("page.wasm"), "<html>").unwrap();
    std::fs::write(dir.join("empty.wasm"), "").unwrap();
    std::fs::write(dir.join("module.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    for (file, what) in [
        ("page.wasm", "is no WASM module (it starts with `<htm`)"),
        ("empty.wasm", "not a valid WASM module"),
        ("module.wasm", "SmartModule module: "),
    ] {
        for args in [
            &["test", file, "--text", "x"][..],
            &["build", file],
            &["bench", file],
        ] {
            let junk = format!("/{file}: SmartModule ");
            check(dir, args, 2, "", &junk);
            check(dir, args, 2, "", what);
            check(
                dir,
                args,
                2,
                "",
                "= help: name a SmartModule, its crate's folder",
            );
        }
    }
    let no_input = "error: cannot read none: No such file";
    check(dir, &["bench", trap, "--file", "none"], 2, "", no_input);
    check(
        dir,
        &["bench", trap, "--file", "."],
        2,
        "",
        "cannot read .: is a directory",
    );
}

#[test]
fn a_module_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, module) = (dir.path(), module(dir.path()));
    let module = module.to_str().unwrap();
    let short = ["--for", "100ms", "--generate", "500"];
    let args = [&["bench", module, "--json"], &short[..]].concat();
    let out = check(dir, &args, 0, "", "");
    let measured: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&measured["module"], &measured["batch"]),
        (&"mark".into(), &512.into())
    );
    let number = |key: &str| measured[key].as_f64().unwrap();
    assert!(number("records") >= 500.0, "{out}");
    assert!(
        number("us_per_record") > 0.0 && number("us_per_record_p99") > 0.0,
        "{out}"
    );
    let agree = number("records_per_s") * number("us_per_record") / 1e6;
    assert!((0.99..1.01).contains(&agree), "{out}");
    assert_eq!(number("rejected"), 0.0, "{out}");
    // By file, by ones, and with errors, which are told.
    std::fs::write(dir.join("lines"), "a\nb\n").unwrap();
    let trap = trap(dir);
    let args = [
        "bench",
        trap.to_str().unwrap(),
        "--file",
        "lines",
        "--for",
        "50ms",
        "--batch",
        "1",
    ];
    check(
        dir,
        &args,
        0,
        "by batch of 1",
        "the first error: trap: filter at bench[0]",
    );
    check(
        dir,
        &["bench", module, "--batch", "0"],
        2,
        "",
        "a whole number from 1 to 100000",
    );
}

#[test]
fn a_new_module_of_every_kind_builds_and_passes_its_tests_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../smartmodule");
    for (kind, args, expect) in [
        (
            "filter",
            &["--text", "a word", "-e", "text=word"][..],
            "a word\n",
        ),
        ("map", &["--text", "b", "-e", "prefix=a-"], "a-b\n"),
        (
            "filter-map",
            &["--text", r#"{"f":"g"}"#, "-e", "field=f"],
            "g\n",
        ),
        ("array-map", &["--text", "a,b"], "a\nb\n"),
        ("aggregate", &["--text", "42"], "42\n"),
    ] {
        let name = format!("a-{kind}");
        let new = ["new", &name, "--kind", kind, "--sdk", sdk.to_str().unwrap()];
        check(
            dir,
            &new,
            0,
            "smartmodules/a-",
            "gristmill smartmodule test smartmodules/a-",
        );
        let home = dir.join("smartmodules").join(&name);
        // Its own tests, natively. Built like a user's: nothing of this build's environment.
        let mut cargo = Command::new("cargo");
        for (variable, _) in std::env::vars_os() {
            if variable
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG"))
            {
                cargo.env_remove(variable);
            }
        }
        let tests = cargo
            .args(["test", "--quiet"])
            .current_dir(&home)
            .env("CARGO_TARGET_DIR", dir.join("target"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&tests.stdout) + String::from_utf8_lossy(&tests.stderr);
        assert!(tests.status.success(), "{kind}: {said}");
        assert!(said.contains("2 passed"), "{kind}: {said}");
        // The real WASM, found by its name.
        let built = gristmill(dir, &["build", &name]);
        let stderr = String::from_utf8_lossy(&built.stderr);
        if stderr.contains("Remedy")
            && std::env::var("GRISTMILL_TEST_REQUIRE").as_deref() != Ok("1")
        {
            eprintln!("skipped: {stderr}");
            return;
        }
        assert!(built.status.success(), "{kind}: {stderr}");
        let test = [&["test", &name], args].concat();
        check(dir, &test, 0, expect, "0 errors");
        // And from its own folder, without a name.
        let test = [&["test"], args].concat();
        check(&home, &test, 0, expect, "0 errors");
    }
    check(dir, &["new", "a-map"], 2, "", "it is there already");
    check(dir, &["new", "A"], 2, "", "starts with a letter");
    // Parameters are held against what the module says it takes.
    let wrong = ["test", "a-map", "--text", "x", "-e", "prefx=y"];
    check(
        dir,
        &wrong,
        2,
        "",
        "a-map has no parameter `prefx`; did you mean `prefix`?",
    );
    let missing = ["test", "a-filter-map", "--text", "x"];
    check(
        dir,
        &missing,
        2,
        "",
        "a-filter-map needs the parameter `field`: Name of",
    );
}
