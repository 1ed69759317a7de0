//! Promises about replays of the archive.

use std::{num::NonZeroU32, time::Duration};

use homing_domain::{
    audit::{Action, Actor, ObjectKind, Via},
    replay::{Replay, ReplayProgress, ReplaySelection, ReplayState},
    time::UnixMillis,
};
use homing_store::{AuditFilter, AuditPage, MAX_UNENDED_REPLAYS, ReplayClaim, Store, StoreError};
use uuid::Uuid;

use super::{Kept, Place};
use crate::support::{eventually, holds};

fn selection() -> ReplaySelection {
    ReplaySelection {
        since_ms: UnixMillis::new(1_000),
        until_ms: UnixMillis::new(9_000),
        topic: Some("order.#".parse().expect("a pattern")),
        event: None,
        subscriptions: Vec::new(),
        url: Some("https://example.com/hook".parse().expect("a URL")),
        unfiltered: false,
        rate: NonZeroU32::MIN,
    }
}

fn claim(worker: u128, lasts: Duration) -> ReplayClaim {
    ReplayClaim { worker: Uuid::from_u128(worker), lasts }
}

fn progress(position: u64) -> ReplayProgress {
    ReplayProgress {
        events: Some(90),
        position: Some(position),
        end: Some(100),
        read: position - 10,
        sent: 7,
        unreadable: 2,
        gone: 1,
        left_out: 3,
        archive_begins_ms: Some(UnixMillis::new(5_000)),
        note: Some("slowly".to_owned()),
    }
}

async fn create(store: &dyn Store) -> Result<Replay, StoreError> {
    Ok(store.create_replay("p", &selection()).await?.expect("there are few"))
}

const LONG: Duration = Duration::from_secs(600);

pub(super) async fn a_replay_is_claimed_by_one_and_goes_on_where_it_was(place: Place) -> Kept {
    let (store, other) = (place.open().await?, place.open().await?);
    let (one, two) = (claim(1, LONG), claim(2, LONG));
    assert_eq!(store.claim_replay("p", one).await?, None);
    let replay = create(store.as_ref()).await?;
    assert_eq!(other.replay("p", replay.id).await?.as_ref(), Some(&replay));

    let claimed = store.claim_replay("p", one).await?.expect("it waits");
    assert_eq!((claimed.id, claimed.state), (replay.id, ReplayState::Running));
    assert_eq!(other.claim_replay("p", two).await?, None, "one at a time");
    let state = store.advance_replay(replay.id, &progress(20), one).await?;
    assert_eq!(state, Some(ReplayState::Running));
    assert_eq!(other.advance_replay(replay.id, &progress(90), two).await?, None, "not its own");
    assert!(!other.leave_replay(replay.id, ReplayState::Done, &progress(90), two).await?);

    assert!(store.leave_replay(replay.id, ReplayState::Waiting, &progress(30), one).await?);
    let again = other.claim_replay("p", two).await?.expect("it waits again");
    assert_eq!((again.id, again.progress), (replay.id, progress(30)));
    let later = create(store.as_ref()).await?;
    assert_eq!(store.claim_replay("p", one).await?, None, "one at a time");
    assert!(other.leave_replay(replay.id, ReplayState::Done, &progress(100), two).await?);
    let next = store.claim_replay("p", one).await?.expect("the next one waits");
    assert_eq!(next.id, later.id);
    let ids: Vec<_> =
        store.replays("p", 9).await?.into_iter().map(|it| (it.id, it.state)).collect();
    assert_eq!(ids, [(later.id, ReplayState::Running), (replay.id, ReplayState::Done)]);
    Ok(())
}

pub(super) async fn a_replay_whose_worker_died_is_claimed_after_a_while(place: Place) -> Kept {
    let store = place.open().await?;
    let replay = create(store.as_ref()).await?;
    let dead = claim(1, Duration::from_millis(300));
    store.claim_replay("p", dead).await?.expect("it waits");
    store.advance_replay(replay.id, &progress(20), dead).await?;
    let claimed = eventually(async || {
        let claimed = store.claim_replay("p", claim(2, LONG)).await.expect("the store answers");
        claimed.ok_or("the claim has not run out")
    })
    .await;
    assert_eq!(claimed.progress, progress(20));
    assert_eq!(store.advance_replay(replay.id, &progress(99), dead).await?, None, "it woke up");
    Ok(())
}

pub(super) async fn a_replay_is_stopped_and_resumed_and_on_record(place: Place) -> Kept {
    let store = place.open().await?;
    let anna = Actor { via: Via::Api, name: "anna".to_owned(), ..Actor::default() };
    let (hers, one) = (store.by(&anna), claim(1, LONG));
    let replay = create(hers.as_ref()).await?;
    assert_eq!(replay.actor, "anna");
    store.claim_replay("p", one).await?.expect("it waits");
    assert!(hers.stop_replay("p", replay.id).await?);
    assert!(!hers.stop_replay("p", replay.id).await?, "it is stopped");
    assert!(!hers.stop_replay("another", replay.id).await?);
    let state = store.advance_replay(replay.id, &progress(20), one).await?;
    assert_eq!(state, Some(ReplayState::Stopped), "and what was sent is written");
    assert!(hers.resume_replay("p", replay.id).await?);
    assert!(!hers.resume_replay("p", replay.id).await?, "it waits");
    // Its worker has not left it yet.
    let state = store.advance_replay(replay.id, &progress(40), one).await?;
    assert_eq!(state, Some(ReplayState::Running));
    assert!(hers.stop_replay("p", replay.id).await?);
    assert!(store.leave_replay(replay.id, ReplayState::Done, &progress(50), one).await?);
    let stopped = store.replay("p", replay.id).await?.expect("it is known");
    assert_eq!((stopped.state, stopped.progress), (ReplayState::Stopped, progress(50)));
    assert_eq!(store.claim_replay("p", one).await?, None);
    hers.resume_replay("p", replay.id).await?;
    store.claim_replay("p", one).await?.expect("it waits");
    assert!(store.leave_replay(replay.id, ReplayState::Failed, &progress(60), one).await?);

    let filter = AuditFilter { kind: Some(ObjectKind::Replay), ..AuditFilter::default() };
    let page = AuditPage { filter, limit: 100, ..AuditPage::default() };
    let mut records = store.audit(&page).await?.records;
    records.reverse();
    let made: Vec<_> =
        records.iter().map(|it| (it.change.action, it.actor.name.as_str())).collect();
    let expected = [
        (Action::Created, "anna"),
        (Action::Stopped, "anna"),
        (Action::Resumed, "anna"),
        (Action::Stopped, "anna"),
        (Action::Resumed, "anna"),
        (Action::Ended, "homing"),
    ];
    assert_eq!(made, expected);
    assert!(records.iter().all(|it| it.change.object == replay.id.to_string()));
    let last = records.last().map(|it| it.change.result.as_str());
    assert_eq!(last, Some("failed"));
    Ok(())
}

pub(super) async fn replays_are_bounded_and_those_of_others_stay_theirs(place: Place) -> Kept {
    let store = place.open().await?;
    for _ in 0..MAX_UNENDED_REPLAYS {
        create(store.as_ref()).await?;
    }
    assert_eq!(store.create_replay("p", &selection()).await?, None, "so many wait");
    let other = store.create_replay("another", &selection()).await?.expect("it has none");
    assert_eq!(store.replay("p", other.id).await?, None);
    let claimed = store.claim_replay("another", claim(1, LONG)).await?.expect("it waits");
    assert_eq!(claimed.id, other.id);
    let claimed = store.claim_replay("p", claim(2, LONG)).await?;
    holds(claimed.is_some(), "another installation keeps it from claiming")?;
    assert_eq!(store.replays("p", 5).await?.len(), 5);
    Ok(())
}
