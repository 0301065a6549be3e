//! Peers: the same work by other tools, with scripts and configurations of `benches/peers`.
//!
//! ```text
//! requirements.txt ─ pip ─▶ DIR/venv ──┐
//! main.go, go.mod ─ go ──▶ DIR/bento ──┼─▶ a process of its own, told by PEER_… what to do
//! PATH ─────────▶ redpanda-connect ────┘
//! ```
//!
//! What cannot be set up is left out, with a line that says what is missing: the other rows do not
//! depend on it. Each is given what a good user of it would: batches, at-least-once delivery, one
//! process as one copy of ours.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Setup;

pub(crate) const COUNT_CLASS: &str = "class exercise: a connection an event";
pub(crate) const BYTEWAX: &str = "Bytewax";
pub(crate) const BENTO: &str = "Bento, fork of Redpanda Connect";
pub(crate) const CONNECT: &str = "Redpanda Connect";
pub(crate) const INGEST_CLASS: &str = "class exercise: a producer an event";

/// Peers of the count leg.
pub(crate) const COUNT: [Peer; 5] = [
    Peer {
        sampled: true,
        ..Peer::new(
            COUNT_CLASS,
            Tool::Python,
            "python/count_connection_an_event.py",
        )
    },
    Peer::new(
        "class exercise: one connection, pipelined",
        Tool::Python,
        "python/count_pipelined.py",
    ),
    Peer::new(BYTEWAX, Tool::Python, "python/count_bytewax.py"),
    Peer::new(BENTO, Tool::Bento, "bento/count.yaml"),
    Peer::new(CONNECT, Tool::Connect, "bento/count.yaml"),
];

/// Peers of the ingest leg.
pub(crate) const INGEST: [Peer; 3] = [
    Peer {
        sampled: true,
        ..Peer::new(
            INGEST_CLASS,
            Tool::Python,
            "python/ingest_producer_an_event.py",
        )
    },
    Peer::new(BENTO, Tool::Bento, "bento/ingest.yaml"),
    Peer::new(CONNECT, Tool::Connect, "bento/ingest.yaml"),
];

/// One way to do a leg's work.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    tool: Tool,
    /// Its script or configuration, below `benches/peers`.
    file: &'static str,
    /// Takes milliseconds for each record, and is given only some of them.
    pub(crate) sampled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tool {
    Python,
    Bento,
    Connect,
}

/// A peer whose tool is there.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) peer: &'static Peer,
    program: PathBuf,
}

/// The peers of a leg.
pub(crate) struct Peers {
    pub(crate) ready: Vec<Ready>,
    /// Why the others do not run.
    missing: Vec<String>,
}

impl Peer {
    const fn new(name: &'static str, tool: Tool, file: &'static str) -> Self {
        Self {
            name,
            tool,
            file,
            sampled: false,
        }
    }
}

impl Peers {
    /// Set up what `peers` run on, if the command line asks for peers.
    pub(crate) fn set_up(setup: &Setup, peers: &'static [Peer]) -> Self {
        let (mut ready, mut missing) = (Vec::new(), Vec::new());
        if !setup.peers {
            let hint = "`--peers` sets them up (minutes, the first time) and runs them";
            missing.push(format!("peers: not run: {hint}"));
            return Self { ready, missing };
        }
        let mut programs = HashMap::new();
        for peer in peers.iter().filter(|peer| setup.wants(peer.name)) {
            let program = programs
                .entry(peer.tool)
                .or_insert_with(|| peer.tool.set_up(&setup.peers_dir));
            match program {
                Ok(program) => ready.push(Ready {
                    peer,
                    program: program.clone(),
                }),
                Err(reason) => missing.push(format!("{}: not run: {reason:#}", peer.name)),
            }
        }
        Self { ready, missing }
    }

    /// Whether one that can run is given only some of the records.
    pub(crate) fn have_sampled(&self) -> bool {
        self.ready.iter().any(|ready| ready.peer.sampled)
    }

    /// Say below the table which peers did not run and why, and which saw only `sample_events`.
    pub(crate) fn print_notes(&self, sample_events: u64) {
        println!();
        for Ready { peer, .. } in self.ready.iter().filter(|ready| ready.peer.sampled) {
            println!(
                "{}: {sample_events} events in a topic of their own, compared by rate",
                peer.name
            );
        }
        for line in &self.missing {
            println!("{line}");
        }
    }
}

impl Ready {
    /// What starts it, its own files in `dir`; the other variables `PEER_…` are still to be set.
    pub(crate) fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.program);
        match self.peer.tool {
            // No bytecode beside the scripts.
            Tool::Python => command.arg("-B"),
            Tool::Bento => command.arg("-c"),
            Tool::Connect => command.arg("run"),
        };
        command.arg(sources().join(self.peer.file));
        command.env("PEER_DIR", dir);
        command
    }
}

impl Tool {
    /// Make it, unless it is there, in `dir`; returns its program.
    ///
    /// # Errors
    /// What is missing, and how to install it.
    fn set_up(self, dir: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(dir)?;
        match self {
            Self::Python => python(dir),
            Self::Bento => bento(dir),
            Self::Connect => connect(),
        }
    }
}

fn python(dir: &Path) -> Result<PathBuf> {
    let venv = dir.join("venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        println!("making {}", venv.display());
        // Bytewax has wheels for 3.11, and not for what some systems have as `python3`.
        let newest = |name| run(Command::new(name).args(["-m", "venv"]).arg(&venv));
        newest("python3.11")
            .or_else(|_| newest("python3"))
            .context("Python 3.11 with venv is missing: apt install python3 python3-venv")?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]);
    pip.arg(sources().join("python/requirements.txt"));
    run(&mut pip)
        .context("the packages of requirements.txt are missing: see pip's output above")?;
    Ok(python)
}

fn bento(dir: &Path) -> Result<PathBuf> {
    let bento = dir.join("bento");
    if !bento.exists() {
        println!("building {}", bento.display());
    }
    // Looks at the sources, and builds what has changed.
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-o"]).arg(&bento).arg(".");
    run(go.current_dir(sources().join("bento")))
        .context("Bento is missing: it is built by Go 1.26 or newer, `go` on the PATH")?;
    Ok(bento)
}

fn connect() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|dir| dir.join("redpanda-connect"));
    programs.find(|program| program.exists()).context(
        "put the vendor's `redpanda-connect` on the PATH; it is not built here, since parts of \
         its module are under the vendor's own licence",
    )
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}
