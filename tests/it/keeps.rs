//! The way of parked messages from their queue into the store; lists count what is not there yet.

use std::{collections::BTreeSet, time::Duration};

use homing_broker::parked_intake::Ahead;
use homing_delivery::parking::{Action, Bodies, Selection};
use homing_domain::clock;
use homing_store::{Claim, ParkedOrder, ParkedPage};
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use crate::support::{
    broker::{Corner, Raw},
    eventually, holds,
    installation::{Installation, millis},
    node::Node,
    proxy::Proxy,
};

/// Parks events with these ids and bodies, as a worker does.
async fn park(installation: &Installation, events: &[(&str, &str)]) {
    let parked = installation.names().parked();
    for (id, body) in events {
        let raw = Raw::new(&parked, id, *body).kind("t");
        let raw = raw.header("x-homing-parked-reason", "gone");
        installation.publisher.publish_to(&installation.names().route(), raw).await;
    }
}

/// Goal: a list does not keep silent about what a keeper has taken and not written yet. Method: the
/// store takes nothing for a while.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_keeper_has_taken_is_on_its_way() {
    let installation = Installation::new(&[1_000]).await;
    let (parking, parked) = (&installation.parts.parking, installation.names().parked());
    park(&installation, &[("e1", "{}"), ("e2", "{}"), ("e3", "{}")]).await;
    let locked = installation.lock_store().await;
    let stop = CancellationToken::new();
    let looking = async {
        eventually(async || {
            let depth = installation.parts.broker.depth(&parked).await.unwrap().unwrap();
            holds(depth.messages == 0, "nothing is taken yet")
        })
        .await;
        let listed = parking.list(&Selection::default(), 10, Bodies::Omitted).await.unwrap();
        assert!(listed.entries.is_empty() && listed.arriving.messages > Some(0), "{listed:?}");
        locked.close().await.unwrap();
        installation.wait_for_parked(3).await;
        stop.cancel();
    };
    tokio::join!(parking.keep(stop.clone()), looking);
    let listed = parking.list(&Selection::default(), 10, Bodies::Omitted).await.unwrap();
    assert_eq!((listed.entries.len(), listed.arriving.messages), (3, Some(0)));
}

/// Goal: what the store refuses hides nothing that comes behind it, and every list counts it until
/// the store takes it. Method: a database that refuses two of ten, the first ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_hides_no_other_and_is_counted() {
    let installation = Installation::new(&[1_000]).await;
    let parking = &installation.parts.parking;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON parked WHEN NEW.event LIKE 'bad%' \
                  BEGIN SELECT RAISE(ABORT, 'no'); END";
    installation.shell(refuse).await;
    let events = ["bad1", "bad2", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8"];
    park(&installation, &events.map(|id| (id, "{}"))).await;
    let stop = CancellationToken::new();
    let looking = async {
        let list = async || {
            let listed = parking.list(&Selection::default(), 20, Bodies::Omitted).await.unwrap();
            (listed.entries.len(), listed.arriving.messages, listed.arriving.refused)
        };
        let until = async |expected| {
            eventually(async || {
                let found = list().await;
                holds(found == expected, format!("{found:?} are parked, on their way, refused"))
            })
            .await;
        };
        until((8, Some(2), Some(2))).await;
        park(&installation, &[("e9", "{}")]).await;
        until((9, Some(2), Some(2))).await;
        installation.shell("DROP TRIGGER refuse").await;
        until((11, Some(0), None)).await;
        stop.cancel();
    };
    tokio::join!(parking.keep(stop.clone()), looking);
}

/// Goal: a message at which the connection ends hides nothing that was parked before it; what is
/// behind it is counted. Method: a proxy that ends connections over which the broker sends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_ends_connections_hides_nothing_before_it() {
    let node = Node::start("keeper-cut").await;
    let proxy = Proxy::cutting_at(&node.url, b"poison").await;
    let installation =
        Installation::at(Corner::at(proxy.url(), &millis(&[1_000])), &[1_000], "").await;
    let parking = &installation.parts.parking;
    let events = [("e1", "{}"), ("e2", "{}"), ("e3", "{}"), ("bad", "poison"), ("e4", "{}")];
    park(&installation, &events).await;
    let stop = CancellationToken::new();
    let looking = async {
        eventually(async || {
            let listed = parking.list(&Selection::default(), 20, Bodies::Omitted).await.unwrap();
            let found = (listed.entries.len(), listed.arriving.messages);
            holds(found == (3, Some(2)), format!("{found:?} are parked and on their way"))
        })
        .await;
        stop.cancel();
    };
    tokio::join!(parking.keep(stop.clone()), looking);
}

/// Goal: what is committed and not acked is there once. Method: a proxy that ends the connection over
/// which a keeper acks, twice, before the broker has the ack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_and_not_acked_is_there_once() {
    const EVENTS: usize = 40;
    let node = Node::start("keeper-acks").await;
    let proxy = Proxy::cutting_acks(&node.url, 2).await;
    let installation =
        Installation::at(Corner::at(proxy.url(), &millis(&[1_000])), &[1_000], "").await;
    let parking = &installation.parts.parking;
    let ids: Vec<_> = (0..EVENTS).map(|number| format!("e{number}")).collect();
    let events: Vec<_> = ids.iter().map(|id| (id.as_str(), "{}")).collect();
    park(&installation, &events).await;
    let stop = CancellationToken::new();
    let looking = async {
        eventually(async || {
            let listed = parking.list(&Selection::default(), 100, Bodies::Omitted).await.unwrap();
            let is_over = (listed.arriving.messages, proxy.acks_left()) == (Some(0), 0);
            holds(is_over, format!("{:?}, {} acks", listed.arriving, proxy.acks_left()))
        })
        .await;
        stop.cancel();
    };
    tokio::join!(parking.keep(stop.clone()), looking);
    let listed = parking.list(&Selection::default(), 100, Bodies::Omitted).await.unwrap();
    let different: BTreeSet<_> = listed.entries.iter().map(|one| &one.event_id).collect();
    assert_eq!((listed.entries.len(), different.len()), (EVENTS, EVENTS));
}

/// Goal: large messages behind small ones do not fill the memory. Method: a batch of small ones makes
/// the next one large; then come sixty of two megabytes, of which one batch takes as many as have
/// eight megabytes, and sixteen more at most.
#[tokio::test(flavor = "multi_thread")]
async fn few_large_messages_are_taken_ahead_of_small_ones() {
    const MANY: u32 = 60;
    let installation = Installation::new(&[1_000]).await;
    let broker = &installation.parts.broker;
    let parked = installation.names().parked();
    let small: Vec<_> = (0..48).map(|number| format!("e{number}")).collect();
    let small: Vec<_> = small.iter().map(|id| (id.as_str(), "{}")).collect();
    park(&installation, &small).await;
    let body = "x".repeat(2 << 20);
    let large: Vec<_> = (0..MANY).map(|number| format!("large{number}")).collect();
    let large: Vec<_> = large.iter().map(|id| (id.as_str(), body.as_str())).collect();
    park(&installation, &large).await;
    let mut intake = broker.parked_intake(Ahead::Batch).await.unwrap().expect("no other one runs");
    let mut taken = 0;
    while taken < 48 {
        let batch = intake.take(false).await.unwrap();
        taken += batch.iter().filter(|one| one.payload.len() < 1_000).count();
        intake.ack(&batch).await.unwrap();
    }
    let batch = intake.take(false).await.unwrap();
    let bytes: usize = batch.iter().map(|one| one.payload.len()).sum();
    assert!((1 << 20..10 << 20).contains(&bytes), "{bytes}");
    let ready = broker.depth(&parked).await.unwrap().unwrap().messages;
    assert!(ready >= MANY - 2 * 16, "{ready} of {MANY} were not taken ahead");
}

/// Goal: an action names what it leaves out because another one acts on it.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_acts_on_is_left_out_and_counted() {
    let installation = Installation::new(&[1_000]).await;
    let parking = &installation.parts.parking;
    park(&installation, &["e1", "e2", "e3", "e4", "e5"].map(|id| (id, "{}"))).await;
    installation.wait_for_parked(5).await;
    let claim = Claim { id: clock::new_id(), lasts: Duration::from_secs(60) };
    let page = ParkedPage { order: ParkedOrder::OldestFirst, limit: 2, ..ParkedPage::default() };
    installation.parts.store.claim_parked(&page, claim).await.unwrap();
    let until = installation.parts.store.claimed_parked(&page).await.unwrap().until;
    let all = Selection::default();
    let mut last = None;
    let tally = parking.act(Action::Drop, &all, None, |tally| last = Some(tally)).await.unwrap();
    let claimed = tally.claimed.expect("two are claimed");
    assert_eq!((tally.matched, claimed.deliveries, claimed.until_ms), (3, 2, until));
    assert_eq!(last, Some(tally), "progress has it, too");
    installation.shell("UPDATE parked SET claimed_until_ms = 0").await;
    let tally = parking.act(Action::Drop, &all, None, |_| ()).await.unwrap();
    assert_eq!((tally.matched, tally.claimed), (2, None));
}

/// Goal: a page with bodies is bounded by their size, and the next page goes on. Method: five events
/// of three megabytes.
#[tokio::test(flavor = "multi_thread")]
async fn pages_with_bodies_have_a_bounded_size() {
    let installation = Installation::new(&[1_000]).await;
    let parking = &installation.parts.parking;
    let body = "x".repeat(3 << 20);
    park(&installation, &["e1", "e2", "e3", "e4", "e5"].map(|id| (id, body.as_str()))).await;
    installation.wait_for_parked(5).await;
    let all = Selection::default();
    let first = parking.list(&all, 10, Bodies::Included).await.unwrap();
    assert!((2..5).contains(&first.entries.len()), "{}", first.entries.len());
    let rest = parking.page(&all, first.next.into(), 10, Bodies::Included).await.unwrap();
    assert_eq!((first.entries.len() + rest.entries.len(), rest.next), (5, None));
    assert!(rest.entries.iter().all(|one| one.body.as_deref() == Some(body.as_bytes())));
    let without = parking.list(&all, 10, Bodies::Omitted).await.unwrap();
    assert_eq!((without.entries.len(), without.next), (5, None));
}
