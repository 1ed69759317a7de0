//! Workers, as `homing run --role worker` starts them, each a process of its own, so that its CPU
//! and memory are known.
//!
//! A worker gets its settings as the first line of its standard input, and ends at once where that
//! input ends: the bench has died.

use std::{collections::BTreeSet, io, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
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

/// Starts a worker in a process group of its own: Ctrl-C is for the bench. It is killed when
/// dropped; by then nothing of it is needed.
pub(super) async fn start(settings: &Settings) -> Result<Child, Failure> {
    let failed = |error| Failure::Bench(format!("the bench cannot start a worker: {error}"));
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["bench", "worker"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut worker = command.process_group(0).kill_on_drop(true).spawn().map_err(failed)?;
    let input = worker.stdin.as_mut().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let settings =
        serde_json::to_string(settings).map_err(|error| failed(io::Error::from(error)))?;
    input.write_all(format!("{settings}\n").as_bytes()).await.map_err(failed)?;
    Ok(worker)
}

/// Delivers until the bench ends.
pub(super) async fn run(globals: &Globals) -> Result<Exit, Failure> {
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let line = input.next_line().await.ok().flatten().unwrap_or_default();
    let settings: Settings = serde_json::from_str(&line)
        .map_err(|_| Failure::Usage("a part of `homing bench`, which starts it".to_owned()))?;
    globals.log(&settings, "homing=warn")?;
    let (roles, stop) = (BTreeSet::from([Role::Worker]), CancellationToken::new());
    tokio::select! {
        ended = process::run(settings, &roles, None, stop) => ended.map_err(Failure::Start)?,
        _ended = input.next_line() => {}
    }
    Ok(Exit::Failed)
}
