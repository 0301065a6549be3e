//! Secrets, TLS and logins by their real parts: the binary, an HTTPS stream with a private CA, a
//! Kafka that asks for TLS and a login, a Redis with TLS, an ACL user and client certificates.
//!
//! With the default build only what it says of itself is looked at; `cargo xtask ci --only tls` has
//! the build and the cluster for the rest.
#![allow(clippy::unwrap_used)]

mod common;

/// A build without OpenSSL.
#[cfg(not(feature = "kafka-tls"))]
mod without {
    use crate::common::{Project, run};

    #[test]
    fn it_says_what_it_lacks_where_and_how_to_get_it() {
        for (written, at, what) in [
            ("tls: true", "6:3: kafka.tls: ", "TLS to Kafka"),
            (
                "sasl: {mechanism: SCRAM-SHA-512, username: me, password: pw}",
                "6:10: kafka.sasl.mechanism: ",
                "SCRAM-SHA-512",
            ),
        ] {
            let project = Project::local();
            project.write(|text| {
                let at = text.find("  brokers:").unwrap();
                let (head, tail) = text.split_at(at);
                let head = head.lines().filter(|line| !line.starts_with('#'));
                let head: Vec<&str> = head.collect();
                format!("{}\n\n  {written}\n{tail}", head.join("\n"))
            });
            let output = run(project.gristmill(&["up"]));
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{errors}");
            let file = project.file();
            let file = file.display();
            assert!(errors.contains(&format!("{file}:")), "{errors}");
            for part in [at, what, "--features kafka-tls", "libssl-dev"] {
                assert!(errors.contains(part), "{part} not in: {errors}");
            }
        }
    }
}

#[cfg(feature = "kafka-tls")]
mod with {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::path::Path;
    use std::process::{Command, Output};

    use gristmill_flow_testing::kafka::{self, Secure};
    use gristmill_flow_testing::pki::Pki;
    use gristmill_flow_testing::redis::RedisServer;
    use gristmill_flow_testing::tls::TlsFront;
    use gristmill_replay::GeneratorOptions;
    use serde_json::Value;

    use crate::common::{Replay, Running, gristmill, record, run, succeed, tally};

    const IDLE: &str = "--until-idle=4s";
    const EVENTS: usize = 600;

    /// Everything that must never show, by the name that the file knows it by.
    fn secrets(secure: &Secure) -> [(&'static str, String); 3] {
        [
            ("KAFKA_PASSWORD", secure.password.clone()),
            ("REDIS_PASSWORD", "redis-secret-3f9c4e\"{x}".to_owned()),
            ("STREAM_TOKEN", "stream-token-88d1b2c7".to_owned()),
        ]
    }

    /// A pipeline whose every connection is encrypted and asks who is there.
    struct Site {
        dir: tempfile::TempDir,
        secure: Secure,
        pki: Pki,
        redis: RedisServer,
        redis_port: u16,
        topic: String,
        stream: String,
        _replay: Option<Replay>,
    }

    impl Site {
        fn new(recording: Option<&dyn Fn(&Path)>) -> Option<Self> {
            let secure = kafka::secure()?;
            let dir = tempfile::tempdir().unwrap();
            // Files are named relative to the pipeline's.
            let pki = Pki::make_in(&dir.path().join("certs")).unwrap();
            let options = ["--rdbcompression", "no"];
            let (redis, redis_port) = RedisServer::start_tls(&pki, true, &options)?;
            let secrets = secrets(&secure);
            let password = format!(">{}", secrets[1].1);
            let user = ["ACL", "SETUSER", "counter", "on", "~*", "+@all", &password];
            assert_eq!(redis.command(&user), "OK");
            std::fs::create_dir(dir.path().join("secrets")).unwrap();
            for (name, value) in &secrets {
                std::fs::write(dir.path().join("secrets").join(name), value).unwrap();
            }
            let mut replay = None;
            let mut stream = "https://127.0.0.1:1/stream".to_owned();
            if let Some(record) = recording {
                let file = dir.path().join("recorded.sse");
                record(&file);
                let started = Replay::start(&[file.to_str().unwrap()]);
                let (_, rest) = started.url.split_once("://").unwrap();
                let (host, path) = rest.split_once('/').unwrap();
                let upstream: SocketAddr = host.parse().unwrap();
                let front = TlsFront::start(upstream, &pki, true);
                stream = format!("https://{}/{path}", front.addr());
                replay = Some(started);
            }
            let site = Self {
                topic: kafka::unique("secure"),
                dir,
                secure,
                pki,
                redis,
                redis_port,
                stream,
                _replay: replay,
            };
            site.write(|text| text);
            Some(site)
        }

        fn write(&self, edit: impl FnOnce(String) -> String) {
            let ca = self.secure.pki.join("ca.pem");
            let text = format!(
                r#"apiVersion: 0.1.0
meta: {{name: {topic}, version: 0.1.0, secrets: [{{name: KAFKA_PASSWORD}}]}}
kafka:
  brokers: {brokers}
  tls: {{ca-file: {ca}}}
  sasl: {{mechanism: SCRAM-SHA-512, username: {user}, password: "${{{{ secrets.KAFKA_PASSWORD }}}}"}}
topics:
  {topic}: {{partitions: 1, replication-factor: 1}}
connectors:
  - meta:
      name: stream
      type: sse-source
      version: 0.1.0
      topic: {topic}
      producer: {{compression: none}}
      secrets: [{{name: STREAM_TOKEN}}]
    sse:
      url: {stream}
      user-agent: gristmill-test/0.1 (https://example.org; you@example.org)
      headers: {{Authorization: "Bearer ${{{{ secrets.STREAM_TOKEN }}}}"}}
      timestamp: /meta/dt
      tls: {{ca-file: certs/ca.pem, cert-file: certs/client.pem, key-file: certs/client.key}}
  - meta: {{name: counts, type: redis-sink, version: 0.1.0, topic: {topic}, secrets: [{{name: REDIS_PASSWORD}}]}}
    transforms:
      - {{uses: extract-type@0.1.0, with: {{field: type}}}}
    redis:
      url: rediss://127.0.0.1:{redis}/0
      username: counter
      password: ${{{{ secrets.REDIS_PASSWORD }}}}
      tls: {{ca-file: certs/ca.pem, cert-file: certs/client.pem, key-file: certs/client.key}}
"#,
                topic = self.topic,
                brokers = self.secure.tls_login.join(","),
                ca = ca.display(),
                user = self.secure.username,
                stream = self.stream,
                redis = self.redis_port,
            );
            std::fs::write(self.file(), edit(text)).unwrap();
        }

        fn file(&self) -> std::path::PathBuf {
            self.dir.path().join("pipeline.yaml")
        }

        fn gristmill(&self, args: &[&str]) -> Command {
            let mut command = gristmill(args);
            command.arg("--file").arg(self.file());
            command
                .arg("--secrets")
                .arg(self.dir.path().join("secrets"));
            // Relative files count from the pipeline's folder, wherever the user is.
            command.current_dir("/");
            command
        }

        fn line_of(&self, part: &str) -> String {
            let text = std::fs::read_to_string(self.file()).unwrap();
            let line = text.lines().position(|line| line.contains(part)).unwrap();
            format!("{}:{}:", self.file().display(), line + 1)
        }
    }

    fn printed(output: &Output) -> String {
        let all = [&output.stdout[..], &output.stderr[..]].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    fn get(addr: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(addr).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Where a secret shows in the files below `dir`; configuration, which has to hold it, aside.
    fn grep(dir: &Path, secret: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                grep(&path, secret, found);
            } else if !path.ends_with("server.properties")
                && let Ok(bytes) = std::fs::read(&path)
                && bytes.windows(secret.len()).any(|w| w == secret.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }

    #[test]
    fn a_full_run_shows_no_secret_anywhere() {
        let events = std::cell::RefCell::new(Vec::new());
        let make = |file: &Path| {
            let options = GeneratorOptions {
                malformed_every: Some(100),
                ..GeneratorOptions::default()
            };
            *events.borrow_mut() = record(file, options, EVENTS);
        };
        let Some(site) = Site::new(Some(&make)) else {
            return;
        };
        let mut shown: Vec<(String, String)> = Vec::new();
        let mut keep = |what: &str, text: String| shown.push((what.to_owned(), text));

        keep("validate", succeed(site.gristmill(&["validate"])));
        keep(
            "validate --json",
            succeed(site.gristmill(&["validate", "--json"])),
        );
        // Everything at its loudest, librdkafka too.
        site.write(|text| {
            let loud = "  properties: {debug: \"security,broker,protocol,feature\"}\ntopics:";
            text.replacen("topics:", loud, 1)
        });
        let up = |format: &str| {
            let listen = "--listen=127.0.0.1:0";
            site.gristmill(&["up", "--json", "-vv", "--log-format", format, listen, IDLE])
        };
        let mut running = Running::start(up("text"));
        let said = running.wait_for("/metrics");
        let (_, rest) = said.split_once("metrics on http://").unwrap();
        let addr = rest.split('/').next().unwrap().to_owned();
        for path in ["/metrics", "/readyz", "/healthz"] {
            keep(path, get(&addr, path));
        }
        let output = running.finish();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(output.status.success(), "{}", printed(&output));
        let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let events = events.borrow();
        let expect = serde_json::to_value(tally(&events)).unwrap();
        assert_eq!(report["counts"], expect, "{report}");
        assert_eq!(report["rejected"], 6, "{report}");
        keep("up", printed(&output));
        keep("up, JSON logs", printed(&run(up("json"))));

        let counts = succeed(site.gristmill(&["counts", "--json"]));
        assert_eq!(serde_json::from_str::<Value>(&counts).unwrap(), expect);
        keep("counts", counts);
        keep(
            "tap",
            succeed(site.gristmill(&["tap", &site.topic, "--json"])),
        );
        let checkpoints = format!("gristmill.{}.checkpoints", site.topic);
        keep(
            "tap checkpoints",
            succeed(site.gristmill(&["tap", &checkpoints, "--json"])),
        );
        let letters = ["dead-letter", "list", &site.topic, "--json"];
        let letters = succeed(site.gristmill(&letters));
        assert_eq!(letters.lines().count(), 6, "{letters}");
        keep("dead letters", letters);
        let doctor = succeed(site.gristmill(&["doctor"]));
        assert!(
            doctor.contains("answers in") && !doctor.contains("FAILED"),
            "{doctor}"
        );
        keep("doctor", doctor);
        keep(
            "doctor --json",
            succeed(site.gristmill(&["doctor", "--json"])),
        );

        // And where it fails: every login refused, one after the other.
        for (from, to) in [
            ("username: counter", "username: nobody"),
            (
                "SCRAM-SHA-512, username: gristmill",
                "PLAIN, username: nobody",
            ),
            ("certs/ca.pem", "certs/stranger-ca.pem"),
        ] {
            site.write(|text| text.replace(from, to));
            keep("failing doctor", printed(&run(site.gristmill(&["doctor"]))));
            let up = ["up", "-vv", "--for", "3s"];
            keep("failing up", printed(&run(site.gristmill(&up))));
        }
        site.write(|text| text.replace("rediss://", "http://user:${{ secrets.REDIS_PASSWORD }}@"));
        keep(
            "failing validate",
            printed(&run(site.gristmill(&["validate"]))),
        );

        assert_eq!(site.redis.command(&["SAVE"]), "OK");
        for (name, secret) in secrets(&site.secure) {
            for form in [
                secret.clone(),
                Value::from(secret).to_string().replace('"', ""),
            ] {
                for (what, text) in &shown {
                    let at = text.find(&form);
                    assert!(
                        at.is_none(),
                        "{what} shows {name}: {}",
                        &text[at.unwrap()..]
                    );
                }
                let mut found = Vec::new();
                grep(site.redis.dir(), &form, &mut found);
                let cluster = site.secure.pki.parent().unwrap();
                for broker in std::fs::read_dir(cluster).unwrap().flatten() {
                    if broker.file_name().to_string_lossy().starts_with("broker-") {
                        grep(&broker.path(), &form, &mut found);
                    }
                }
                assert!(found.is_empty(), "{name} is in {found:?}");
            }
        }
        // The search finds what is there.
        let mut found = Vec::new();
        grep(
            &site.dir.path().join("secrets"),
            &site.secure.password,
            &mut found,
        );
        assert_eq!(found.len(), 1);
        assert!(
            shown
                .iter()
                .any(|(what, text)| what == "up" && text.contains("librdkafka"))
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let Some(site) = Site::new(None) else { return };
        let fails = |code: i32, edit: &dyn Fn(String) -> String, parts: &[&str]| {
            site.write(edit);
            let output = run(site.gristmill(&["up", "--for", "20s"]));
            let errors = printed(&output);
            assert_eq!(output.status.code(), Some(code), "{errors}");
            for part in parts {
                assert!(errors.contains(part), "{part} not in: {errors}");
            }
        };
        let swap =
            |from: &'static str, to: &'static str| move |text: String| text.replace(from, to);
        // Files, before anything is connected: at their line.
        fails(
            2,
            &|text| text.replace("/ca.pem}\n  sasl", "/no-such.pem}\n  sasl"),
            &["kafka.tls.ca-file: ", "no-such.pem: No such file"],
        );
        let place = site.line_of("no-such.pem");
        fails(
            2,
            &|text| text.replace("/ca.pem}\n  sasl", "/no-such.pem}\n  sasl"),
            &[&place],
        );
        let redis_file = swap("counter\n", "counter\n      # certificates below\n");
        site.write(redis_file);
        std::fs::rename(site.pki.path("client.key"), site.pki.path("away.key")).unwrap();
        fails(
            2,
            &|text| {
                text.replace(
                    "key-file: certs/client.key}\n  - meta",
                    "key-file: certs/away.key}\n  - meta",
                )
            },
            &["counts: tls.key-file: ", "certs/client.key: No such file"],
        );
        let place = site.line_of("certs/client.key");
        let output = run(site.gristmill(&["up", "--for", "20s"]));
        assert!(
            printed(&output).contains(&place),
            "{place}: {}",
            printed(&output)
        );
        std::fs::rename(site.pki.path("away.key"), site.pki.path("client.key")).unwrap();
        // Logins and handshakes.
        fails(
            1,
            &swap(
                "SCRAM-SHA-512, username: gristmill",
                "PLAIN, username: nobody",
            ),
            &["refused the login", "`kafka.sasl`"],
        );
        let stranger = site
            .secure
            .pki
            .join("stranger-ca.pem")
            .display()
            .to_string();
        let ca = site.secure.pki.join("ca.pem").display().to_string();
        fails(
            1,
            &|text| text.replace(&ca, &stranger),
            &["`kafka.tls.ca-file`"],
        );
        let certified = site.secure.tls_cert.join(",");
        let brokers = site.secure.tls_login.join(",");
        fails(
            1,
            &|text| {
                let text = text.replace(&brokers, &certified);
                let at = text.find("  sasl:").unwrap();
                let end = at + text[at..].find('\n').unwrap() + 1;
                format!("{}{}", &text[..at], &text[end..]).replacen(
                    "secrets: [{name: KAFKA_PASSWORD}]",
                    "secrets: []",
                    1,
                )
            },
            &["`kafka.tls.cert-file`"],
        );
        fails(
            1,
            &swap("username: counter", "username: nobody"),
            &["WRONGPASS"],
        );
        fails(
            1,
            &|text| {
                let at = text.find("rediss://").unwrap();
                let (head, tail) = text.split_at(at);
                format!(
                    "{head}{}",
                    tail.replace("certs/ca.pem", "certs/stranger-ca.pem")
                )
            },
            &["UnknownIssuer", "`redis.tls.ca-file`"],
        );
    }
}
