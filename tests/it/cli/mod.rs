//! The program as operators and scripts use it: its answers, its errors, its exit codes.

mod apply;
mod attempts;
mod bench;
mod endpoints;
mod hostile;
mod listen;
mod naming;
mod parked;
mod publish;
mod remote;
mod replays;
mod running;
mod source;
mod subscriptions;
mod topology;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Output, Stdio},
    time::Duration,
};

use homing::config::Settings;
use homing_broker::Broker;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::{broker::Corner, eventually, holds};

const SCHEDULE: &str =
    "[schedule]\ndefault = \"short\"\n[schedule.custom]\nshort = [\"50ms\"]\n[held]\nqueues = 1\n";

/// An installation of its own: a folder with settings and store, and names at the broker.
struct Home {
    folder: TempDir,
    corner: Corner,
}

/// The output of a command.
#[derive(Debug)]
struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self {
            code: output.status.code().expect("the program ends by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Answer {
    /// The answer of a command that succeeded.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    #[track_caller]
    fn json(self) -> Value {
        let text = self.done();
        serde_json::from_str(&text).unwrap_or_else(|error| unreachable!("{error}: {text}"))
    }
}

impl Home {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("homing.toml"), SCHEDULE).expect("it can be written to");
        Self { folder, corner: Corner::new(&[Duration::from_millis(50)]).with_held_queues(1) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOMING__BROKER__URL", &self.corner.url)
            .env("HOMING__BROKER__PREFIX", &self.corner.prefix)
            .env("HOMING__BROKER__NEW_QUEUE_WAIT", "0s")
            .env("HOMING__API__LISTEN", "127.0.0.1:0")
            .env("HOMING__ENDPOINT__ALLOW_NETWORKS", "127.0.0.0/8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        self.command(arguments).output().expect("the program starts").into()
    }

    fn run_with(&self, arguments: &[&str], input: &[u8]) -> Answer {
        let mut child =
            self.command(arguments).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input).expect("the program reads");
        drop(stdin);
        child.wait_with_output().expect("the program ends").into()
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder.path().join(name), content).expect("the folder is ours");
    }

    fn broker(&self) -> Broker {
        let mut settings = Settings::from_toml(SCHEDULE).expect("the schedule is sound");
        settings.broker.url.clone_from(&self.corner.url);
        settings.broker.new_queue_wait = Duration::ZERO;
        Broker::new(&settings.broker, self.corner.topology.clone()).expect("the URL is one")
    }

    /// The number of parked deliveries.
    fn parked(&self) -> u64 {
        let listed = self.run(&["parked", "list", "--json"]).json();
        listed.get("total").and_then(Value::as_u64).expect("a number")
    }

    async fn depth(&self, object: &str) -> u32 {
        let broker = self.broker();
        let (queues, end) = (self.corner.topology.queues(), format!(".{object}"));
        let queue = queues.into_iter().find(|queue| queue.name.ends_with(&end)).expect("its name");
        let depth = broker.depth(&queue.name).await.expect("the broker answers");
        broker.close().await;
        depth.expect("the queue is there").messages
    }

    async fn wait_for_depth(&self, object: &str, count: u32) {
        eventually(async || {
            let depth = self.depth(object).await;
            holds(depth == count, format!("`{object}` has {depth} messages, not {count}"))
        })
        .await;
    }
}

#[test]
fn schedule_prints_the_published_table() {
    let home = Home::new();
    let text = home.run(&["schedule", "workfront"]).done();
    assert!(text.contains("1  1 min 25 s      84800  1 min 25 s"), "{text}");
    assert!(text.contains("48 h 13 min"), "{text}");

    let json = home.run(&["schedule", "--json"]).json();
    assert_eq!(json["name"], "short");
    assert_eq!(json["retries"][0]["wait_ms"], 50);
    let all = home.run(&["schedule", "--all", "--json"]).json();
    let of = |offered: bool| {
        let all = all.as_array().unwrap().iter();
        all.filter(|one| one["offered"] == offered)
            .map(|one| one["name"].as_str().unwrap())
            .collect()
    };
    let (offered, built_in): (Vec<_>, Vec<_>) = (of(true), of(false));
    assert_eq!(offered, ["short"]);
    assert_eq!(built_in, ["standard-webhooks", "workfront", "workfront-delay"]);
    assert_eq!(home.run(&["schedule", "hourly"]).code, 2);
}

#[test]
fn wrong_settings_are_reported_by_name() {
    let home = Home::new();
    home.write("homing.toml", b"[broker]\nurll = \"amqp://localhost\"\n");
    let answer = home.run(&["run"]);
    assert_eq!(answer.code, 2);
    let expected = "homing: `broker.urll` (homing.toml): there is no such setting; did you mean";
    assert!(answer.stderr.starts_with(expected), "{}", answer.stderr);
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);

    home.write("homing.toml", b"");
    let answer = home.run(&["--set", "worker.max_in_flight=many", "status"]);
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("`worker.max_in_flight` (flag)"), "{}", answer.stderr);
    let variable = "HOMING__API__LISTEN";
    let answer: Answer = home.command(&["status"]).env(variable, "8080").output().unwrap().into();
    let expected = format!("homing: `api.listen` ({variable}): `8080` is no address with a port;");
    assert!(answer.stderr.starts_with(&expected), "{}", answer.stderr);
    assert_eq!(home.run(&["--config", "nowhere.toml", "status"]).code, 2);

    let twice = ["--set", "log.level=info", "run", "--check", "--set", "worker.max_in_flight=64"];
    let answer = home.run(&twice);
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("every --set in one place"), "{}", answer.stderr);
    let checked = home.run(&["run", "--check", "--set", "worker.max_in_flight=64"]).done();
    assert!(checked.contains("worker.max_in_flight = 64"), "{checked}");
    let variable = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let mut check = home.command(&["run", "--check"]);
    let checked = Answer::from(check.env(variable.0, variable.1).output().unwrap()).done();
    assert!(checked.contains("traces.collector = \"http://127.0.0.1:4318\""), "{checked}");
}

#[test]
fn a_broker_that_is_not_there_or_refuses_is_reported_in_time() {
    let home = Home::new();
    let started = Instant::now();
    let answer = home
        .run_with(&["publish", "--topic", "t", "--broker", "amqp://me:secret@127.0.0.1:1"], b"1");
    assert_eq!(answer.code, 1);
    let expected = "homing: cannot connect to the broker at 127.0.0.1:1; check `broker.url`";
    assert!(answer.stderr.starts_with(expected), "{}", answer.stderr);
    assert!(!answer.stderr.contains("secret"), "{}", answer.stderr);
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);

    let wrong = home.corner.url.replace("://guest:guest@", "://guest:wrong@");
    // The store is there.
    home.run(&["attempts"]).done();
    let answer = home.run(&["parked", "list", "--broker", &wrong]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("refuses user `guest`"), "{}", answer.stderr);

    let status = home.run(&["status", "--json", "--broker", "amqp://:secret@127.0.0.1:1"]);
    assert_eq!(status.code, 3);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["broker"]["reachable"], false);
    assert_eq!(status["broker"]["location"], "amqp://127.0.0.1:1");
    assert_eq!(status["store"]["reachable"], true);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn status_shows_the_queues() {
    let home = Home::new();
    home.run(&["topology", "apply"]).done();
    let text = home.run(&["status"]).done();
    let file = home.folder.path().canonicalize().unwrap().join("homing.db");
    let store = format!("\nstore   reachable at {}, 0 subscriptions\n", file.display());
    assert!(text.starts_with("broker  reachable at amqp://") && text.contains(&store), "{text}");
    assert!(text.contains("waits 50 ms"), "{text}");
}

#[test]
fn every_command_has_a_manual_page() {
    let home = Home::new();
    home.run(&["man", "."]).done();
    let page = |name| fs::read_to_string(home.folder.path().join(name)).expect("it is there");
    assert!(page("homing.1").contains("Durable webhook delivery"));
    assert!(page("homing-subscriptions-create.1").contains("\\-\\-topic"));
    home.run(&["man", "new/man1"]).done();
    assert!(page("new/man1/homing.1").contains("Durable"));
    let refused = home.run(&["man", "homing.1"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("cannot write homing.1"), "{}", refused.stderr);
}

#[test]
fn completions_and_defaults_are_printed() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&["completions", shell]).done().contains("homing"));
    }
    assert!(home.run(&["config"]).done().contains("[broker]"));
    assert_eq!(home.run(&["config", "--json"]).json()["broker"]["prefix"], "homing");
}

#[test]
fn run_ends_politely_at_a_signal() {
    let home = Home::new();
    let mut child = home.command(&["run"]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("broker.connected") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it was connected");
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("service.stopped"), "{rest}");
}
