//! Processes of this same program that take part in a bench.
//!
//! A part gets its job as one line of JSON on its standard input, and answers with lines on its
//! standard output. After the line `stop` it ends with a line of JSON, its report. If its input
//! ends without that, the bench has died, and the part ends at once.

use std::{io, process::Stdio};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Duration, timeout},
};

use crate::cli::failure::Failure;

const STOP: &str = "stop";
/// Beyond the time that a worker may take to drain.
const REPORT_WITHIN: Duration = Duration::from_secs(30);

/// A part, seen from the bench. Killed when dropped.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts `homing bench <name>`, which is to do `job`.
    ///
    /// In a process group of its own: Ctrl-C is for the bench, which ends its parts in order.
    pub(super) async fn start(name: &'static str, job: &impl Serialize) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::Bench(format!("the bench cannot start its {name}: {error}"))
        };
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["bench", name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(failed)?;
        let piped = (child.stdin.take(), child.stdout.take());
        let (Some(mut orders), Some(answers)) = piped else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let job = serde_json::to_string(job).map_err(|error| failed(error.into()))?;
        orders.write_all(format!("{job}\n").as_bytes()).await.map_err(failed)?;
        Ok(Self { name, child, orders, answers: BufReader::new(answers).lines() })
    }

    /// Its id; `None` once it has ended.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The next line that it writes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn line(&mut self) -> Result<String, Failure> {
        let line = self.answers.next_line().await.ok().flatten();
        line.ok_or_else(|| self.ended())
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(self.ended()),
        }
    }

    fn ended(&self) -> Failure {
        Failure::Bench(format!("the {} of the bench ended before its time", self.name))
    }

    /// Ends it; its report.
    pub(super) async fn report<R: DeserializeOwned>(mut self) -> Result<R, Failure> {
        let ending = async {
            if self.orders.write_all(format!("{STOP}\n").as_bytes()).await.is_err() {
                return Err(self.ended());
            }
            let report = loop {
                let line = self.line().await?;
                if let Ok(report) = serde_json::from_str(&line) {
                    break report;
                }
            };
            // What it holds at the broker is given back when it has ended.
            drop(self.child.wait().await);
            Ok(report)
        };
        timeout(REPORT_WITHIN, ending).await.map_err(|_elapsed| {
            Failure::Bench(format!("the {} of the bench does not end", self.name))
        })?
    }

    /// Ends it at once.
    pub(super) async fn kill(mut self) {
        // One that has ended already cannot be killed.
        drop(self.child.kill().await);
    }
}

/// The orders that a part gets.
pub(super) struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    pub(super) fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// The job of this part.
    pub(super) async fn job<J: DeserializeOwned>(&mut self) -> Result<J, Failure> {
        let line = self.0.next_line().await.ok().flatten().unwrap_or_default();
        serde_json::from_str(&line)
            .map_err(|_| Failure::Usage("a part of `homing bench`, which starts it".to_owned()))
    }

    /// Ends with the order to stop (true), or with the end of the bench (false).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn stop(&mut self) -> bool {
        self.0.next_line().await.ok().flatten().is_some_and(|line| line == STOP)
    }
}
