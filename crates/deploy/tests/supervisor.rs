//! The supervisor with shell scripts as stages: what it does when they fail, refuse or hang.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gristmill_deploy::{
    DeployError, Deployment, Host, Process, Reply, Report, Request, Restarts, Revision, Spawn,
    StageEntry, StageStatus, StageView, Supervisor,
};
use gristmill_flow::{LegStats, Tapped};

/// A stage that does what it is told.
const GOOD: &str = r#"
echo '"ready"'
read go
echo "$1 runs" >&2
while read order; do
  case "$order" in
    *take*)
      number=${order#*number\":}; number=${number%%,*}
      echo '{"took":{"number":'$number',"result":{"Ok":["'$1': taken"]}}}' ;;
    *stop*) exit 0 ;;
  esac
done
"#;

/// Tells a test of the stages as whoever serves them sees them.
#[derive(Clone, Default)]
struct Scripts(Arc<Mutex<Vec<StageView>>>);

impl Host for Scripts {
    fn command(&self, spawn: &Spawn<'_>) -> Command {
        let mut command = Command::new("sh");
        command
            .arg(spawn.revision.join("pipeline.yaml"))
            .args(spawn.stages);
        command
    }

    type Prepared = ();

    async fn prepare(&mut self, _: &Revision) -> Result<(), String> {
        Ok(())
    }

    async fn changed(
        &mut self,
        _: &Revision,
        _: &Path,
        views: &[StageView],
        (): (),
    ) -> Result<Option<String>, String> {
        *self.0.lock().unwrap() = views.to_vec();
        Ok(None)
    }
}

const QUICK: Restarts = Restarts {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(20),
    give_up: 4,
    stable: Duration::from_secs(60),
};

fn staged(deployment: &Deployment, script: &str, stages: &[&str]) -> PathBuf {
    let dir = deployment.stage().unwrap().keep();
    let entry = |name: &&str| StageEntry {
        name: (*name).to_owned(),
        kind: "redis-sink".to_owned(),
        topic: "edits".to_owned(),
        is_source: name.starts_with("source"),
        transforms: Vec::new(),
        runs: true,
    };
    let mut revision = Revision {
        pipeline: "p".to_owned(),
        file: "/p.yaml".into(),
        cwd: "/".into(),
        set: Vec::new(),
        secrets: None,
        local: None,
        listen: None,
        stages: stages.iter().map(entry).collect(),
        modules: BTreeMap::new(),
        digest: String::new(),
    };
    revision.save(&dir, script.as_bytes()).unwrap();
    dir
}

/// A supervisor in a thread, which is the main thread of its runtime.
struct Running {
    deployment: Deployment,
    host: Scripts,
    _state: tempfile::TempDir,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn start(script: &str, stages: &[&str]) -> Result<Running, DeployError> {
    let state = tempfile::tempdir().unwrap();
    let deployment = Deployment::at(&state.path().join("p"));
    let dir = staged(&deployment, script, stages);
    let (sender, receiver) = std::sync::mpsc::channel();
    let (inner, host) = (deployment.clone(), Scripts::default());
    let theirs = host.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let made = Supervisor::new(inner, theirs, QUICK);
            let mut supervisor = match made {
                Ok(supervisor) => supervisor,
                Err(error) => return sender.send(Err(error)).unwrap(),
            };
            let started = supervisor.start(&dir).await;
            let failed = started.is_err();
            sender.send(started).unwrap();
            if !failed {
                supervisor.run().await;
            }
        });
    });
    let running = Running {
        deployment,
        host,
        _state: state,
        thread: Some(thread),
    };
    receiver.recv().unwrap().map(|()| running)
}

impl Running {
    fn stages(&self) -> Vec<StageStatus> {
        self.deployment.status().unwrap().stages
    }

    fn apply(&self, script: &str, stages: &[&str]) -> Result<Vec<String>, String> {
        let base = self.deployment.status().unwrap().revision;
        let staged = staged(&self.deployment, script, stages);
        match self.deployment.ask(&Request::Apply { base, staged }) {
            Ok(Reply::Done(lines)) => Ok(lines),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[track_caller]
    fn until(&self, what: impl Fn(&[StageStatus]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !what(&self.stages()) {
            assert!(Instant::now() < deadline, "{:?}", self.stages());
            pause();
        }
    }

    /// The log, once it holds `text`: what a stage says comes by another way than what it reports.
    #[track_caller]
    fn log_with(&self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "{}", self.log());
            pause();
        }
        self.log()
    }

    fn log(&self) -> String {
        let log = self.deployment.log_dir().join("current");
        std::fs::read_to_string(log).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.deployment.ask(&Request::Stop { drain_ms: 0 });
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
        until_free(&self.deployment);
    }
}

/// Wait until nobody has its lock. That may outlast the supervisor: a process that another test
/// just starts has all our descriptors until it runs its program.
#[track_caller]
fn until_free(deployment: &Deployment) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while deployment.is_locked() && !std::thread::panicking() {
        assert!(Instant::now() < deadline, "{} is locked", deployment.name);
        pause();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's own thread")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

#[test]
fn what_fails_is_started_again_and_given_up_in_the_end() {
    let script = "echo '\"ready\"'; read go; echo trouble >&2; exit 3";
    let running = start(script, &["a"]).unwrap();
    running.until(|stages| stages[0].given_up);
    let stage = &running.stages()[0];
    assert_eq!((stage.restarts, stage.pid), (3, None));
    let log = running.log();
    assert_eq!(log.matches("a trouble").count(), 4, "{log}");
    assert!(
        log.contains("ended: its process was ended (exit status: 3); starts again in"),
        "{log}"
    );
    assert!(log.contains("given up after 4 failures in a row"), "{log}");

    // Asked for, it is tried anew.
    let stages = vec!["a".to_owned()];
    running
        .deployment
        .ask(&Request::Restart { stages })
        .unwrap();
    running.until(|stages| stages[0].given_up && stages[0].restarts == 3);
    assert_eq!(running.log().matches("a trouble").count(), 8);
}

#[test]
fn a_killed_stage_comes_back_and_the_others_run_on() {
    let running = start(GOOD, &["a", "b"]).unwrap();
    let before = running.stages();
    let killed = Process::of(before[0].pid.unwrap()).unwrap();
    killed.signal(libc::SIGKILL).unwrap();
    running.until(|stages| stages[0].restarts == 1 && stages[0].pid.is_some());
    let after = running.stages();
    assert_ne!(after[0].pid, before[0].pid);
    assert_eq!(after[1], before[1]);
}

#[test]
fn records_that_pass_a_process_are_seen_while_somebody_looks() {
    let record = Tapped {
        partition: 2,
        offset: 41,
        timestamp_ms: -1,
        key: None,
        value: "edit".to_owned(),
        value_bytes: 4,
    };
    let stages = BTreeMap::from([("a".to_owned(), LegStats::default().snapshot())]);
    let tapped = BTreeMap::from([("a".to_owned(), vec![record.clone()])]);
    let json = |report: Report| serde_json::to_string(&report).unwrap();
    let (stages, tapped) = (json(Report::Stages(stages)), json(Report::Tapped(tapped)));
    // Reports until it is told to look, and once for each time that it is.
    let script = format!(
        r#"
echo '"ready"'
read go
while :; do echo '{stages}'; sleep 0.05; done &
while read order; do
  case "$order" in
    *'"look":{{"a":3}}'*) echo '{tapped}' ;;
    *stop*) kill $!; exit 0 ;;
  esac
done
"#
    );
    let running = start(&script, &["a"]).unwrap();
    let tap = |records| running.host.0.lock().unwrap()[0].stats.tap.look(records);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = tap(3);
        if let Some(first) = seen.first() {
            assert_eq!(*first, record);
            break;
        }
        assert!(Instant::now() < deadline, "nothing is seen");
        pause();
    }
}

#[test]
fn one_that_is_final_is_not_started_again() {
    let script = r#"echo '"ready"'; read go
        echo '{"ended":{"error":"fenced: another copy took over","is_final":true}}'"#;
    let running = start(script, &["a"]).unwrap();
    running.until(|stages| stages[0].given_up);
    assert!(
        running
            .log()
            .contains("fenced: another copy took over; not started again")
    );
}

#[test]
fn nothing_runs_if_one_stage_does_not_get_ready() {
    let script = r#"case $1 in
        bad) echo '{"ended":{"error":"no secret `PW`","is_final":false}}' ;;
        *) echo '"ready"'; read go; echo went > "$0.$1"; cat ;;
        esac"#;
    let error = start(script, &["good", "bad"]).err().unwrap();
    assert_eq!(error.to_string(), "bad: no secret `PW`");
}

#[test]
fn a_change_that_one_refuses_changes_nothing() {
    // Of a revision whose text says so, `b` is not taken, after `a` has been.
    let script = r#"
echo '"ready"'
read go
while read order; do
  case "$order" in
    *take*)
      number=${order#*number\":}; number=${number%%,*}
      dir=${order#*dir\":\"}; dir=${dir%\"*}
      if [ $1 = b ] && grep -q "^# REFUSE" "$dir/pipeline.yaml"; then
        echo '{"took":{"number":'$number',"result":{"Err":"b: no"}}}'
      else
        echo "$1 took $(grep -c "^# REFUSE" "$dir/pipeline.yaml")" >&2
        echo '{"took":{"number":'$number',"result":{"Ok":[]}}}'
      fi ;;
    *stop*) exit 0 ;;
  esac
done
"#;
    let running = start(script, &["a", "b"]).unwrap();
    let before = running.deployment.status().unwrap();
    let refusing = format!("{script}\n# REFUSE");
    assert_eq!(
        running.apply(&refusing, &["a", "b", "new"]),
        Err("b: no".to_owned())
    );
    assert_eq!(running.deployment.status().unwrap(), before);
    let log = running.log_with("a took 0");
    let (took, back) = (log.find("a took 1").unwrap(), log.find("a took 0").unwrap());
    assert!(took < back, "{log}");
    assert!(log.contains("not changed: b: no"), "{log}");

    // And the next one is carried out.
    let lines = running.apply(script, &["a", "b", "new"]).unwrap();
    assert_eq!(lines, ["new: started"]);
    assert_eq!(running.stages().len(), 3);
}

#[test]
fn a_late_answer_is_not_taken_for_the_answer_to_what_was_asked_since() {
    // Each time the answer to the order before comes first, as from one that was given up.
    let script = r#"
echo '"ready"'
read go
while read order; do
  case "$order" in
    *take*)
      number=${order#*number\":}; number=${number%%,*}
      echo '{"took":{"number":'$((number - 1))',"result":{"Ok":["late"]}}}'
      sleep 0.3
      echo '{"took":{"number":'$number',"result":{"Ok":["'$number'"]}}}' ;;
    *stop*) exit 0 ;;
  esac
done
"#;
    let running = start(script, &["a"]).unwrap();
    for number in ["1", "2", "3"] {
        let lines = running.apply(script, &["a"]).unwrap();
        assert_eq!(lines, [number]);
    }
}

#[test]
fn stages_come_and_go_and_a_stale_change_is_refused() {
    let running = start(GOOD, &["source", "a"]).unwrap();
    let base = running.deployment.status().unwrap().revision;
    let lines = running.apply(GOOD, &["source", "b"]).unwrap();
    assert_eq!(lines, ["source: taken", "a: stopped", "b: started"]);
    let names: Vec<String> = running
        .stages()
        .into_iter()
        .map(|stage| stage.name)
        .collect();
    assert_eq!(names, ["source", "b"]);
    let staged = staged(&running.deployment, GOOD, &["source"]);
    let error = running
        .deployment
        .ask(&Request::Apply { base, staged })
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("something else was deployed meanwhile"),
        "{error}"
    );
    assert_eq!(running.stages().len(), 2);
    assert_eq!(
        running.apply(GOOD, &[]),
        Err("no stage is left to run".to_owned())
    );
}

#[test]
fn a_second_supervisor_is_refused_and_the_place_is_free_after_a_stop() {
    let running = start(GOOD, &["a"]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let entered = runtime.enter();
    let second = Supervisor::new(running.deployment.clone(), Scripts::default(), QUICK);
    let error = second.err().unwrap().to_string();
    let pid = std::process::id();
    assert_eq!(error, format!("p runs already (supervisor process {pid})"));
    drop(entered);
    running
        .deployment
        .ask(&Request::Stop { drain_ms: 0 })
        .unwrap();
    until_free(&running.deployment);
    assert_eq!(running.deployment.deployed().unwrap(), None);
    assert!(!running.deployment.socket().exists());
    let _lock = running.deployment.lock().unwrap();
    drop(_lock);
}

#[test]
fn one_that_does_not_end_is_killed() {
    let script = "trap '' TERM; echo '\"ready\"'; read go; while :; do read x || sleep 0.1; done";
    let running = start(script, &["a"]).unwrap();
    let process = Process::of(running.stages()[0].pid.unwrap()).unwrap();
    // A second signal would shorten it; here the whole patience is waited for.
    let started = Instant::now();
    drop(running);
    assert!(started.elapsed() > Duration::from_secs(15));
    assert!(!process.is_alive());
}
