//! Replays and drops are on record, also those that do not come to their end.

use homing_delivery::parking::{Action, Selection};
use homing_domain::audit::{self, Actor, AuditRecord, ChangeResult, ObjectKind, Via};
use homing_store::{AuditFilter, AuditPage};
use serde_json::{Value, json};

use super::Server;
use crate::secrets::get;
use crate::support::{
    broker::Raw,
    eventually, holds,
    installation::Installation,
    process::Site,
    receiver::{Receiver, Reply},
};

const PARKED: u32 = 100;

/// An installation with so many parked deliveries.
async fn with_parked(count: u32) -> Installation {
    let installation = Installation::new(&[1_000]).await;
    for number in 0..count {
        let raw = Raw::new("t", &format!("e{number}"), "{}").kind("t");
        let raw = raw.header("x-homing-parked-reason", "gone");
        let raw = Raw { topic: installation.names().parked(), ..raw };
        installation.publisher.publish_to(&installation.names().route(), raw).await;
    }
    installation.wait_for_parked(count).await;
    installation
}

/// The newest record about what is parked.
async fn newest(installation: &Installation) -> Result<AuditRecord, String> {
    let filter = AuditFilter { kind: Some(ObjectKind::Parked), ..AuditFilter::default() };
    let page = AuditPage { filter, after: None, limit: 1 };
    let listing = installation.parts.store.audit(&page).await.map_err(|error| error.report())?;
    listing.records.into_iter().next().ok_or_else(|| "there is no record".to_owned())
}

/// Goal: a replay that is under way is on record, and one that is given up ends with how many it
/// sent. Method: one at a pace, dropped as that of a client that disconnects is.
#[tokio::test]
async fn a_replay_that_is_given_up_ends_on_record_with_how_many_it_sent() {
    let installation = with_parked(PARKED).await;
    let actor = Actor { via: Via::Cli, name: "anna@here".to_owned(), ..Actor::default() };
    let services = installation.parts.by(&actor);
    let (parking, all) = (services.parking.paced(20), Selection::default());
    let is_under_way = async || {
        let begun = newest(&installation).await?.change.result == ChangeResult::Begun;
        let totals = services.store.parked_totals().await.map_err(|error| error.report())?;
        let is_begun = begun && totals.deliveries < u64::from(PARKED - 3);
        holds(is_begun, format!("begun: {begun}; {totals:?}"))
    };
    tokio::select! {
        acted = parking.act(Action::Replay, &all, None, |_| ()) => panic!("{acted:?}, at a pace"),
        () = eventually(is_under_way) => {}
    }

    let record = eventually(async || {
        let record = newest(&installation).await?;
        holds(record.change.result != ChangeResult::Begun, "it is begun".to_owned())?;
        Ok::<_, String>(record)
    });
    let record = record.await;
    assert_eq!(
        (&record.actor.name, &record.change.object),
        (&actor.name, &"everything".to_owned())
    );
    assert_eq!(record.change.result, ChangeResult::Stopped);
    let sent = record.change.difference.get("matched").and_then(serde_json::Value::as_u64);
    let sent = u32::try_from(sent.expect("how many")).expect("few");
    assert!((4..PARKED).contains(&sent), "{sent}");
    installation.wait_for_parked(PARKED - sent).await;
    installation.wait_for_depth(&installation.names().retry(), sent).await;
}

#[tokio::test]
async fn an_action_that_fails_is_on_record_as_failed() {
    let installation = with_parked(3).await;
    installation.shell("ALTER TABLE parked_messages RENAME TO elsewhere").await;
    let gone: Selection = serde_json::from_value(json!({"reason": "gone"})).expect("a selection");
    for (action, recorded) in
        [(Action::Replay, audit::Action::Replayed), (Action::Drop, audit::Action::Dropped)]
    {
        let acted = installation.parts.parking.act(action, &gone, None, |_| ()).await;
        assert!(acted.is_err(), "{acted:?}");
        let record = newest(&installation).await.expect("a record").change;
        assert_eq!((record.action, record.result), (recorded, ChangeResult::Failed));
        assert_eq!(record.object, "reason=gone");
        assert_eq!(record.difference.get("matched"), Some(&json!(0)));
    }
}

/// Waits until so many deliveries are parked, after as many requests.
async fn wait_for_parked(site: &Site, count: usize, (endpoint, requests): (&Receiver, usize)) {
    endpoint.wait_for(requests).await;
    eventually(async || {
        let parked = site.parked().len();
        holds(parked == count, format!("{parked} are parked, not {count}"))
    })
    .await;
}

/// The id of the error with this text, as soon as so many attempts have failed with it.
async fn id_of_error(site: &Site, text: &str, attempts: u64) -> String {
    eventually(async || {
        let listed = site.run(&["errors", "--json"]);
        let listed: Value = serde_json::from_str(&listed).expect("an answer in JSON");
        let mut errors = listed.get("errors").and_then(Value::as_array).into_iter().flatten();
        let is_it = |error: &&Value| error.get("text").is_some_and(|found| found == text);
        let error = errors.find(is_it).ok_or("no error is known")?;
        let have_failed = error.get("count").is_some_and(|count| count == attempts);
        let id = error.get("id").and_then(Value::as_str).filter(|_| have_failed);
        id.map(str::to_owned).ok_or("another number of attempts failed")
    })
    .await
}

/// Goal: what operators replay and drop is on record with selection, number, actor and result, by
/// command as over HTTP, and announced; what changes nothing is not. Method: an endpoint that always
/// fails in the same way, so that what is replayed is parked again, for the same error.
#[tokio::test(flavor = "multi_thread")]
async fn what_operators_replay_and_drop_is_on_record_and_announced() {
    let server = Server::start().await;
    let site = &server.site;
    let failing = Receiver::answering(|request| {
        Reply::status(500).saying(if request.body == "full" { "disk full" } else { "busy" })
    });
    let failing = failing.await;
    let auditor = Receiver::accepting().await;
    site.subscribe(&failing.url("/"), "order.#", &[]);
    site.subscribe(&auditor.url("/"), "homing.audit.parked.*", &[]);
    let _worker = site.start();
    site.wait_for_consumers(1).await;
    let publisher = site.publisher().await;
    for (id, body) in [("e0", "{}"), ("e1", "{}"), ("e2", "{}"), ("other", "full")] {
        publisher.publish(Raw::new("order.paid", id, body)).await;
    }
    wait_for_parked(site, 4, (&failing, 8)).await;
    let error = id_of_error(site, "busy", 6).await;
    let by_error = format!("error={error}");
    let ask = async |path: &str, body: Value| {
        let request = server.client.post(format!("{}{path}", server.base));
        let request = request.bearer_auth(&server.token).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    };
    let mut expected = Vec::new();
    let mut on_record = async |via: &str, action: &str, object: &str, difference: Value| {
        let record = server.newest().await;
        let found = ["via", "kind", "action", "object", "result"].map(|name| &record[name]);
        assert_eq!(found, [via, "parked", action, object, "done"].map(Value::from).each_ref());
        assert_eq!(record["difference"], difference);
        let actor = record["actor"].as_str().expect("an actor");
        assert_eq!(actor == "ci", via == "api", "{record}");
        assert_eq!(actor.contains('@'), via == "cli", "{record}");
        expected.push(record);
    };

    site.run(&["parked", "replay", "--error", &error, "--limit", "2"]);
    on_record("cli", "replayed", &by_error, json!({"limit": 2, "matched": 2})).await;
    wait_for_parked(site, 4, (&failing, 12)).await;
    ask("/v1/parked/replay", json!({"error": error, "event": "e1"})).await;
    let both = format!("event=e1, {by_error}");
    on_record("api", "replayed", &both, json!({"matched": 1})).await;
    wait_for_parked(site, 4, (&failing, 14)).await;
    let listed = async |error: &str| {
        let listed = get(&server.base, &format!("/v1/parked?error={error}"), &server.token).await;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        listed["entries"].as_array().map(Vec::len)
    };
    assert_eq!((listed(&error).await, listed(&"0".repeat(32)).await), (Some(3), Some(0)));
    site.run(&["parked", "drop", "--event", "e0", "--yes"]);
    on_record("cli", "dropped", "event=e0", json!({"matched": 1})).await;
    ask("/v1/parked/drop", json!({"error": error})).await;
    on_record("api", "dropped", &by_error, json!({"matched": 2})).await;
    site.run(&["parked", "drop", "--event", "e0", "--yes"]);
    assert_eq!(Some(&server.newest().await), expected.last(), "nothing was dropped");
    let left = site.parked();
    assert_eq!(left.len(), 1, "{left:?}");

    // What was begun may be announced before its end.
    eventually(async || {
        let announced = auditor.bodies();
        let announced = announced.iter().map(|body| serde_json::from_slice(body).expect("JSON"));
        let announced: Vec<Value> =
            announced.filter(|one: &Value| one["result"] == "done").collect();
        let missing: Vec<_> = expected.iter().filter(|one| !announced.contains(one)).collect();
        holds(missing.is_empty(), format!("{missing:?} of {announced:?}"))
    })
    .await;
}
