//! Payloads of attempts: read back as they were written, each body once, bounded, and encrypted.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use homing_domain::{
    clock,
    payload::{Part, Payload},
    record::RecordId,
    time::UnixMillis,
};
use homing_store::{AttemptPayload, PayloadBounds, PayloadTotals, Store};

use super::{Kept, Place, errors::failed};

const ALL: PayloadBounds =
    PayloadBounds { since: UnixMillis::new(0), max_payloads: u64::MAX, max_bytes: u64::MAX };

fn at(seconds: u64) -> UnixMillis {
    UnixMillis::new(1_700_000_000_000).plus(Duration::from_secs(seconds))
}

fn payload(number: u64, body: &[u8]) -> Payload {
    let part = |body: &[u8], cut| Part {
        headers: vec![("x-number".to_owned(), format!("{number} ä\n"))],
        headers_left_out: 3,
        body: body.to_vec().into(),
        cut,
    };
    let response =
        (!number.is_multiple_of(3)).then(|| part(format!("answer\n{number}").as_bytes(), false));
    Payload { request: part(body, true), response }
}

/// The attempt that began so many seconds later than the others; it sent this body.
fn attempt(seconds: u64, body: &[u8]) -> AttemptPayload {
    (clock::new_record_id(at(seconds)), Arc::new(payload(seconds, body)))
}

async fn totals(store: &dyn Store) -> Result<PayloadTotals, homing_store::StoreError> {
    store.keep_payloads(&[]).await
}

async fn read(store: &dyn Store, id: RecordId) -> Result<Payload, Box<dyn std::error::Error>> {
    Ok(store.payload(id).await?.ok_or("there is no payload")??)
}

/// Goal: a body is kept once for all that sent it, and what is written again is there once.
pub(super) async fn payloads_are_read_back_and_bodies_kept_once(place: Place) -> Kept {
    let store = place.open().await?;
    let large = vec![b'x'; 200_000];
    let same: Vec<_> = (0..130).map(|number| attempt(number, b"{\"same\":1}")).collect();
    let others: Vec<_> = (0..130).map(|number| attempt(number, &number.to_be_bytes())).collect();
    let all = [&same[..], &others[..], &[attempt(7, &large), attempt(8, b"")]].concat();
    store.keep_payloads(all.get(..100).unwrap_or_default()).await?;
    let kept = store.keep_payloads(&all).await?;
    assert_eq!(kept.payloads, u64::try_from(all.len())?);
    assert_eq!(store.keep_payloads(&all).await?, kept);
    for (id, payload) in &all {
        assert_eq!(read(&*store, *id).await?, **payload);
    }
    assert!(store.payload(clock::new_record_id(at(1))).await?.is_none());

    let more = store.keep_payloads(&[attempt(9, &large)]).await?;
    let size = more.bytes - kept.bytes;
    assert!(size < 500, "{size} more bytes for a body that was there");
    Ok(())
}

/// Goal: the oldest go first, by number, bytes and age, and a body goes with the last attempt that
/// sent it.
pub(super) async fn of_too_many_payloads_the_oldest_go_first(place: Place) -> Kept {
    let store = place.open().await?;
    let prune = async |bounds: PayloadBounds| {
        loop {
            let pruned = store.prune_payloads(&bounds).await?;
            if !pruned.more {
                break Ok::<_, homing_store::StoreError>(pruned.left);
            }
        }
    };
    let body = |number: u64| {
        if number.is_multiple_of(2) { vec![0] } else { number.to_be_bytes().to_vec() }
    };
    let all: Vec<_> = (0..400).map(|number| attempt(number, &body(number))).collect();
    let kept = store.keep_payloads(&all).await?;
    assert_eq!(prune(ALL).await?, kept);

    let left = prune(PayloadBounds { max_payloads: 300, ..ALL }).await?;
    assert_eq!(left.payloads, 300);
    assert!(left.bytes < kept.bytes - 100, "{left:?}");
    for (index, (id, payload)) in all.iter().enumerate() {
        match store.payload(*id).await? {
            Some(found) => assert_eq!(found?, **payload),
            None => assert!(index < 100, "{index} is gone"),
        }
    }
    let left = prune(PayloadBounds { since: at(200), ..ALL }).await?;
    assert_eq!(left.payloads, 200);
    let left = prune(PayloadBounds { max_bytes: left.bytes / 2, ..ALL }).await?;
    assert!((50..150).contains(&left.payloads), "{left:?}");
    let (newest, payload) = all.last().ok_or("there are some")?;
    assert_eq!(read(&*store, *newest).await?, **payload);
    assert_eq!(prune(PayloadBounds { since: at(1_000), ..ALL }).await?, PayloadTotals::default());
    assert_eq!(totals(&*store).await?, PayloadTotals::default());

    store.keep_payloads(&all).await?;
    store.record_attempts(&[failed(260, "https://a.example/", "busy")], None).await?;
    assert_eq!(prune(ALL).await?.payloads, 200, "those that are older than all records go");
    Ok(())
}

/// Goal: processes that keep and prune the same bodies at once do not block each other, and what is
/// counted is what there is. Method: several rounds of four writers and two pruners; at the end all
/// is pruned.
pub(super) async fn payloads_of_many_writers_add_up(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    for round in 0..5 {
        let batches: Vec<Vec<_>> = (0..4_u64)
            .map(|writer| {
                let number = |index| if writer % 2 == 0 { index } else { 99 - index };
                let attempt = |index: u64| {
                    attempt(round * 100 + index, &[u8::try_from(number(index)).unwrap_or(0)])
                };
                (0..100).map(attempt).collect()
            })
            .collect();
        let written = batches.iter().zip(stores.iter().cycle());
        let written = try_join_all(written.map(|(batch, store)| store.keep_payloads(batch)));
        let bounds = PayloadBounds { max_payloads: 150, ..ALL };
        let pruned = try_join_all(stores.iter().map(|store| store.prune_payloads(&bounds)));
        futures_util::try_join!(written, pruned)?;
    }
    while stores[0].prune_payloads(&PayloadBounds { max_payloads: 150, ..ALL }).await?.more {}
    assert_eq!(totals(&*stores[1]).await?.payloads, 150);
    while stores[1].prune_payloads(&PayloadBounds { since: at(10_000), ..ALL }).await?.more {}
    assert_eq!(totals(&*stores[0]).await?, PayloadTotals::default());
    Ok(())
}
