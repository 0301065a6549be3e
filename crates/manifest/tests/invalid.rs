//! Golden messages: each `invalid/NAME.yaml` is refused with exactly what `NAME.err` says.
//! `GRISTMILL_BLESS=1 cargo test -p gristmill-manifest --test invalid` writes them anew; read the
//! difference before it is committed.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for other code"
)]

mod common;

use std::path::{Path, PathBuf};

use common::load;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_mistake_has_its_message() {
    let bless = std::env::var_os("GRISTMILL_BLESS").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 50, "{} cases", cases.len());
    for case in cases {
        let text = std::fs::read_to_string(&case).unwrap();
        let Err(errors) = load(&text) else {
            panic!("{} is taken for good", case.display())
        };
        let got = errors.render(false);
        let golden = case.with_extension("err");
        if bless {
            std::fs::write(&golden, &got).unwrap();
        }
        let expect = std::fs::read_to_string(&golden).unwrap_or_default();
        if got != expect {
            wrong.push(format!(
                "{}\n--- expected\n{expect}--- got\n{got}",
                case.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_error_has_a_place_and_comes_in_the_order_of_the_text() {
    for case in cases() {
        let text = std::fs::read_to_string(&case).unwrap();
        let errors = load(&text).unwrap_err();
        let json = errors.to_json();
        let places: Vec<(u64, u64)> = json
            .as_array()
            .unwrap()
            .iter()
            .map(|each| {
                (
                    each["line"].as_u64().unwrap(),
                    each["column"].as_u64().unwrap(),
                )
            })
            .collect();
        assert!(errors.error_count() > 0);
        assert!(places.is_sorted(), "{}: {places:?}", case.display());
        assert!(places.iter().all(|(line, column)| *line > 0 && *column > 0));
        for error in &errors {
            assert!(!error.help.is_empty(), "{error} has no help");
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
