//! Three brokers of the test's own, one cluster, by the script for users
//! (`rabbitmq/cluster`). Deleted when dropped, also when the test fails.

use std::{collections::HashMap, path::Path, process::Stdio};

use tokio::process::Command;

use super::{eventually, holds, node};

/// Its nodes are numbered 1 to 3.
pub(crate) struct Cluster {
    name: &'static str,
    /// Of all nodes, separated by blanks.
    pub urls: String,
}

fn script() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rabbitmq/cluster")
}

impl Cluster {
    pub(crate) async fn start(name: &'static str) -> Self {
        let mut cluster = Self { name, urls: String::new() };
        // Something of a run that was killed may be there.
        cluster.run(&["down"]).await;
        cluster.urls = cluster.run(&["up"]).await;
        cluster
    }

    /// Does `what` to node `number`.
    pub(crate) async fn to(&self, what: &str, number: u8) {
        self.run(&[what, &number.to_string()]).await;
    }

    /// Ends all partitions.
    pub(crate) async fn heal(&self) {
        self.run(&["heal"]).await;
    }

    /// Waits until all nodes serve again.
    pub(crate) async fn whole(&self) {
        self.run(&["await"]).await;
    }

    /// The number of the node that leads `queue`.
    pub(crate) async fn leader_of(&self, queue: &str) -> u8 {
        let leaders = self.run(&["leaders"]).await;
        let leaders: HashMap<_, _> =
            leaders.lines().filter_map(|line| line.split_once(' ')).collect();
        let number = leaders.get(queue).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("`{queue}` has no leader: {leaders:?}"))
    }

    /// Waits until no dead-letter worker holds a message that its target has not confirmed: no depth
    /// counts those. What one holds for so long that it will not move by itself is neither lost nor
    /// delivered, and named.
    ///
    /// A worker whose publish was lost publishes again after
    /// `dead_letter_worker_publisher_confirm_timeout` where it was refused; where the target's leader
    /// died, once it learns of the next one, which on 3.10 only 32 unconfirmed messages make it ask
    /// for. Source: `rabbit_fifo_dlx_worker` (`redeliver_messages`, `clients_redeliver`),
    /// `rabbit_fifo_client` (`enqueue`, `set_timer`).
    pub(crate) async fn nothing_held(&self) {
        eventually(async || {
            let held = self.run(&["held"]).await;
            let late = "the broker's dead-letter workers hold messages that do not move";
            holds(held.trim().is_empty(), format!("{late}:\n{held}"))
        })
        .await;
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(script());
        command.args(["--instance", self.name]).args(arguments);
        node::run(command).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down = std::process::Command::new(script())
            .args(["--instance", self.name, "down"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("the cluster `{}` was left behind", self.name);
        }
    }
}
