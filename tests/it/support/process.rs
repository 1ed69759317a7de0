//! homing as a process of its own, for what a process must survive.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use homing::config::Settings;
use tempfile::TempDir;

use super::{
    broker::{Corner, Publisher},
    eventually, holds,
    installation::{millis, toml},
};

/// The settings of an installation on disk; any number of processes can run from it.
pub(crate) struct Site {
    pub corner: Corner,
    pub folder: TempDir,
    config: PathBuf,
}

/// A process; killed when dropped.
pub(crate) struct Process(Child);

impl Site {
    pub(crate) fn new(waits: &[u64], further: &str) -> Self {
        Self::at(Corner::new(&millis(waits)), waits, further)
    }

    /// In a corner that the caller made.
    pub(crate) fn at(mut corner: Corner, waits: &[u64], further: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let config = folder.path().join("homing.toml");
        let text = toml(&corner, &folder, waits, further);
        let settings = Settings::from_toml(&text).expect("the settings of the test make sense");
        corner.topology = corner.topology.clone().with_slots(settings.source.slots());
        corner.topology = corner.topology.clone().with_held_queues(settings.held.queues);
        corner.topology = corner.topology.clone().with_shards(settings.broker.shards);
        corner.topology = corner.topology.clone().with_archive(settings.archive.retention());
        fs::write(&config, text).expect("the settings can be written");
        Self { corner, folder, config }
    }

    pub(crate) async fn publisher(&self) -> Publisher {
        Publisher::new(&self.corner).await
    }

    /// A command of the program, ready to run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
        command.arg("--config").arg(&self.config).args(arguments).current_dir(self.folder.path());
        command.env_clear().stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; its standard output, if it succeeded.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the program can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "homing {arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("output is text")
    }

    /// Makes a subscription of `topic` for `url`; its id.
    pub(crate) fn subscribe(&self, url: &str, topic: &str, further: &[&str]) -> String {
        let add = ["--json", "subscriptions", "create", "--url", url, "--topic", topic];
        let added = self.run(&[&add, further].concat());
        let added: serde_json::Value = serde_json::from_str(&added).expect("JSON");
        let id = added.pointer("/id").and_then(|id| id.as_str());
        id.expect("an id").to_owned()
    }

    /// Waits until `count` processes consume the primary queue.
    pub(crate) async fn wait_for_consumers(&self, count: u32) {
        let (publisher, primary) = (self.publisher().await, self.corner.topology.names().primary());
        eventually(async || {
            let consumers = publisher.consumers(&primary).await;
            holds(consumers == count, format!("{consumers} consumers, not {count}"))
        })
        .await;
    }

    /// Waits until no queue but the parking queue holds anything, in flight or ready.
    pub(crate) async fn wait_until_settled(&self) {
        let (publisher, names) = (self.publisher().await, self.corner.topology.names());
        let mut quiet = 0;
        eventually(async || {
            let mut waiting = 0;
            for queue in self.corner.topology.queues() {
                if ![names.parked(), names.archive()].contains(&queue.name) {
                    waiting += publisher.depth(&queue.name).await;
                }
            }
            quiet = if waiting == 0 { quiet + 1 } else { 0 };
            holds(quiet == 10, format!("{waiting} messages still wait"))
        })
        .await;
    }

    /// Everything that is parked, as lines of an export.
    pub(crate) fn parked(&self) -> Vec<serde_json::Value> {
        let lines = self.run(&["parked", "export"]);
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Waits until exactly `count` endpoints are in `state`.
    pub(crate) async fn wait_for_endpoints(&self, state: &str, count: usize) {
        eventually(async || {
            let listed = self.run(&["--json", "endpoints", "list", "--state", state]);
            let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
            let found = listed.get("endpoints").and_then(|found| found.as_array()).map(Vec::len);
            holds(found == Some(count), format!("not {count} endpoints are {state}: {listed}"))
        })
        .await;
    }

    /// Starts a worker. Its log goes to a file in the folder.
    pub(crate) fn start(&self) -> Process {
        self.start_with(&[])
    }

    /// With these variables in its environment.
    pub(crate) fn start_with(&self, variables: &[(&str, &str)]) -> Process {
        let mut command = self.command(&["run", "--role", "worker"]);
        command.envs(variables.iter().copied());
        self.spawn(command)
    }

    /// A worker, ready to run behind `prepare`: shell commands in a mount namespace of its own, in
    /// which it can have files and disks that no other process sees.
    pub(crate) fn isolated(&self, prepare: &str) -> Command {
        let worker = self.command(&["run", "--role", "worker"]);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "--", "sh", "-c"]);
        command.arg(format!("{prepare} && exec \"$@\"")).arg("sh");
        command.arg(worker.get_program()).args(worker.get_args());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command.current_dir(self.folder.path());
        command
    }

    /// Starts `command` as a worker.
    pub(crate) fn spawn(&self, mut command: Command) -> Process {
        let log = fs::File::options().create(true).append(true).open(self.log());
        let log = log.expect("a log can be written");
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        Process(child.expect("the program can be run"))
    }

    /// Where workers log to.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts a worker whose standard output and standard error are these.
    pub(crate) fn start_writing_to(&self, stdout: Stdio, stderr: Stdio) -> Process {
        self.start_as(&["run", "--role", "worker"], stdout, stderr)
    }

    /// Starts a process with these arguments.
    pub(crate) fn start_as(&self, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Process {
        let child = self.command(arguments).stdout(stdout).stderr(stderr).spawn();
        Process(child.expect("the program can be run"))
    }
}

impl Process {
    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// As the kernel does it to a process out of memory.
    pub(crate) fn kill_9(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let killed = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        assert!(killed.expect("kill can be run").success());
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually(async || {
            let status = self.0.try_wait().expect("it can be waited for");
            status.ok_or("the process does not end")
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}
