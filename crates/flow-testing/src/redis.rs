//! A real `redis-server` (or `valkey-server`) of a test's own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::pki::Pki;

/// A server binary answers within this time or the machine is in trouble.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const BINARIES: [&str; 2] = ["redis-server", "valkey-server"];

/// A server on a free loopback port with a directory of its own; killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    binary: PathBuf,
    options: Vec<String>,
    port: u16,
    dir: TempDir,
    /// `None` after [`kill`](Self::kill).
    process: Option<Child>,
}

impl RedisServer {
    /// Start one that keeps nothing on disk, or say why not: see [`Self::start_with`].
    pub fn start() -> Option<Self> {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Start one whose every write is on disk before it is answered.
    pub fn start_durable() -> Option<Self> {
        Self::start_with(&[
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ])
    }

    /// Start one that waits to be joined to a cluster.
    pub fn start_cluster() -> Option<Self> {
        Self::start_with(&["--save", "", "--cluster-enabled", "yes"])
    }

    /// Start one that also takes TLS, on a port of its own, with the server certificate of `pki` and
    /// these further options; `asks` says whether clients have to show a certificate too. With it
    /// comes the port.
    pub fn start_tls(pki: &Pki, asks: bool, options: &[&str]) -> Option<(Self, u16)> {
        if let Some(binary) = find_binary()
            && !knows_tls(&binary)
        {
            skip("the redis-server here was built without TLS");
            return None;
        }
        let port = free_port();
        let path = |name: &str| pki.path(name).to_string_lossy().into_owned();
        let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
        let tls = [
            "--save",
            "",
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            if asks { "yes" } else { "no" },
        ];
        Some((Self::start_with(&[&tls[..], options].concat())?, port))
    }

    /// Start one with these command line options. Where there is no server on the machine the test
    /// is to return: that is said on stderr, or a panic if `GRISTMILL_TEST_REQUIRE=1`.
    ///
    /// # Panics
    /// Also if the server does not start.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        let Some(binary) = find_binary() else {
            skip("neither redis-server nor valkey-server is installed");
            return None;
        };
        let mut server = Self {
            binary,
            options: options.iter().map(ToString::to_string).collect(),
            port: 0,
            dir: tempfile::tempdir().expect("a temporary directory"),
            process: None,
        };
        // Another process may take the port between our look and the server's: then another one.
        for _ in 0..5 {
            server.port = free_port();
            if server.launch() {
                return Some(server);
            }
        }
        panic!("{} does not start", server.binary.display());
    }

    /// Where it listens; database 0.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Start again on the same port and directory after [`Self::kill`].
    ///
    /// # Panics
    /// If the server does not start.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "redis-server does not start again");
    }

    /// `SIGSTOP`: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// `SIGCONT`.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Send a command and give its answer as text: errors with their `-`, the items of an array
    /// one a line, nil as `(nil)`.
    ///
    /// # Panics
    /// If the server cannot be reached.
    pub fn command(&self, args: &[&str]) -> String {
        self.try_command(args).expect("an answer of redis-server")
    }

    fn try_command(&self, args: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
        }
        stream.write_all(&request)?;
        answer(&mut BufReader::new(stream))
    }

    /// True once the server answers; false if it ended instead.
    fn launch(&mut self) -> bool {
        let mut command = Command::new(&self.binary);
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", &self.dir.path().to_string_lossy()])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = command.spawn().expect("redis-server can be spawned");
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if process.try_wait().expect("its status").is_some() {
                return false;
            }
            // -NOAUTH is an answer too; -LOADING is not yet one.
            let answer = self.try_command(&["PING"]);
            if answer.is_ok_and(|answer| !answer.starts_with("-LOADING")) {
                self.process = Some(process);
                return true;
            }
            #[allow(clippy::disallowed_methods, reason = "a test waits for a process")]
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = process.kill();
        let _ = process.wait();
        false
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("a running server");
        let kill = format!("kill -{signal} {}", process.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "{kill}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Say that a test cannot run here, or fail it if `GRISTMILL_TEST_REQUIRE=1`.
///
/// # Panics
/// See above.
#[allow(clippy::print_stderr, reason = "what a skipped test says")]
pub fn skip(why: &str) {
    let required = std::env::var_os("GRISTMILL_TEST_REQUIRE").is_some_and(|value| value == "1");
    assert!(!required, "GRISTMILL_TEST_REQUIRE=1 and {why}");
    eprintln!("skipped: {why}");
}

/// Options are read in order, so a build without TLS complains of another one first.
fn knows_tls(binary: &Path) -> bool {
    let output = Command::new(binary)
        .args(["--tls-port", "0", "--no-such-option", "1"])
        .output();
    output.is_ok_and(|output| {
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains("no-such-option")
    })
}

fn find_binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    BINARIES
        .iter()
        .flat_map(|binary| dirs.iter().map(move |dir| dir.join(binary)))
        .find(|path| path.is_file())
}

/// Free, and so low that a cluster's bus, 10,000 above, has a port too.
fn free_port() -> u16 {
    let mut tried = Vec::new();
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        if port < 55_000 || tried.len() > 100 {
            return port;
        }
        // Kept, so that the next one is another.
        tried.push(listener);
    }
}

fn answer(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let (kind, rest) = line
        .split_at_checked(1)
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let len = rest.parse::<i64>().unwrap_or(-1);
    match kind {
        "$" | "*" if len < 0 => Ok("(nil)".to_owned()),
        "$" => {
            let mut bytes = vec![0; len as usize + 2];
            reader.read_exact(&mut bytes)?;
            bytes.truncate(len as usize);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => {
            let items: Result<Vec<_>, _> = (0..len).map(|_| answer(reader)).collect();
            Ok(items?.join("\n"))
        }
        "-" => Ok(line.to_owned()),
        _ => Ok(rest.to_owned()),
    }
}
