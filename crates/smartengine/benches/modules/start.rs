//! How long a process takes from its first line to a chain that is ready, its module compiled
//! before.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use gristmill_smartengine::{Chain, Engine, EngineOptions, Limits, Step};

use crate::contest::{Verdict, quartiles};
use crate::contestants::wasm;

/// Tells a child what to start: the module, and the directory with compiled ones.
const CHILD: &str = "GRISTMILL_BENCH_START";

const STARTS: usize = 21;

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Starts, prints the milliseconds that it took.
pub(crate) fn child() {
    let started = Instant::now();
    let paths = std::env::var(CHILD).unwrap();
    let (wasm, cache) = paths.split_once('\n').unwrap();
    let options = EngineOptions {
        cache_dir: Some(PathBuf::from(cache)),
    };
    let engine = Engine::new(options).unwrap();
    let step = Step {
        module: engine.load("extract-type", wasm.as_ref()).unwrap(),
        params: [].into(),
        lookback: None,
        limits: Limits::default(),
    };
    let chain = Chain::new(vec![step]).unwrap();
    println!("{}", started.elapsed().as_secs_f64() * 1e3);
    drop(chain);
}

pub(crate) fn verdict() -> Verdict {
    let cache = tempfile::tempdir().unwrap();
    let paths = format!(
        "{}\n{}",
        wasm("extract-type").display(),
        cache.path().join("compiled").display()
    );
    let start = || -> f64 {
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program).env(CHILD, &paths).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    let anew = start();
    let starts: Vec<f64> = (0..STARTS).map(|_| start()).collect();
    let [low, median, high] = quartiles(&starts);
    println!(
        "start of extract-type            {anew:7.3} ms compiled anew; compiled before {median:.3} \
         ms  ({low:.3} … {high:.3})\n"
    );
    Verdict {
        what: "cold start, compiled before".to_owned(),
        measured: median,
        at_most: 20.0,
        unit: "ms",
    }
}
