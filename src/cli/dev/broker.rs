//! The broker of `homing dev`: the configured one, or a private one that `rabbitmq/up` of the
//! repository finds or starts.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use crate::{
    cli::{failure::Failure, output::Output},
    config::Settings,
};

/// Where the script is, below the repository.
const UP: &str = "rabbitmq/up";
const DOWN: &str = "rabbitmq/down";
/// For a package to be installed, or an image to be fetched, and the broker to start.
const UP_DEADLINE: Duration = Duration::from_mins(15);
const DOWN_DEADLINE: Duration = Duration::from_mins(3);

/// A broker, and the repository whose script started it.
pub(super) struct Found {
    /// Its URL; `None`: as the settings have it.
    pub(super) url: Option<String>,
    /// It did not run before, and is stopped at the end.
    started_by: Option<PathBuf>,
}

/// The broker of the settings, if they name one; else that of the repository.
///
/// # Errors
///
/// [`Failure::NotFound`]: the script failed, and has said why.
pub(super) async fn find(
    (settings, is_named): (&Settings, bool),
    output: &mut Output<'_>,
) -> Result<Found, Failure> {
    let defaults = Settings::from_toml("").map_err(Failure::Settings)?;
    let own = (&settings.broker.url, &settings.broker.url_file);
    let is_configured = is_named || own != (&defaults.broker.url, &defaults.broker.url_file);
    let Some(repository) = repository().filter(|_| !is_configured) else {
        return Ok(Found { url: None, started_by: None });
    };
    let ran = runs(&repository).await;
    if !ran {
        output.aside(format_args!("Looking for a broker: {}", repository.join(UP).display()));
    }
    let failed = |error: io::Error| Failure::Read { what: format!("`{UP}`"), source: error };
    // Not `output`, which would keep to itself what the script says.
    let script = Command::new(repository.join(UP))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let ended = timeout(UP_DEADLINE, script.wait_with_output()).await;
    let ended = ended.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
    let ended = ended.map_err(failed)?;
    if !ended.status.success() {
        let text = format!("`{UP}` has no broker, and says why; or give --broker URL");
        return Err(Failure::NotFound(text));
    }
    let url = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    Ok(Found { url: Some(url), started_by: (!ran).then_some(repository) })
}

impl Found {
    /// Stops the broker, if it was started for this.
    pub(super) async fn end(self, output: &mut Output<'_>) {
        let Some(repository) = self.started_by else { return };
        let script = repository.join(DOWN);
        let ended = timeout(DOWN_DEADLINE, Command::new(&script).stdin(Stdio::null()).status());
        let is_stopped = ended.await.ok().and_then(Result::ok).is_some_and(|it| it.success());
        if !is_stopped {
            output.notice(format_args!("the broker may still run; `{}`", script.display()));
        }
    }
}

/// The repository in which this is run, or in which the program was built.
fn repository() -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    // target/debug/homing
    let built =
        std::env::current_exe().ok().and_then(|exe| Some(exe.ancestors().nth(3)?.to_owned()));
    here.into_iter().chain(built).find(|folder| folder.join(UP).is_file())
}

/// True if the broker of this repository runs already.
async fn runs(repository: &Path) -> bool {
    if repository.join(".homing/rabbitmq.compose").exists() {
        return true;
    }
    let asked = Command::new(repository.join(UP))
        .arg("--print-pidfile")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(Ok(asked)) = timeout(DOWN_DEADLINE, asked).await else { return false };
    let file = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let pid = std::fs::read_to_string(file).unwrap_or_default();
    let pid = pid.trim();
    !pid.is_empty() && Path::new("/proc").join(pid).exists()
}
