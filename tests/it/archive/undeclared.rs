//! An archive that cannot be declared, or that no worker reads: deliveries go on, and it is said.

use std::process::Stdio;

use homing_domain::{clock, time::UnixMillis};
use serde_json::{Value, json};

use super::{ON, select};
use crate::{
    secrets::{address, get},
    support::{
        broker::{Corner, Raw},
        eventually, holds,
        installation::Installation,
        node::Node,
        process::Site,
        receiver::Receiver,
    },
};

/// Goal: a replay that no worker takes says why. Method: none runs, then one without an archive, then
/// one that has it.
#[tokio::test]
async fn a_replay_that_no_worker_takes_says_why() {
    let installation = Installation::with(&[50], ON).await;
    let archive = &installation.parts.archive;
    let since = UnixMillis::new(clock::now().get() - 60_000);
    let replay = archive.begin(select(since, clock::now(), json!({}))).await.expect("it begins");
    let note = async |text: &str| {
        eventually(async || {
            let listed = archive.list(1).await.expect("the store answers");
            let note = listed[0].progress.note.clone().unwrap_or_default();
            holds(note.contains(text), format!("no {text:?}: {note:?}"))
        })
        .await;
    };
    note("none runs").await;
    let without = installation.start_with(&[homing::process::Role::Worker], |settings| {
        settings.archive.enabled = false;
    });
    note("`archive.enabled`").await;
    without.stop().await;
    let running = installation.start();
    super::ended(&installation, &replay).await;
    running.stop().await;
}

/// Goal: deliveries do not depend on the archive, and an account without the right to declare replays
/// what an administrator has declared. Method: the broker takes no further queue, so the administrator
/// cannot declare the archive; a worker begins without it; then it is declared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_archive_cannot_be_declared_deliveries_go_on() {
    let node = Node::start("archive").await;
    let host = node.url.rsplit('@').next().expect("a URL has a host").to_owned();
    let site = Site::at(Corner::at(node.url.clone(), &[]), &[50], ON);
    let own = format!("^({}\\.v[0-9]+\\.|amq\\.(default$|gen))", site.corner.prefix);
    node.ctl(&["add_user", "worker", "p"]).await;
    node.ctl(&["set_permissions", "worker", "^amq\\.gen", &own, &own]).await;
    let without = ["--set", "archive.enabled=false"];
    site.run(&[&["topology", "apply"][..], &without].concat());
    let queues = node.ctl(&["--quiet", "list_queues", "name", "--no-table-headers"]).await;
    let limit = format!("{{\"max-queues\": {}}}", queues.lines().count());
    node.ctl(&["set_vhost_limits", &limit]).await;

    let refused = site.command(&["topology", "apply"]).output().expect("the program can be run");
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{errors}");
    assert!(errors.contains("Nothing is archived") && errors.contains("limit"), "{errors}");
    let created = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!created.contains(&site.corner.topology.names().archive()), "{created}");
    node.ctl(&["clear_vhost_limits"]).await;

    let receiver = Receiver::accepting().await;
    site.subscribe(&receiver.url("/"), "#", &without);
    let worker = format!("amqp://worker:p@{host}/");
    let mut command = site.command(&["run", "--broker", &worker]);
    command.stdout(Stdio::null());
    let running = site.spawn(command);
    site.wait_for_consumers(1).await;
    let (publisher, since) = (site.publisher().await, clock::now());
    publisher.publish(Raw::new("t", "without", "{}")).await;
    receiver.wait_for(1).await;
    let base = address(site.folder.path()).await;
    let ready: Value = serde_json::from_str(&get(&base, "/readyz", "").await).expect("JSON");
    assert_eq!(ready["status"], "ready", "{ready}");
    assert!(ready["warnings"].to_string().contains("nothing is archived"), "{ready}");
    assert!(get(&base, "/metrics", "").await.contains("\nhoming_archive_missing 1\n"));
    let log = std::fs::read_to_string(site.log()).expect("a log");
    assert_eq!(log.matches("topology.archive_missing").count(), 1, "{log}");

    site.run(&["topology", "apply"]);
    publisher.publish(Raw::new("t", "with", "{}")).await;
    receiver.wait_for(2).await;
    let since = since.to_string();
    let begun = site.run(&["--json", "replay", "--since", &since, "--detach"]);
    let begun: Value = serde_json::from_str(&begun).expect("JSON");
    let id = begun["id"].as_str().expect("an id").to_owned();
    let done = eventually(async || {
        let shown = site.run(&["--json", "replay", "get", &id]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        if shown["state"] == "done" { Ok(shown) } else { Err(shown.to_string()) }
    })
    .await;
    assert_eq!(done["progress"]["sent"], 1, "{done}");
    receiver.wait_for(3).await;
    drop(running);
    let requests = receiver.requests();
    let replayed = requests.iter().find(|it| it.header("x-homing-replay").is_some());
    assert_eq!(replayed.expect("one is replayed").id(), requests[1].id());
}
