//! A real three-broker Apache Kafka (KRaft) and a `redis-server` on loopback.
//!
//! ```text
//! up ─▶ libs (Maven, cached) ─▶ ports ─▶ format storage ─▶ one JVM a broker, one redis-server
//!    ─▶ every broker's metadata lists all brokers ─▶ state file ─▶ `env`
//! ```
//!
//! Everything lives in one directory, with a state file (`cluster.json`) that names what was
//! started: pid and start time of each process, so that `down` never ends a stranger that got a
//! recycled pid. [`Cluster`] is also what a fault harness holds: it kills, pauses and restarts
//! single brokers and Redis.

mod kafka;
mod libs;
mod ports;
mod redis;
mod secure;
mod state;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub(crate) use gristmill_deploy::Process;
pub(crate) use state::{Broker, State};

/// How long a broker may take to come back, on a machine that is busy with other things.
const RESTART_TIMEOUT: Duration = Duration::from_secs(240);

/// Attempts to start a process whose port may be taken for a moment.
const STARTS_MAX: u32 = 10;

/// A cluster of one directory.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: PathBuf,
    state: State,
}

/// What to start.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Number of brokers, each also a controller
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) brokers: u16,
    /// Start no redis-server
    #[arg(long)]
    pub(crate) no_redis: bool,
    /// Give each broker listeners with TLS and logins too
    #[arg(long)]
    pub(crate) secure: bool,
}

/// `cargo xtask cluster …`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Start it, or find it running
    Up {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        options: Options,
    },
    /// Stop it and remove its directory
    Down {
        #[command(flatten)]
        place: Place,
    },
    /// Say what runs
    Status {
        #[command(flatten)]
        place: Place,
    },
    /// Print the variables that tests read
    Env {
        #[command(flatten)]
        place: Place,
    },
}

/// Where a cluster lives.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Its directory [default: target/cluster/dev]
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Place {
    fn dir(self) -> PathBuf {
        self.dir.unwrap_or_else(|| libs::cache_dir().join("dev"))
    }
}

/// A loopback port that stays free while nobody listens on it.
pub(crate) fn free_port() -> Result<u16> {
    ports::free(1)?.pop().context("no free port")
}

/// Run a verb of the command line.
pub(crate) fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Up { place, options } => {
            let dir = place.dir();
            let cluster = Cluster::up(&dir, &options)?;
            println!("{}", cluster.env());
            eprintln_hint(&dir);
        }
        Verb::Down { place } => Cluster::down(&place.dir())?,
        Verb::Status { place } => match Cluster::open(&place.dir())? {
            Some(cluster) => print!("{}", cluster.status()),
            None => println!("no cluster: `cargo xtask cluster up` starts one"),
        },
        Verb::Env { place } => {
            let dir = place.dir();
            match Cluster::open(&dir)? {
                Some(cluster) => println!("{}", cluster.env()),
                None => bail!(
                    "no cluster in {}: `cargo xtask cluster up` starts one",
                    dir.display()
                ),
            }
        }
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "kept out of what a shell evals")]
fn eprintln_hint(dir: &Path) {
    eprintln!(
        "cluster is up in {}; `eval \"$(cargo xtask cluster env)\"` points the tests at it, \
         `cargo xtask cluster down` stops it",
        dir.display()
    );
}

impl Cluster {
    /// Start a cluster in `dir`, or find it running there. One that runs only in part is stopped
    /// and made anew.
    pub(crate) fn up(dir: &Path, options: &Options) -> Result<Self> {
        if let Some(cluster) = Self::open(dir)? {
            let same = cluster.state.brokers.len() == usize::from(options.brokers)
                && cluster.state.redis.is_some() != options.no_redis
                && cluster.state.is_secure() == options.secure;
            if same && cluster.is_whole() {
                return Ok(cluster);
            }
            Self::down(dir)?;
        }
        if dir.exists() && std::fs::read_dir(dir)?.next().is_some() {
            bail!(
                "{} is not empty and holds no cluster: name another directory with --dir",
                dir.display()
            );
        }
        let libs = libs::fetch()?;
        if !options.no_redis {
            redis::check()?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let cluster_id = kafka::cluster_id()?;
        let count = usize::from(options.brokers);
        let secured = if options.secure { secure::PORTS } else { 0 };
        let mut ports = ports::free((2 + secured) * count + 1)?.into_iter();
        let mut port = || ports.next().context("no free port");
        let mut brokers = Vec::new();
        for id in 1..=count {
            brokers.push(Broker {
                id: id as i32,
                port: port()?,
                controller_port: port()?,
                secure: match options.secure {
                    true => Some(secure::Ports::take(&mut port)?),
                    false => None,
                },
                process: None,
            });
        }
        let redis = match options.no_redis {
            true => None,
            false => Some(state::Redis {
                port: port()?,
                process: None,
            }),
        };
        let mut cluster = Self {
            dir,
            state: State {
                libs,
                brokers,
                redis,
            },
        };
        // Written before the first process starts: a `down` after a crash of ours finds them all.
        cluster.save()?;
        if let Err(error) = cluster.boot(&cluster_id) {
            let report = kafka::last_error(&cluster.dir);
            cluster.stop_all()?;
            std::fs::remove_dir_all(&cluster.dir)?;
            return Err(error.context(report));
        }
        Ok(cluster)
    }

    /// The cluster that a state file in `dir` describes.
    pub(crate) fn open(dir: &Path) -> Result<Option<Self>> {
        Ok(State::load(dir)?.map(|state| Self {
            dir: dir.to_owned(),
            state,
        }))
    }

    /// Stop what the state file in `dir` says was started, and remove the directory.
    pub(crate) fn down(dir: &Path) -> Result<()> {
        let Some(mut cluster) = Self::open(dir)? else {
            return Ok(());
        };
        cluster.stop_all()?;
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
    }

    /// `host:port` of every broker, for a client's bootstrap list.
    pub(crate) fn bootstrap(&self) -> Vec<String> {
        let brokers = self.state.brokers.iter();
        brokers.map(|b| format!("127.0.0.1:{}", b.port)).collect()
    }

    /// The Redis URL, if there is one.
    pub(crate) fn redis_url(&self) -> Option<String> {
        let redis = self.state.redis.as_ref()?;
        Some(format!("redis://127.0.0.1:{}/0", redis.port))
    }

    /// Redis's port on 127.0.0.1, if there is a Redis.
    pub(crate) fn redis_port(&self) -> Option<u16> {
        self.state.redis.as_ref().map(|redis| redis.port)
    }

    /// The leader of a partition, as the first broker that answers knows it.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Result<i32> {
        let mut trouble = anyhow::anyhow!("no broker runs");
        for broker in self.state.brokers.iter().filter(|b| b.process.is_some()) {
            match kafka::leader(broker.port, topic, partition) {
                Ok(leader) => return Ok(leader),
                Err(error) => trouble = error,
            }
        }
        Err(trouble)
    }

    /// A JVM with Kafka's classes, for its command line tools.
    pub(crate) fn java(&self, heap: &str) -> std::process::Command {
        kafka::java(&self.dir, &self.state.libs, heap)
    }

    /// Lines for a shell's `eval`.
    pub(crate) fn env(&self) -> String {
        let mut env = format!(
            "export GRISTMILL_TEST_KAFKA={}\nexport GRISTMILL_TEST_KAFKA_LIBS={}",
            self.bootstrap().join(","),
            self.state.libs.display()
        );
        if let Some(url) = self.redis_url() {
            env += &format!("\nexport GRISTMILL_TEST_REDIS={url}");
        }
        env += &secure::env(&self.dir, &self.state.brokers);
        env
    }

    /// Ids of the brokers, from 1.
    pub(crate) fn broker_ids(&self) -> Vec<i32> {
        self.state.brokers.iter().map(|b| b.id).collect()
    }

    /// End broker `id` at once (SIGKILL); whether it ran.
    pub(crate) fn kill_broker(&mut self, id: i32) -> Result<bool> {
        let process = self.broker(id)?.process.take();
        if let Some(process) = &process {
            process.kill()?;
        }
        self.save()?;
        Ok(process.is_some())
    }

    /// Start broker `id` again on its own port and data; returns once it serves.
    pub(crate) fn start_broker(&mut self, id: i32) -> Result<()> {
        let mut result = Ok(());
        for _ in 0..STARTS_MAX {
            self.spawn_broker(id)?;
            result = self.wait_for(RESTART_TIMEOUT);
            if result.is_ok()
                || self
                    .broker(id)?
                    .process
                    .as_ref()
                    .is_some_and(Process::is_alive)
            {
                break;
            }
        }
        result
    }

    /// Start broker `id` and do not wait for it.
    pub(crate) fn spawn_broker(&mut self, id: i32) -> Result<()> {
        let (dir, libs) = (self.dir.clone(), self.state.libs.clone());
        let broker = self.broker(id)?;
        if broker.process.as_ref().is_some_and(Process::is_alive) {
            return Ok(());
        }
        broker.process = Some(kafka::spawn(&dir, &libs, id)?);
        self.save()
    }

    /// Stop broker `id` in its tracks (SIGSTOP), or let it go on (SIGCONT).
    pub(crate) fn pause(&mut self, id: i32, paused: bool) -> Result<()> {
        match &self.broker(id)?.process {
            Some(process) => Ok(process.pause(paused)?),
            None => bail!("broker {id} does not run"),
        }
    }

    /// End Redis at once (SIGKILL); whether it ran. What its append-only file holds stays.
    pub(crate) fn kill_redis(&mut self) -> Result<bool> {
        let process = self.state.redis.as_mut().and_then(|r| r.process.take());
        if let Some(process) = &process {
            process.kill()?;
        }
        self.save()?;
        Ok(process.is_some())
    }

    /// Start Redis (again) on its own port and data; returns once it serves.
    #[allow(clippy::disallowed_methods, reason = "no runtime here")]
    pub(crate) fn start_redis(&mut self) -> Result<()> {
        let dir = self.redis_dir();
        for _ in 0..STARTS_MAX {
            let Some(redis) = &mut self.state.redis else {
                bail!("this cluster has no Redis");
            };
            let port = redis.port;
            let process = match redis.process.take().filter(Process::is_alive) {
                Some(process) => process,
                None => redis::spawn(&dir, port)?,
            };
            redis.process = Some(process.clone());
            self.save()?;
            if redis::wait(&process, port, &dir)? {
                return Ok(());
            }
            // Somebody who looks for free ports may just have had this one.
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("redis-server does not start: {}", redis::last_words(&dir));
    }

    /// Stop Redis in its tracks (SIGSTOP), or let it go on (SIGCONT).
    pub(crate) fn pause_redis(&mut self, paused: bool) -> Result<()> {
        match self.state.redis.as_ref().and_then(|r| r.process.as_ref()) {
            Some(process) => Ok(process.pause(paused)?),
            None => bail!("Redis does not run"),
        }
    }

    /// Where Redis keeps its data (`appendonlydir/` below it).
    pub(crate) fn redis_dir(&self) -> PathBuf {
        self.dir.join("redis")
    }

    /// One line a process.
    pub(crate) fn status(&self) -> String {
        let alive = |process: &Option<Process>| match process {
            Some(process) if process.is_alive() => format!("running, pid {}", process.pid),
            Some(_) => "died".to_owned(),
            None => "stopped".to_owned(),
        };
        let mut text = String::new();
        for broker in &self.state.brokers {
            let brokers = kafka::brokers_seen_by(broker.port).map_or_else(
                |e| format!("no answer: {e:#}"),
                |n| format!("sees {n} brokers"),
            );
            text += &format!(
                "broker {} 127.0.0.1:{} {}; {brokers}\n",
                broker.id,
                broker.port,
                alive(&broker.process)
            );
        }
        if let Some(redis) = &self.state.redis {
            text += &format!("redis 127.0.0.1:{} {}\n", redis.port, alive(&redis.process));
        }
        text
    }

    fn boot(&mut self, cluster_id: &str) -> Result<()> {
        if self.state.is_secure() {
            secure::prepare(&self.dir)?;
        }
        kafka::write_config(&self.dir, &self.state.brokers)?;
        kafka::format(&self.dir, &self.state, cluster_id)?;
        for id in self.broker_ids() {
            self.spawn_broker(id)?;
        }
        if self.state.redis.is_some() {
            std::fs::create_dir_all(self.redis_dir())?;
            self.start_redis()?;
        }
        self.wait_for(Duration::from_secs(90))
    }

    /// Wait until every running broker's metadata lists every running broker.
    #[allow(clippy::disallowed_methods, reason = "no runtime here")]
    fn wait_for(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let running: Vec<&Broker> = self
            .state
            .brokers
            .iter()
            .filter(|b| b.process.is_some())
            .collect();
        loop {
            if let Some(dead) = running
                .iter()
                .find(|b| !b.process.as_ref().is_some_and(Process::is_alive))
            {
                bail!("broker {} died", dead.id);
            }
            let all = running
                .iter()
                .all(|b| kafka::brokers_seen_by(b.port).is_ok_and(|seen| seen >= running.len()));
            if all {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the brokers did not find each other within {timeout:?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn is_whole(&self) -> bool {
        let alive = |process: &Option<Process>| process.as_ref().is_some_and(Process::is_alive);
        let brokers = &self.state.brokers;
        brokers.iter().all(|b| {
            alive(&b.process)
                && kafka::brokers_seen_by(b.port).is_ok_and(|seen| seen >= brokers.len())
        }) && self.state.redis.as_ref().is_none_or(|r| alive(&r.process))
    }

    fn broker(&mut self, id: i32) -> Result<&mut Broker> {
        let mut brokers = self.state.brokers.iter_mut();
        brokers
            .find(|b| b.id == id)
            .with_context(|| format!("no broker {id}"))
    }

    fn stop_all(&mut self) -> Result<()> {
        let brokers = self.state.brokers.iter_mut().map(|b| &mut b.process);
        let redis = self.state.redis.iter_mut().map(|r| &mut r.process);
        for process in brokers.chain(redis) {
            if let Some(process) = process.take() {
                process.kill()?;
            }
        }
        self.save()
    }

    fn save(&self) -> Result<()> {
        self.state.save(&self.dir)
    }
}
