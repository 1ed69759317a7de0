//! Two checkouts on one machine do not take each other's broker.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use crate::support::broker::connect;

/// The scripts of a second checkout, and its broker while the test runs.
struct Checkout(tempfile::TempDir);

impl Checkout {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for part in ["rabbitmq", "servers"] {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
            let copied = Command::new("cp").arg("-r").arg(source).arg(folder.path()).status();
            assert!(copied.expect("cp can be run").success());
        }
        Self(folder)
    }

    /// Runs a script as an operator does who has neither Docker nor settings.
    fn run(&self, script: &str, arguments: &[&str], port: Option<&str>) -> Output {
        let mut command = Command::new(self.0.path().join("rabbitmq").join(script));
        command.args(arguments).current_dir(self.0.path());
        command.env_remove("HOMING__BROKER__URL").env_remove("HOMING_BROKER_PORT");
        command.env("DOCKER_HOST", "tcp://127.0.0.1:1");
        if let Some(port) = port {
            command.env("HOMING_BROKER_PORT", port);
        }
        command.output().expect("it can be run")
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let down = self.run("down", &["--delete-data"], None);
        if !down.status.success() {
            eprintln!("a broker was left behind: {}", String::from_utf8_lossy(&down.stderr));
        }
    }
}

/// Goal: where the usual port is taken, a free one is chosen and kept; one that was asked for is not
/// replaced.
#[tokio::test]
async fn a_broker_whose_port_is_taken_gets_a_free_one() {
    // Another checkout's broker may have it already.
    let _taken = TcpListener::bind("127.0.0.1:5673").ok();
    let checkout = Checkout::new();
    let refused = checkout.run("up", &[], Some("5673"));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("port 5673 is taken"), "{text}");

    let up = || {
        let up = checkout.run("up", &[], None);
        let (url, text) =
            (String::from_utf8_lossy(&up.stdout), String::from_utf8_lossy(&up.stderr));
        assert!(up.status.success(), "{text}");
        (url.trim().to_owned(), text.into_owned())
    };
    let (url, text) = up();
    assert!(!url.ends_with(":5673") && text.contains("port 5673 is taken"), "{url}: {text}");
    let connection = connect(&url).await.expect("it answers");
    connection.close(200, "OK".into()).await.expect("it ends");

    assert!(checkout.run("down", &[], None).status.success());
    assert_eq!(up().0, url, "the port is kept");
}
