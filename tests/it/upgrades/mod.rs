//! Everything that an earlier version left is taken over: nothing is lost, nothing comes early.

mod first_version;

use std::{collections::BTreeMap, time::Duration};

use homing_broker::{
    Broker,
    topology::{State, THROTTLE_WAITS},
};
use homing_delivery::parking::{Bodies, Selection};
use homing_domain::{circuit::StateName, clock, time::UnixMillis};
use homing_store::{RecordFilter, RecordPage};
use lapin::{
    options::{BasicCancelOptions, BasicConsumeOptions, QueueDeleteOptions},
    types::FieldTable,
};
use serde_json::Value;

use crate::support::{
    broker::{self, Corner, Raw},
    database::Database,
    eventually, holds,
    installation::Installation,
    receiver::{Receiver, Recorded},
};
use first_version::{Left, ON_POSTGRES, ON_SQLITE, SETTINGS, WAITS};

/// Deliveries of it that are due in seconds: the endpoint, and the ids of the events.
const SENT: [(&str, &[&str]); 11] = [
    ("/fail", &["netted", "paid-1", "paid-2", "plain", "typed"]),
    ("/filter", &["cloud", "netted", "plain", "typed"]),
    ("/never", &["never-1", "never-2"]),
    ("/odd-braces/%7Btenant%7D", &["odd-1"]),
    ("/odd-filter", &["odd-1"]),
    ("/odd-fragment", &["odd-1"]),
    ("/odd-headers", &["odd-1"]),
    ("/odd-topics", &["odd-2"]),
    ("/ok", &["cloud", "netted", "plain", "typed"]),
    ("/rotated", &["rotated-1"]),
    ("/wf", &["task-1"]),
];
/// Parked messages of it, and why; `own` means homing's own events, which the primary queue held.
const PARKED: [(&str, &str); 9] = [
    ("for-one", "unreadable"),
    ("gone-2", "frozen"),
    ("large", "too_large"),
    ("misaddressed", "unreadable"),
    ("off-1", "frozen"),
    ("own", "unreadable"),
    ("own", "unreadable"),
    ("rejected", "too_large"),
    ("topicless", "unreadable"),
];
/// Messages in the queue of its longest wait.
const WAITING: u32 = 9;
/// The wait queue in which something lay, what that was, and how long it stays there at least.
const NOT_EARLY: [(&str, u64); 3] =
    [("never-2", 2_000), ("paid-1", 3_000), ("limited-late-2", 4_000)];

/// The id of its event, which every body holds.
fn id(request: &Recorded) -> String {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    body.get("id").and_then(Value::as_str).unwrap_or("task-1").to_owned()
}

/// Arrivals at each endpoint, sorted; what is limited left out.
fn sent(receiver: &Receiver) -> BTreeMap<String, Vec<String>> {
    let mut sent: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for request in receiver.requests().iter().filter(|request| request.path != "/limited") {
        sent.entry(request.path.clone()).or_default().push(id(request));
    }
    for ids in sent.values_mut() {
        ids.sort_unstable();
    }
    sent
}

async fn parked(installation: &Installation) -> Vec<(String, &'static str)> {
    let listing =
        installation.parts.parking.list(&Selection::default(), 100, Bodies::Omitted).await;
    let mut parked: Vec<_> = (listing.expect("it can be listed").entries.into_iter())
        .map(|entry| {
            let is_own = entry.last_outcome.as_deref().is_some_and(|why| why.contains("reserved"));
            (if is_own { "own".to_owned() } else { entry.event_id }, entry.reason.as_str())
        })
        .collect();
    parked.sort_unstable();
    parked
}

async fn state(installation: &Installation, queue: &str) -> Option<State> {
    let broker = &installation.parts.broker;
    let mut findings = broker.inspect(&[]).await.expect("it can be inspected");
    findings.extend(broker.inspect_superseded().await.expect("it can be inspected"));
    findings.into_iter().find(|finding| finding.name == queue).map(|finding| finding.state)
}

/// All that is limited was delivered or is in a throttle queue; nothing else is there but what waits for
/// the subscription that cannot be read.
async fn wait_for_the_limited(installation: &Installation, receiver: &Receiver, limited: usize) {
    eventually(async || {
        let mut waiting = 0;
        for wait in THROTTLE_WAITS {
            waiting += installation.publisher.depth(&installation.names().wait(wait)).await;
        }
        let there = receiver.count_at("/limited") + usize::try_from(waiting).expect("few");
        holds(there == limited + 1, format!("{there} of {limited} and one more"))
    })
    .await;
}

/// The attempts that were logged; asked before they are too old to be kept.
async fn assert_the_log_is_kept(installation: &Installation) {
    let store = &installation.parts.store;
    let filter = RecordFilter { event: Some("paid-0".to_owned()), ..RecordFilter::default() };
    let page = RecordPage { filter, after: None, limit: 10 };
    let records = store.attempts(&page).await.expect("records").records;
    assert_eq!(records.len(), 5, "one that failed three times, and two: {records:?}");
    let gaps = store.attempt_gaps(UnixMillis::new(0), clock::now()).await.expect("gaps");
    assert_eq!(gaps.iter().map(|gap| gap.missed).collect::<Vec<_>>(), [3]);
}

/// The rest of the store.
async fn assert_the_store_is_kept(installation: &Installation, receiver: &Receiver) {
    let (parts, store) = (&installation.parts, &installation.parts.store);
    assert_eq!(store.count_subscriptions().await.expect("a number"), 17);
    let overview = parts.status_service.overview().await;
    let unreadable = overview.unreadable_subscriptions.iter().map(|one| one.field.as_str());
    assert_eq!(unreadable.collect::<Vec<_>>(), ["url"], "it was added, and is too long");
    let [ok, ..] = &receiver.requests_at("/ok")[..] else { panic!("nothing came") };
    assert_eq!(ok.header("authorization"), Some("Bearer bearer-of-ok"), "it was decrypted");
    assert_eq!(ok.header("x-team"), Some("payroll"));

    for (path, expected) in
        [("/down", StateName::Open), ("/gone", StateName::Frozen), ("/off", StateName::Frozen)]
    {
        let url = receiver.url(path).parse().expect("a URL");
        let circuit = parts.circuits.get(&url).await.expect("a circuit");
        assert_eq!(circuit.state.name(), expected, "{path}");
    }
    let tokens = store.tokens().await.expect("tokens");
    assert_eq!(tokens.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), ["reader"]);
    let source = parts.source_admin.get("main").await.expect("a source");
    assert_eq!((source.state, source.slots.len()), ("paused", 1));
    let longest = installation.names().wait(Duration::from_millis(WAITS[2]));
    assert!(store.known_queues().await.expect("queues").contains(&longest));
}

/// A worker of the first version that runs beside parks something; later its queues are deleted.
async fn assert_queues_have_successors(installation: &Installation) {
    let names = installation.names().clone();
    let raw = Raw::new(&names.former_parked(), "late", "late").kind("t");
    let raw = raw.header("x-homing-parked-reason", "exhausted");
    installation.publisher.publish_to(&names.route(), raw).await;
    let parked_now = u32::try_from(PARKED.len()).expect("few") + 1;
    installation.wait_for_parked(parked_now).await;
    assert!(matches!(state(installation, &names.primary()).await, Some(State::Former(_))));
    for (queue, is_needed) in [(names.former_parked(), true), (names.former_unrouted(), false)] {
        let found = state(installation, &queue).await;
        let is_so = matches!(found, Some(State::Superseded { needed, .. }) if needed == is_needed);
        assert!(is_so, "{queue}: {found:?}");
        installation.wait_for_depth(&queue, 0).await;
        let channel = installation.publisher.channel();
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.expect("an operator deletes it");
    }
    installation.parts.broker.restore_topology().await.expect("it can be declared");
    let parked = state(installation, &names.former_parked()).await;
    assert!(matches!(parked, Some(State::Present(_))), "{parked:?}");
    assert_eq!(state(installation, &names.former_unrouted()).await, None);
}

/// Goal: of everything that the first version left at the broker and in its store, nothing is lost and
/// nothing comes early. Method: what it truly wrote, in a corner and a store of its own; then the
/// account of every event.
async fn is_taken_over(corner: Corner, receiver: &Receiver, left: &Left, store: &str) {
    let settings = format!(
        "{store}{SETTINGS}\
         source.livestream.main.url = \"http://127.0.0.1:9/api/1/stream/simulated\"\n\
         source.livestream.main.client_id = \"id\"\n\
         source.livestream.main.client_secret = \"secret\"\n"
    );
    let began = left.publish(&corner).await;
    let installation = Installation::at(corner, &WAITS, &settings).await;
    assert_the_log_is_kept(&installation).await;
    let running = installation.start();

    let expected: BTreeMap<_, Vec<_>> = SENT
        .iter()
        .map(|(path, ids)| ((*path).to_owned(), ids.iter().map(ToString::to_string).collect()))
        .collect();
    eventually(async || {
        let sent = sent(receiver);
        holds(sent == expected, format!("sent is {sent:#?}, not {expected:#?}"))
    })
    .await;
    let limited = left.messages.matches(r#""body": "{\"id\": \"limited-"#).count();
    assert!(limited > 3, "{limited}");
    wait_for_the_limited(&installation, receiver, limited).await;
    for request in receiver.requests() {
        let waits = NOT_EARLY.iter().find(|(event, _)| *event == id(&request));
        // At the one endpoint where it had failed.
        if let Some((event, wait)) = waits {
            let waited = request.at.duration_since(began);
            assert!(waited >= Duration::from_millis(*wait), "{event} after {waited:?}");
        }
    }
    let names = installation.names().clone();
    for queue in [names.primary(), names.retry(), names.unrouted(), names.former_unrouted()] {
        installation.wait_for_depth(&queue, 0).await;
    }
    let longest = names.wait(Duration::from_millis(WAITS[2]));
    installation.wait_for_depth(&longest, WAITING).await;
    // One waits for a frozen URL, in either queue; the other one's schedule of two seconds ends.
    eventually(async || {
        let mut held = 0;
        for slot in 0..installation.corner.topology.held_queues() {
            held += installation.publisher.depth(&names.held(slot)).await;
        }
        holds(held == 1, format!("{held} are held, not 1"))
    })
    .await;
    let expected: Vec<_> = PARKED.iter().map(|(id, why)| ((*id).to_owned(), *why)).collect();
    installation.wait_for_parked(u32::try_from(PARKED.len()).expect("few")).await;
    assert_eq!(parked(&installation).await, expected);

    assert_the_store_is_kept(&installation, receiver).await;
    assert_queues_have_successors(&installation).await;
    running.stop().await;
}

#[tokio::test]
async fn what_the_first_version_left_on_sqlite_is_taken_over() {
    let (corner, receiver) = (first_version::corner(), Receiver::accepting().await);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = ON_SQLITE.restore_file(folder.path(), &corner, &receiver.url("")).await;
    Box::pin(is_taken_over(corner, &receiver, &ON_SQLITE, &store)).await;
}

#[tokio::test]
async fn what_the_first_version_left_on_postgresql_is_taken_over() {
    let (corner, receiver) = (first_version::corner(), Receiver::accepting().await);
    let database = Database::new().await;
    let store = ON_POSTGRES.restore_database(&database, &corner, &receiver.url("")).await;
    Box::pin(is_taken_over(corner, &receiver, &ON_POSTGRES, &store)).await;
}

/// Goal: no two processes read one slot while both versions run.
#[tokio::test]
async fn a_lock_keeps_processes_of_the_first_version_out_and_is_kept_out_by_them() {
    const SETTINGS: &str = "broker.heartbeat = \"2s\"\n";
    let corner = first_version::corner();
    let connection = broker::connect(&corner.url).await.expect("a broker");
    let declaring = connection.create_channel().await.expect("a channel");
    first_version::declare(&declaring, &corner).await;
    let installation = Installation::at(corner, &WAITS, SETTINGS).await;
    let topology = installation.corner.topology.clone().with_slots([("main", 1)]);
    let (lock, names) = (topology.names().lock("main", 1), topology.names().clone());
    let broker = Broker::new(&installation.settings.broker, topology).expect("a broker");
    let former = names.former_lock("main", 1);
    let channel = installation.publisher.channel();
    let consume = async || {
        channel
            .basic_consume(
                former.as_str().into(),
                "old".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("it consumes")
    };

    let old = consume().await;
    assert!(broker.try_lock("main", 1).await.expect("it is known").is_none());
    let cancelled = channel.basic_cancel("old".into(), BasicCancelOptions::default());
    cancelled.await.expect("it ends");
    drop(old);
    let held = broker.try_lock("main", 1).await.expect("it is known").expect("it is free");
    assert_eq!(installation.publisher.consumers(&former).await, 1, "this keeps others out");
    held.release().await;
    broker.close().await;
    let deleted = channel.queue_delete(lock.into(), QueueDeleteOptions::default());
    deleted.await.expect("it can be deleted");
}
