//! `homing replay`: what it shows, and when it refuses.

use serde_json::{Value, json};

use crate::support::{broker::Raw, process::Site};

const ON: &str = "archive.enabled = true\n";

/// Goal: nothing is archived, and so nothing sent again, unless it is turned on.
#[tokio::test]
async fn without_an_archive_a_replay_is_refused() {
    let site = Site::new(&[50], "");
    let output = site.command(&["replay", "--since", "1h"]).output().expect("it can be run");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("set `archive.enabled`"), "{errors}");
    let list = site.run(&["replay", "list"]);
    assert_eq!(list, "");
}

/// Goal: a dry run sends nothing.
#[tokio::test]
async fn a_dry_run_shows_topics_and_sends_nothing() {
    let site = Site::new(&[50], ON);
    site.run(&["topology", "apply"]);
    let publisher = site.publisher().await;
    for (topic, id) in [("order.paid", "a"), ("order.paid", "b"), ("order.sent", "c")] {
        publisher.publish(Raw::new(topic, id, "{}")).await;
    }
    let since = "1h";
    let text = site.run(&["replay", "--since", since, "--topic", "order.paid", "--dry-run"]);
    assert!(text.contains("2 of them are selected"), "{text}");
    assert!(text.contains("The archive begins at"), "{text}");
    let shown = site.run(&["--json", "replay", "--since", since, "--dry-run"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["events"], 3);
    assert_eq!(shown["topics"], json!({"order.paid": 2, "order.sent": 1}));
    let listed = site.run(&["--json", "replay", "list"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["replays"], json!([]));
}
