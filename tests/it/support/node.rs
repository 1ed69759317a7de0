//! A RabbitMQ of the test's own, for what a broker does to its clients: it dies, stops, runs short.
//!
//! Started and stopped by the scripts that people use (`rabbitmq/up`, `rabbitmq/down`), and deleted
//! with all it holds when dropped, also when the test fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, sync::Semaphore};

/// Nodes at one time: each needs half a gigabyte and most of a core while it starts.
static PLACES: Semaphore = Semaphore::const_new(2);

/// Waits until a kill costs nothing: a broker whose queues were declared less than five seconds ago
/// loses what it holds when it is killed.
pub(crate) async fn queues_settle() {
    // The broker gives no sign.
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// A node called `homing-<name>@localhost`.
pub(crate) struct Node {
    name: String,
    pub url: String,
    /// The environment of `rabbitmq/up`.
    variables: Vec<(&'static str, String)>,
    _place: tokio::sync::SemaphorePermit<'static>,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rabbitmq")
}

/// Runs a program to its end; what it printed, if it succeeded.
pub(crate) async fn run(mut command: Command) -> String {
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(Duration::from_secs(180), ended).await;
    let output = ended.expect("it ends in time").expect("it can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("output is text").trim().to_owned()
}

impl Node {
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, Vec::new()).await
    }

    /// With these variables for `rabbitmq/up`.
    pub(crate) async fn start_with(name: &str, variables: Vec<(&'static str, String)>) -> Self {
        let place = PLACES.acquire().await.expect("it is never closed");
        let (name, url) = (name.to_owned(), String::new());
        let mut node = Self { name, url, variables, _place: place };
        // Something of a run that was killed may be there.
        node.down(&["--delete-data"]).await;
        node.up().await;
        node
    }

    /// Starts it, or starts it again with everything that it had confirmed.
    pub(crate) async fn up(&mut self) {
        let mut command = Command::new(scripts().join("up"));
        command.args(["--instance", &self.name]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.url = run(command).await;
    }

    /// Stops it as an operator does.
    pub(crate) async fn stop(&self) {
        self.down(&[]).await;
    }

    async fn down(&self, further: &[&str]) {
        let mut command = Command::new(scripts().join("down"));
        command.args(["--instance", &self.name]).args(further);
        run(command).await;
    }

    /// Adds settings, which count from the next start on.
    pub(crate) fn configure(&self, settings: &str) {
        let file = self.folder().join("conf.d/50-test.conf");
        fs::write(file, settings).expect("the settings can be written");
    }

    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(".homing/rabbitmq-{}", self.name))
    }

    /// As a crash does.
    pub(crate) async fn kill_9(&self) {
        let pid =
            fs::read_to_string(self.folder().join("pid")).expect("the broker wrote its process id");
        let mut command = Command::new("kill");
        command.args(["-KILL", pid.trim()]);
        run(command).await;
    }

    /// Runs `rabbitmqctl`.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(scripts().join("ctl"));
        command.args(["--instance", &self.name]).args(arguments);
        run(command).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let down = std::process::Command::new(scripts().join("down"))
            .args(["--instance", &self.name, "--delete-data"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("the broker `{}` was left behind", self.name);
        }
    }
}
