//! The UDF on the SmartModule's own table of cases: as a function, and as Arroyo runs it, by way of
//! the shared library and the plugin's own FFI types.

use std::path::{Path, PathBuf};

use arroyo_udf_plugin::arrow::array::{Array, StringArray};
use arroyo_udf_plugin::arrow::ffi::from_ffi;
use arroyo_udf_plugin::{FfiArraySchema, FfiArrays, RunResult};
use libloading::{Library, Symbol};
use serde_json::Value;

const CASES: &str = include_str!("../../../smartmodules/extract-type/tests/cases.ndjson");

struct Case {
    field: String,
    json: String,
    /// `Err` where the document is malformed.
    text: Result<Option<String>, String>,
}

fn cases() -> Vec<Case> {
    let case = |line: &str| {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().map(str::to_owned);
        Case {
            field: text("field").unwrap(),
            json: text("json").unwrap(),
            text: text("error").map_or(Ok(text("text")), Err),
        }
    };
    let cases: Vec<Case> = CASES.lines().map(case).collect();
    assert!(cases.len() > 70);
    cases
}

#[test]
fn the_function_does_what_the_smartmodule_does() {
    for Case { field, json, text } in cases() {
        let got = extract_type::extract(&field, &json);
        match text {
            Ok(text) => assert_eq!(got.ok(), Some(text), "{field} of {json}"),
            Err(_) => assert!(got.is_err(), "{field} of {json}: {got:?}"),
        }
    }
    let deep = 100_000;
    let json = format!(
        r#"{{"x":{}{},"type":"edit"}}"#,
        "[".repeat(deep),
        "]".repeat(deep)
    );
    let got = extract_type::extract("type", &json).unwrap();
    assert_eq!(got.as_deref(), Some("edit"), "no stack is exhausted");
}

#[test]
fn a_field_that_is_none_is_the_querys_mistake() {
    for field in ["", "/a~2", "/a~"] {
        let result = std::panic::catch_unwind(|| extract_type::extract_type(field, "{}"));
        assert!(result.is_err(), "{field}");
    }
}

/// The shared library of this build.
fn library() -> PathBuf {
    let name = format!(
        "{}extract_type{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let test = std::env::current_exe().unwrap();
    let found = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir: &Path| dir.join(&name))
        .find(|path| path.exists());
    found.expect("cargo builds the shared library beside its tests")
}

/// One call of `__run` with a batch of both arguments.
fn run(
    library: &Library,
    fields: Vec<Option<&str>>,
    jsons: Vec<Option<&str>>,
) -> Option<StringArray> {
    let arguments = FfiArrays::from_vec(vec![
        StringArray::from(fields).to_data(),
        StringArray::from(jsons).to_data(),
    ]);
    // SAFETY: the signature that `#[udf]` gives it, built by the same compiler from the same
    // version of the plugin; what it returns it hands over.
    let result = unsafe {
        let run: Symbol<unsafe extern "C-unwind" fn(FfiArrays) -> RunResult> =
            library.get(b"__run").unwrap();
        run(arguments)
    };
    match result {
        RunResult::Ok(FfiArraySchema(array, schema)) => {
            // SAFETY: as above.
            let data = unsafe { from_ffi(array, &schema) }.unwrap();
            Some(StringArray::from(data))
        }
        RunResult::Err => None,
    }
}

#[test]
fn the_shared_library_does_so_too() {
    // SAFETY: our own library, which does nothing when it is loaded.
    let library = unsafe { Library::new(library()) }.unwrap();
    let cases = cases();
    let fields = cases.iter().map(|case| Some(case.field.as_str())).collect();
    let jsons = cases.iter().map(|case| Some(case.json.as_str())).collect();
    let got = run(&library, fields, jsons).expect("a result");
    assert_eq!(got.len(), cases.len());
    for (case, got) in cases.iter().zip(got.iter()) {
        // What is malformed is NULL in SQL.
        let expect = case.text.clone().unwrap_or(None);
        assert_eq!(got, expect.as_deref(), "{} of {}", case.field, case.json);
    }
    let got = run(&library, vec![Some("type"), None], vec![None, Some("{}")]).expect("a result");
    assert_eq!(
        got.iter().collect::<Vec<_>>(),
        [None, None],
        "NULL in, NULL out"
    );
    assert!(
        run(&library, vec![Some("")], vec![Some("{}")]).is_none(),
        "the query fails"
    );
}

/// Arroyo takes the dependencies from the comment at the top, not from `Cargo.toml`.
#[test]
fn the_definition_names_the_dependencies_that_it_is_tested_with() {
    let definition = include_str!("../src/lib.rs");
    let named = definition
        .strip_prefix("/*\n[dependencies]\n")
        .and_then(|rest| Some(rest.split_once("*/")?.0))
        .expect("the comment that Arroyo looks for");
    let tested = include_str!("../Cargo.toml");
    assert_eq!(named.lines().count(), 2);
    for line in named.lines() {
        assert!(tested.lines().any(|tested| tested == line), "{line}");
    }
    assert_eq!(definition.matches("\n#[udf]\n").count(), 1);
}
