//! Promises about sources.

use std::sync::Arc;

use homing_domain::{
    source::{Phase, Reset, SlotReport, SourceState, SourceStatus},
    time::UnixMillis,
};

use super::{Kept, Place};

fn at(ms: i64) -> UnixMillis {
    UnixMillis::new(ms)
}

fn report(slot: u8, phase: Phase) -> SlotReport {
    SlotReport {
        slot,
        holder: "host, process 7".to_owned(),
        phase,
        since: at(5),
        not_before: Some(at(60_005)),
        detail: Some("answered 409: 1 of 1".to_owned()),
        records: u64::from(u32::MAX),
        seen: at(9),
    }
}

pub(crate) async fn a_source_without_changes_is_read(place: Place) -> Kept {
    let store = place.open().await?;
    assert_eq!(store.source("main").await?, SourceState::default());
    assert_eq!(store.take_reset("main").await?, None);
    assert_eq!(store.slots("main").await?, []);
    Ok(())
}

pub(crate) async fn the_status_of_a_source_survives_reopening(place: Place) -> Kept {
    let stopped =
        SourceStatus::Stopped { reason: "answered 403".to_owned(), fingerprint: "f".to_owned() };
    for (ms, status) in [(1, SourceStatus::Paused), (2, stopped), (3, SourceStatus::Running)] {
        let store = place.open().await?;
        store.set_source("main", &status, at(ms)).await?;
        store.close().await;
        let found = place.open().await?.source("main").await?;
        assert_eq!(found, SourceState { status, since: at(ms), reset: None });
    }
    assert_eq!(place.open().await?.source("other").await?, SourceState::default());
    Ok(())
}

pub(crate) async fn of_twenty_that_take_a_reset_one_gets_it(place: Place) -> Kept {
    let store = place.open().await?;
    store.set_source("main", &SourceStatus::Paused, at(1)).await?;
    store.set_reset("main", Reset::Smallest, at(2)).await?;
    store.set_reset("main", Reset::Largest, at(3)).await?;
    store.set_reset("new", Reset::Smallest, at(4)).await?;
    let found = store.source("main").await?;
    assert_eq!((found.status, found.since), (SourceStatus::Paused, at(1)));
    assert_eq!(found.reset, Some(Reset::Largest));
    store.set_source("main", &SourceStatus::Running, at(4)).await?;

    let other = place.open().await?;
    let mut taking = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(if number % 2 == 0 { &store } else { &other });
        taking.spawn(async move { store.take_reset("main").await });
    }
    let mut taken = Vec::new();
    for answer in taking.join_all().await {
        taken.extend(answer?);
    }
    assert_eq!(taken, [Reset::Largest]);
    assert_eq!(store.source("main").await?.reset, None);
    assert_eq!(store.take_reset("new").await?, Some(Reset::Smallest));
    Ok(())
}

pub(crate) async fn slots_are_kept_as_last_reported(place: Place) -> Kept {
    let store = place.open().await?;
    for slot in [2, 1] {
        store.report_slot("main", &report(slot, Phase::Connecting)).await?;
    }
    store.report_slot("other", &report(1, Phase::Waiting)).await?;
    let reported = SlotReport { not_before: None, detail: None, ..report(2, Phase::Connected) };
    store.report_slot("main", &reported).await?;
    store.close().await;
    let store = place.open().await?;
    assert_eq!(store.slots("main").await?, [report(1, Phase::Connecting), reported]);
    assert_eq!(store.slots("other").await?, [report(1, Phase::Waiting)]);
    Ok(())
}
