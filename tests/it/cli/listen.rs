//! `homing listen`, `homing dev` and `homing attempts --follow`: commands that go on.

use std::time::Duration;

use homing_broker::topology::Topology;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Home, running::Running};
use crate::support::{broker::Corner, eventually, holds};

fn publish(home: &Home, topic: &str, body: &[u8]) {
    home.run_with(&["publish", "--topic", topic, "--single"], body).done();
}

fn subscriptions(home: &Home) -> Vec<Value> {
    let listed = home.run(&["subscriptions", "list", "--json"]).json();
    let listed = listed.get("subscriptions").and_then(Value::as_array);
    listed.expect("a list").clone()
}

#[tokio::test]
async fn a_listener_shows_what_comes_and_leaves_nothing() {
    let home = Home::new();
    let (_running, _url) = home.serve(&[]).await;
    let listen = ["listen", "--topic", "order.*", "--limit", "2", "--json"];
    let mut listener = Running::start(home.command(&listen));
    listener.errors_with("Listening at http://127.0.0.1:").await;
    assert_eq!(subscriptions(&home)[0]["topics"], json!(["order.*"]));

    publish(&home, "order.paid", b"{\"total\":12.50}");
    let shown = listener.json();
    assert_eq!((&shown["topic"], &shown["signature"]), (&json!("order.paid"), &json!("valid")));
    assert_eq!((&shown["attempt"], &shown["status"]), (&json!(1), &json!(200)));
    assert_eq!(shown["body"], "{\"total\":12.50}");
    publish(&home, "order.sent", b"1");
    assert_eq!(listener.json()["topic"], "order.sent");
    let (code, errors) = listener.ended();
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("Deleted the subscription"), "{errors}");
    assert_eq!(subscriptions(&home), [] as [Value; 0]);
}

#[tokio::test]
async fn a_signal_ends_a_listener_and_its_subscription() {
    let home = Home::new();
    let (_running, url) = home.serve(&[]).await;
    for (signal, over_api) in [("-INT", false), ("-TERM", true)] {
        let mut arguments = vec!["listen", "--status", "500"];
        let mut command = if over_api {
            arguments.extend(["--api", &url]);
            let mut command = home.command(&arguments);
            for name in ["URL", "PREFIX", "NEW_QUEUE_WAIT"] {
                command.env_remove(format!("HOMING__BROKER__{name}"));
            }
            command
        } else {
            home.command(&arguments)
        };
        command.env_remove("HOMING_API");
        let mut listener = Running::start(command);
        listener.errors_with("Listening at").await;
        if over_api {
            // The test event, by which it knows that it is reached.
            assert!(listener.line().contains("signature valid, answered 500"));
            assert!(listener.line().contains("\"test\":\"homing\""));
        }
        publish(&home, "order.paid", b"{\"total\":1}");
        let first = listener.line();
        assert!(first.contains("order.paid attempt 1, signature valid, answered 500"), "{first}");
        assert_eq!(listener.line(), "  {\"total\":1}");
        // It is retried, and comes again.
        assert!(listener.line().contains("order.paid attempt 2"));
        let (code, errors) = listener.end(signal);
        assert_eq!(code, Some(0), "{errors}");
        assert_eq!(subscriptions(&home), [] as [Value; 0], "{signal}");
    }
}

/// Goal: what homing refuses to call is said with the setting, and no subscription stays.
#[tokio::test]
async fn a_listener_that_is_not_called_says_which_setting_forbids_it() {
    let home = Home::new();
    let mut serve = home.command(&["run"]);
    serve.env_remove("HOMING__ENDPOINT__ALLOW_NETWORKS");
    let running = Running::start(serve);
    let log = running.errors_with("service.ready").await;
    let url = log.split("url=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let url = url.expect("the address").trim_matches(['"', '/']).to_owned();

    let mut here = home.command(&["listen"]);
    here.env_remove("HOMING__ENDPOINT__ALLOW_NETWORKS");
    let (code, errors) = Running::start(here).ended();
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("--set endpoint.allow_networks=127.0.0.0/8"), "{errors}");

    let mut there = home.command(&["listen", "--api", &url]);
    there.env_remove("HOMING__ENDPOINT__ALLOW_NETWORKS");
    let (code, errors) = Running::start(there).ended();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("endpoint.allow_networks=127.0.0.0/8"), "{errors}");
    assert_eq!(subscriptions(&home), [] as [Value; 0]);
}

#[tokio::test]
async fn attempts_are_followed_until_a_signal() {
    let home = Home::new();
    let (_running, url) = home.serve(&[]).await;
    let listener = Running::start(home.command(&["listen"]));
    listener.errors_with("Listening at").await;
    let followers =
        [vec!["attempts", "--follow", "--json"], vec!["attempts", "-f", "--api", &url, "--json"]];
    let mut followers: Vec<_> =
        followers.iter().map(|arguments| Running::start(home.command(arguments))).collect();
    for number in 0..3 {
        publish(&home, &format!("order.n{number}"), b"1");
        for follower in &followers {
            let attempt = follower.json();
            assert_eq!(attempt["topic"], format!("order.n{number}"), "{attempt}");
            assert_eq!(attempt["verdict"], "delivered", "{attempt}");
        }
    }
    for follower in &mut followers {
        assert_eq!(follower.end("-TERM").0, Some(0));
    }
}

/// Goal: a first delivery with one command, and nothing left after it. Method: the broker of the
/// tests is named, so none is started; its queues and the folder are looked for afterwards.
#[tokio::test]
async fn dev_delivers_a_demo_event_and_leaves_nothing() {
    let home = Home::new();
    let temporary = home.folder.path().join("tmp");
    std::fs::create_dir(&temporary).expect("the folder is ours");
    let mut command = home.command(&["dev", "--json"]);
    command.env("TMPDIR", &temporary).env_remove("HOMING__ENDPOINT__ALLOW_NETWORKS");
    let mut dev = Running::start(command);
    let first = dev.json();
    assert_eq!((&first["topic"], &first["signature"]), (&json!("demo.hello"), &json!("valid")));
    let said = dev.errors_with("Publish an event").await;
    let line = said.lines().find(|line| line.starts_with("Dashboard: ")).expect("the address");
    let api = line.trim_start_matches("Dashboard: ").trim_end_matches('/').to_owned();
    let second = home.run(&["dev"]);
    assert!(second.code == 1 && second.stderr.contains("another `homing dev` runs"), "{second:?}");

    let mut publish = home.command(&["publish", "--api", &api, "events.jsonl"]);
    home.write("events.jsonl", b"{\"topic\":\"order.paid\",\"data\":{\"total\":12.5}}\n");
    assert!(publish.env_remove("HOMING__BROKER__URL").status().expect("it runs").success());
    // The demo event may come again: it is published until the workers know of the subscription.
    let published = std::iter::repeat_with(|| dev.json()).find(|it| it["topic"] != "demo.hello");
    assert_eq!(published.expect("it comes")["body"], "{\"total\":12.5}");
    let (code, errors) = dev.end("-INT");
    assert_eq!(code, Some(0), "{errors}");
    let left: Vec<_> = std::fs::read_dir(&temporary).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
    let broker = home.broker();
    let queue = format!("{}.homing-dev.v1.primary", home.corner.prefix);
    assert!(broker.depth(&queue).await.expect("the broker answers").is_none());
    broker.close().await;
}

#[tokio::test]
async fn dev_keeps_a_folder_for_the_next_time() {
    let home = Home::new();
    let folder = home.folder.path().canonicalize().expect("it is there").join("kept");
    let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    let name = format!("{:08x}", u32::from_be_bytes(*digest.first_chunk().expect("it is long")));
    let prefix = format!("{}.homing-dev-{name}", home.corner.prefix);
    let topology = Topology::new(&prefix, [Duration::from_millis(50)]).with_held_queues(4);
    // Its queues are kept, too, and deleted by this.
    let corner = Corner { url: home.corner.url.clone(), prefix, topology };
    for run in 0..2 {
        let mut dev = Running::start(home.command(&["dev", "--folder", "kept", "--status", "503"]));
        assert!(dev.line().contains("demo.hello attempt 1, signature valid, answered 503"));
        let (code, errors) = dev.end("-TERM");
        assert_eq!(code, Some(0), "{errors}");
        assert!(home.folder.path().join("kept/homing.db").exists(), "{run}");
    }
    let store = format!("sqlite:{}", home.folder.path().join("kept/homing.db").display());
    eventually(async || {
        let listed = home.run(&["attempts", "--store", &store, "--json"]).json();
        let made = listed["attempts"].as_array().map_or(0, Vec::len);
        holds(made >= 2, listed)
    })
    .await;
    let primary = corner.topology.names().primary();
    let broker = home.broker();
    assert!(broker.depth(&primary).await.expect("the broker answers").is_some());
    broker.close().await;
}
