//! Workers, as `homing run --role worker` starts them, each a process of its own, so that its CPU
//! and memory are known.
//!
//! A worker gets its settings as the first line of its standard input, and the order to drain as
//! the second. Where its input ends without that, the bench has died, and it ends at once.

use std::{collections::BTreeSet, io, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        failure::{Exit, Failure},
        globals::Globals,
    },
    config::Settings,
    process::{self, Role},
};

/// Beyond the time that a worker may take to drain.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A worker, seen from the bench. Killed when dropped.
pub(super) struct Worker {
    child: Child,
    orders: ChildStdin,
}

impl Worker {
    /// Starts it in a process group of its own: Ctrl-C is for the bench, which ends it in order.
    pub(super) async fn start(settings: &Settings) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::Bench(format!("the bench cannot start a worker: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["bench", "worker"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(failed)?;
        let orders = child.stdin.take();
        let mut orders = orders.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let settings = serde_json::to_string(settings).map_err(|error| failed(error.into()))?;
        orders.write_all(format!("{settings}\n").as_bytes()).await.map_err(failed)?;
        Ok(Self { child, orders })
    }

    /// The id of its process; `None` once it has ended.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(ended_early()),
        }
    }

    /// Drains it; what it holds at the broker is given back when it has ended.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.orders.write_all(b"stop\n").await.map_err(|_closed| ended_early())?;
        match timeout(ENDS_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(_) => Err(ended_early()),
            Err(_elapsed) => Err(Failure::Bench("a worker of the bench does not end".to_owned())),
        }
    }
}

fn ended_early() -> Failure {
    Failure::Bench("a worker of the bench ended before its time; its log says why".to_owned())
}

/// Delivers until the order to stop.
pub(super) async fn run(globals: &Globals) -> Result<Exit, Failure> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let line = orders.next_line().await.ok().flatten().unwrap_or_default();
    let settings: Settings = serde_json::from_str(&line)
        .map_err(|_| Failure::Usage("a part of `homing bench`, which starts it".to_owned()))?;
    globals.log(&settings, "homing=warn")?;
    let (roles, stop) = (BTreeSet::from([Role::Worker]), CancellationToken::new());
    let drain = async {
        let ordered = orders.next_line().await.ok().flatten().is_some();
        stop.cancel();
        // After the end of the bench, nothing is worth waiting for.
        tokio::time::sleep(if ordered { Duration::MAX } else { Duration::ZERO }).await;
    };
    tokio::select! {
        ended = process::run(settings, &roles, None, stop.clone()) => ended.map_err(Failure::Start)?,
        () = drain => return Ok(Exit::Failed),
    }
    Ok(Exit::Done)
}
