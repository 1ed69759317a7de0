//! `homing parked`

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use homing::config::Settings;
use homing_broker::{Broker, Message, Route};
use homing_delivery::parking::Parking;
use homing_domain::{
    clock,
    delivery::Progress,
    event::Event,
    id::{EventId, SubscriptionId},
    topic::Topic,
    verdict::ParkReason,
};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use super::{Answer, Home, SCHEDULE};
use crate::support::{eventually, holds, installation};

impl Home {
    /// Moves what is in the parking queue into the store, as a worker does.
    pub(super) async fn keep_parked(&self, broker: &Broker) {
        let mut settings = Settings::from_toml(SCHEDULE).expect("the schedule is sound");
        settings.store.url = format!("sqlite:{}", self.folder.path().join("homing.db").display());
        let store = homing_store::open(&settings.store).await.expect("the store opens");
        let bounds = settings.parking.bounds();
        let parking = Parking::new(broker.clone(), Arc::clone(&store), bounds);
        installation::keep_parked(&parking, broker).await;
        store.close().await;
    }

    /// Parks events, and moves them into the store as a worker does.
    pub(super) async fn park(
        &self,
        parked: &[(&str, &'static str, Option<SubscriptionId>, ParkReason)],
    ) {
        let broker = self.park_in_queue(parked).await;
        self.keep_parked(&broker).await;
        broker.close().await;
    }

    async fn park_in_queue(
        &self,
        parked: &[(&str, &'static str, Option<SubscriptionId>, ParkReason)],
    ) -> Broker {
        let broker = self.broker();
        for (id, body, subscription, reason) in parked {
            let message = Message::of_event(Event {
                id: EventId::new(id).expect("it is short"),
                topic: Topic::new("order.paid").expect("it is one"),
                content_type: "application/json".to_owned(),
                content_encoding: None,
                body: Bytes::from_static(body.as_bytes()),
            });
            let message = match subscription {
                Some(subscription) => message.for_subscription(*subscription, Progress::default()),
                None => message,
            };
            let outgoing = message.parked(*reason, clock::now()).outgoing();
            broker.publish(&outgoing, Route::Parked).await.expect("the broker takes it");
        }
        broker
    }

    async fn shell(&self, sql: &'static str) {
        let file = self.folder.path().join("homing.db");
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = options.connect().await.expect("the database can be opened");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement is sound");
        connection.close().await.expect("it can be closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_messages_are_listed_shown_exported_replayed_and_dropped() {
    let home = Home::new();
    let subscription: SubscriptionId = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
    home.park(&[
        ("e1", "{\"n\": 1}", Some(subscription), ParkReason::Exhausted),
        ("e2", "{\n}", Some(subscription), ParkReason::Gone),
        ("e3", "{\"n\": 3}", None, ParkReason::TooLarge),
    ])
    .await;

    let listed = home.run(&["parked", "list", "--reason", "gone"]);
    assert!(listed.stderr.contains("1 shown, of 3 parked"), "{}", listed.stderr);
    assert!(listed.done().contains("e2"));
    assert_eq!(
        home.run(&["parked", "list", "--parked-before", "1h", "--json"]).json()["entries"],
        Value::Array(Vec::new())
    );
    let shown = home.run(&["parked", "get", "e1"]).done();
    assert!(
        shown.contains("reason         exhausted") && shown.ends_with("{\"n\": 1}\n"),
        "{shown}"
    );
    assert_eq!(home.run(&["parked", "get", "e9"]).code, 1);

    let dry = home.run(&["parked", "replay", "--all", "--dry-run"]).done();
    assert_eq!(dry, "would replay 3 of 3 parked\n");
    let dry = home.run(&["parked", "drop", "--all", "--limit", "2", "--dry-run"]).done();
    assert_eq!(dry, "would drop 2 of 3 parked\n");
    assert_eq!(home.run(&["parked", "replay", "--all", "--limit", "0"]).code, 2);
    assert_eq!(home.run(&["parked", "replay"]).code, 2);
    let refused = home.run(&["parked", "drop", "--reason", "gone"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("say --yes"), "{}", refused.stderr);
    assert_eq!(home.run(&["parked", "list", "--json"]).json()["total"], 3);

    let exported = home.run(&["parked", "export", "parked.jsonl"]).done();
    assert_eq!(exported, "exported 3 of 3 parked to parked.jsonl\n");
    assert_eq!(home.run(&["parked", "export", "parked.jsonl"]).code, 1);
    let first = home.run(&["parked", "export", "--limit", "1"]).done();
    let all = std::fs::read_to_string(home.folder.path().join("parked.jsonl")).unwrap();
    assert_eq!((first.lines().count(), all.lines().count()), (1, 3));
    assert!(all.starts_with(&first), "{first}{all}");

    let replay = ["parked", "replay", "--subscription", &subscription.to_string(), "--limit", "1"];
    let replayed = home.run(&replay).done();
    assert_eq!(replayed, "replayed 1 of 3 parked\n");
    assert_eq!(home.depth("retry").await, 1);
    let dropped = home.run(&["parked", "drop", "--all", "--yes", "--json"]).json();
    assert_eq!(dropped["matched"], 2);
    assert_eq!(home.depth("parked").await, 0);

    let published = home.run(&["publish", "parked.jsonl"]).done();
    assert_eq!(published, "published 3\n");
    assert_eq!(home.depth("primary").await, 3);
}

/// Goal: what is not in the store yet is in no list, every command says so, and none moves it, least
/// of all into another store. Method: no worker runs, and then a keeper does.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_store_yet_is_said() {
    let home = Home::new();
    let parked = [("e1", "{}", None, ParkReason::Exhausted), ("e2", "{}", None, ParkReason::Gone)];
    let other = home.park_in_queue(&parked).await;
    let elsewhere = format!("sqlite:{}", home.folder.path().join("other.db").display());
    home.run(&["attempts"]).done();
    home.run(&["attempts", "--store", &elsewhere]).done();
    for arguments in [
        &["parked", "replay", "--all"][..],
        &["parked", "list"],
        &["parked", "list", "--store", &elsewhere],
        &["parked", "export", "--store", &elsewhere],
    ] {
        let answer = home.run(arguments);
        let notice = "2 more are on their way into the store";
        assert!(answer.stderr.contains(notice), "{}", answer.stderr);
    }
    assert_eq!(home.depth("parked").await, 2);

    let waiting = home.command(&["parked", "replay", "--all"]).spawn().unwrap();
    home.keep_parked(&other).await;
    let replayed = Answer::from(waiting.wait_with_output().unwrap());
    assert_eq!(replayed.done(), "replayed 2 of 2 parked\n");
    other.close().await;
}

/// Goal: a command never acts on a store by mistake and says that all is well. Method: one that is
/// not there, and one that is not that of the worker.
#[tokio::test(flavor = "multi_thread")]
async fn another_store_than_that_of_the_workers_is_said() {
    let home = Home::new();
    let file = home.folder.path().join("other.db");
    let elsewhere = format!("sqlite:{}", file.display());
    let replay = ["parked", "replay", "--all", "--store", &elsewhere];
    let answer = home.run(&replay);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("there is no store at"), "{}", answer.stderr);
    assert!(!file.exists());

    home.run(&["topology", "apply", "--store", &elsewhere]).done();
    assert_eq!(home.run(&replay).code, 0, "no worker runs");
    let mut worker = home.command(&["run"]).stderr(Stdio::null()).spawn().unwrap();
    eventually(async || {
        let answer = home.run(&replay);
        let is_said = answer.stderr.contains("none of them reports to this store");
        holds((answer.code, is_said) == (1, true), format!("{answer:?}"))
    })
    .await;
    assert_eq!(home.run(&["parked", "replay", "--all"]).code, 0);
    worker.kill().unwrap();
    worker.wait().unwrap();
}

/// Goal: what is in the store is found without the broker, which only a replay needs.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_store_is_found_without_the_broker() {
    let home = Home::new();
    let parked = [("e1", "{}", None, ParkReason::Exhausted), ("e2", "{}", None, ParkReason::Gone)];
    home.park(&parked).await;
    let away = ["--broker", "amqp://127.0.0.1:1"];
    for arguments in [
        &["parked", "list"][..],
        &["parked", "get", "e1"],
        &["parked", "export", "--event", "e1"],
        &["parked", "replay", "--event", "e1", "--dry-run"],
        &["parked", "drop", "--event", "e2", "--yes"],
    ] {
        let answer = home.run(&[arguments, &away].concat());
        assert!(answer.stdout.contains("e1") || answer.stdout.contains("1 of 2"), "{answer:?}");
        assert_eq!(answer.code, 0, "{answer:?}");
        if arguments.contains(&"get") {
            continue;
        }
        let notice =
            "it is not known if more are on their way into the store: the broker cannot be";
        assert!(answer.stderr.contains(notice), "{answer:?}");
    }
    let replay = home.run(&[&["parked", "replay", "--all"][..], &away].concat());
    assert_eq!(replay.code, 1);
    assert!(replay.stderr.contains("cannot connect to the broker"), "{}", replay.stderr);
    assert_eq!(home.parked(), 1);
}

/// Goal: what cannot be decrypted is named, and hides no other. Method: a payload that was changed.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_names_what_it_cannot_read() {
    let home = Home::new();
    home.park(&[
        ("e1", "{\"n\":1}", None, ParkReason::Gone),
        ("e2", "{\"n\":2}", None, ParkReason::Gone),
        ("e3", "{\"n\":3}", None, ParkReason::Gone),
    ])
    .await;
    let damage = "UPDATE parked_messages SET payload = substr(payload, 1, length(payload) - 1) \
                  WHERE id = (SELECT id FROM parked WHERE event = 'e2')";
    home.shell(damage).await;
    let exported = home.run(&["parked", "export"]);
    assert_eq!(exported.code, 1);
    let lines: Vec<Value> =
        exported.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bodies: Vec<_> = lines.iter().map(|line| (&line["id"], &line["data"]["n"])).collect();
    assert_eq!(bodies, [(&json!("e1"), &json!(1)), (&json!("e3"), &json!(3))]);
    let listed = home.run(&["parked", "list", "--event", "e2", "--json"]).json();
    let id = listed["entries"][0]["id"].as_str().unwrap();
    assert!(exported.stderr.contains(id), "{}", exported.stderr);
    for arguments in [&["parked", "get", "e2", "--raw"][..], &["parked", "get", "e2"]] {
        let shown = home.run(arguments);
        assert_eq!(shown.code, 1, "{}", shown.stdout);
        assert!(shown.stderr.contains(id), "{}", shown.stderr);
    }
    assert_eq!(home.run(&["parked", "get", "e1", "--raw"]).done(), "{\"n\":1}");
}

/// Goal: two that replay at once send everything once.
#[tokio::test(flavor = "multi_thread")]
async fn two_replays_at_once_send_everything_once() {
    const PARKED: u32 = 600;
    let home = Home::new();
    let ids: Vec<_> = (0..PARKED).map(|number| format!("e{number}")).collect();
    let parked = ids.iter().map(|id| (id.as_str(), "{}", None, ParkReason::Gone));
    home.park(&parked.collect::<Vec<_>>()).await;
    let replays = [(); 2].map(|()| home.command(&["parked", "replay", "--all"]).spawn().unwrap());
    for replay in replays {
        Answer::from(replay.wait_with_output().unwrap()).done();
    }
    home.wait_for_depth("retry", PARKED).await;
    assert_eq!(home.run(&["parked", "list", "--json"]).json()["total"], 0);
}

fn interrupt(child: &Child) {
    let reported = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(reported.is_ok_and(|status| status.success()));
}

/// Goal: Ctrl-C says how far it was, and what it says is so. Method: as many messages as take a while.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_interrupted_says_how_far_it_came() {
    const PARKED: u32 = 1_500;
    let home = Home::new();
    let ids: Vec<_> = (0..PARKED).map(|number| format!("e{number}")).collect();
    let parked = ids.iter().map(|id| (id.as_str(), "{}", None, ParkReason::Gone));
    home.park(&parked.collect::<Vec<_>>()).await;
    eventually(async || holds(home.parked() == u64::from(PARKED), "not all are in the store"))
        .await;
    let child = home.command(&["parked", "replay", "--all", "--yes"]).spawn().unwrap();
    while home.depth("retry").await == 0 {}
    interrupt(&child);
    let answer = Answer::from(child.wait_with_output().unwrap());
    let reported = answer.stdout.strip_prefix("interrupted: replayed ");
    let reported = reported.unwrap_or_else(|| panic!("{}{}", answer.stdout, answer.stderr));
    let done: u32 = reported.split(' ').next().unwrap().parse().unwrap();
    let rest = format!("{done} of {PARKED} parked; the others are still parked\n");
    assert_eq!((answer.code, reported), (1, rest.as_str()));
    assert!(done > 0, "{reported}");
    home.wait_for_depth("retry", done).await;
    assert_eq!(home.run(&["parked", "list", "--json"]).json()["total"], PARKED - done);
}

/// Goal: who replays to an endpoint to which nothing is sent learns of it first.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_a_frozen_endpoint_is_said_before_it_is_replayed() {
    const HOOK: &str = "https://example.com/frozen";
    let home = Home::new();
    let subscribe = |url: &str| {
        let add = ["subscriptions", "create", "--url", url, "--topic", "#", "--json"];
        let id = home.run(&add).json()["id"].clone();
        Some(id.as_str().unwrap().parse().unwrap())
    };
    let (frozen, well) = (subscribe(HOOK), subscribe("https://example.com/well"));
    home.run(&["endpoints", "disable", HOOK]).done();
    home.park(&[
        ("e1", "{}", frozen, ParkReason::Exhausted),
        ("e2", "{}", frozen, ParkReason::Exhausted),
        ("e3", "{}", well, ParkReason::Exhausted),
    ])
    .await;
    let notice = format!(
        "homing: 2 go to {HOOK}, which is frozen: they are held until it is enabled; run `homing endpoints enable \
         {HOOK}` first\n"
    );
    let dry = home.run(&["parked", "replay", "--all", "--dry-run"]);
    assert_eq!(
        (dry.stderr.as_str(), dry.stdout.as_str()),
        (notice.as_str(), "would replay 3 of 3 parked\n")
    );
    let one = home.run(&["parked", "replay", "--event", "e3"]);
    assert_eq!((one.stderr.as_str(), one.stdout.as_str()), ("", "replayed 1 of 3 parked\n"));
    let all = home.run(&["parked", "replay", "--all"]);
    assert_eq!(
        (all.stderr.as_str(), all.stdout.as_str()),
        (notice.as_str(), "replayed 2 of 2 parked\n")
    );
}
