//! A command that goes on until it is stopped, and what it writes meanwhile.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use serde_json::Value;

use super::Home;
use crate::support::{PATIENCE, eventually};

/// A command that runs; killed when dropped.
pub(super) struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
    /// Ends at the end of standard error.
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (sender, lines) = channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::spawn(move || {
            for line in BufReader::new(stdout.expect("it is piped")).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&errors);
        let reader = thread::spawn(move || {
            let mut stderr = BufReader::new(stderr.expect("it is piped"));
            let mut line = Vec::new();
            while let Ok(1..) = stderr.read_until(b'\n', &mut line) {
                collected.lock().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { child, lines, errors, reader: Some(reader) }
    }

    /// The next line of its answer.
    #[track_caller]
    pub(super) fn line(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE);
        line.unwrap_or_else(|error| unreachable!("{error}: {}", self.errors.lock()))
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| unreachable!("{error}: {line}"))
    }

    /// Its standard error, once that contains `text`.
    pub(super) async fn errors_with(&self, text: &str) -> String {
        eventually(async || {
            let errors = self.errors.lock().clone();
            if errors.contains(text) { Ok(errors) } else { Err(format!("no `{text}`: {errors}")) }
        })
        .await
    }

    /// Sends a signal, waits for the end, and returns the exit code with standard error.
    #[track_caller]
    pub(super) fn end(&mut self, signal: &str) -> (Option<i32>, String) {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(killed.expect("kill can be run").success());
        self.ended()
    }

    /// Waits for the end, and for all that was written until then.
    #[track_caller]
    pub(super) fn ended(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("it can be waited for");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("standard error can be read");
        }
        let errors = self.errors.lock().clone();
        (status.code(), errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Home {
    /// Starts a whole homing, and returns it with the URL of its API.
    pub(super) async fn serve(&self, arguments: &[&str]) -> (Running, String) {
        let running = Running::start(self.command(&[&["run"], arguments].concat()));
        let log = running.errors_with("service.ready").await;
        let line = log.lines().find(|line| line.contains("service.ready")).expect("it is there");
        let url = line.split("url=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let url = url.expect("the line has the address").trim_matches(['"', '/']);
        let url = url.to_owned();
        (running, url)
    }
}
