//! Deliveries are counted by subscription and hour.

use std::time::Duration;

use homing_domain::{
    activity::{Figures, Minute, Requests, WorkerReport, minute_of},
    clock,
    id::{DeliveryId, SubscriptionId},
    ledger::{Checksum, HourState},
    time::{HOUR_MS, UnixMillis, hour_of, next_hour},
};
use homing_store::{
    DueHour, LEDGER_SILENT_AFTER, LEDGER_SILENT_FOR, LedgerReport, MAX_LEDGER_PAGE, Store,
    StoreError,
};
use uuid::Uuid;

use super::{Kept, Place};

fn ago(hours: i64) -> UnixMillis {
    UnixMillis::new(hour_of(clock::now()).get() - hours * HOUR_MS)
}

fn checksum(numbers: std::ops::Range<u128>) -> Checksum {
    let mut checksum = Checksum::default();
    for number in numbers {
        checksum.add(DeliveryId::new(Uuid::from_u128((u128::MAX / 7).wrapping_mul(number))));
    }
    checksum
}

/// The part of a worker that ran in one hour only: figures of `subscription`, and not all of them
/// unless `is_closed`.
fn part(
    worker: u128,
    subscription: SubscriptionId,
    hour: UnixMillis,
    (figures, is_closed): (Checksum, bool),
) -> LedgerReport {
    LedgerReport {
        worker: Uuid::from_u128(worker),
        process: Uuid::from_u128(worker),
        place: Some("here".to_owned()),
        from: hour,
        closed: if is_closed { next_hour(hour) } else { hour },
        ended: is_closed.then(|| next_hour(hour)),
        rows: vec![(subscription, hour, figures)],
        gaps: Vec::new(),
    }
}

/// The state of an hour that is read at `now`.
async fn state(
    store: &dyn Store,
    hour: UnixMillis,
    now: UnixMillis,
) -> Result<Option<HourState>, StoreError> {
    let id = SubscriptionId::new(Uuid::nil());
    let listing = store.ledger(id, hour, next_hour(hour), now).await?;
    Ok(listing.hours.first().map(|hour| hour.state))
}

pub(super) async fn parts_of_many_workers_add_up_and_a_report_counts_once(place: Place) -> Kept {
    let (one, other) = (place.open().await?, place.open().await?);
    let id = SubscriptionId::new(clock::new_id());
    let (hour, now) = (ago(1), clock::now());
    let first = part(1, id, hour, (checksum(0..5), false));
    one.report_ledger(&first, now).await?;
    one.report_ledger(&first, now).await?;
    // The next report has the hour as a whole.
    one.report_ledger(&part(1, id, hour, (checksum(0..7), true)), now).await?;
    other.report_ledger(&part(2, id, hour, (checksum(7..100), true)), now).await?;
    let others = SubscriptionId::new(clock::new_id());
    other.report_ledger(&part(3, others, hour, (checksum(0..3), true)), now).await?;
    let empty = LedgerReport { rows: Vec::new(), ..part(4, id, ago(2), (checksum(0..0), true)) };
    one.report_ledger(&empty, now).await?;

    let listing = one.ledger(id, ago(24), now, now).await?;
    assert_eq!(listing.kept_since, Some(ago(2)));
    let figures: Vec<_> =
        listing.hours.iter().map(|hour| (hour.start, hour.checksum, hour.state)).collect();
    let complete = HourState::Complete;
    let expected = [(ago(2), Checksum::default(), complete), (ago(1), checksum(0..100), complete)];
    assert_eq!(figures, expected);
    assert_eq!(one.ledger_hour(hour, None, now).await?.len(), 2);
    Ok(())
}

/// Goal: however many subscriptions got something in an hour, each is read once, with the figures of
/// all workers.
pub(super) async fn an_hour_is_read_page_by_page(place: Place) -> Kept {
    let store = place.open().await?;
    let (hour, now) = (ago(1), clock::now());
    let number = u128::try_from(MAX_LEDGER_PAGE)? + 2;
    let ids = || (0..number).map(|id| SubscriptionId::new(Uuid::from_u128(id << 64)));
    for worker in [1, 2] {
        let rows = ids().map(|id| (id, hour, checksum(worker..worker + 1))).collect();
        let whole = part(worker, SubscriptionId::new(Uuid::nil()), hour, (checksum(0..0), true));
        store.report_ledger(&LedgerReport { rows, ..whole }, now).await?;
    }
    let first = store.ledger_hour(hour, None, now).await?;
    assert_eq!(first.len(), MAX_LEDGER_PAGE);
    let last = first.last().map(|(id, _)| *id);
    let second = store.ledger_hour(hour, last, now).await?;
    let third = store.ledger_hour(hour, second.last().map(|(id, _)| *id), now).await?;
    assert_eq!((second.len(), third.len()), (2, 0));
    let read: Vec<_> = first.iter().chain(&second).map(|(id, _)| *id).collect();
    assert_eq!(read, ids().collect::<Vec<_>>());
    assert!(first.iter().chain(&second).all(|(_, hour)| hour.checksum == checksum(1..3)));
    Ok(())
}

pub(super) async fn an_hour_that_is_left_open_is_not_provable(place: Place) -> Kept {
    let store = place.open().await?;
    let store = store.as_ref();
    let id = SubscriptionId::new(clock::new_id());
    let (hour, now) = (ago(1), clock::now());
    store.report_ledger(&part(1, id, hour, (checksum(0..5), true)), now).await?;
    let alive = part(2, id, hour, (checksum(5..9), false));
    store.report_ledger(&alive, now).await?;
    let later = now.plus(LEDGER_SILENT_AFTER + Duration::from_secs(1));
    assert_eq!(state(store, hour, now).await?, Some(HourState::Open));
    assert_eq!(state(store, hour, later).await?, Some(HourState::NotProvable));
    // A report without news says that the worker lives.
    let alive = LedgerReport { rows: Vec::new(), ..alive };
    store.report_ledger(&alive, later).await?;
    assert_eq!(state(store, hour, later).await?, Some(HourState::Open));
    let closed = LedgerReport { closed: next_hour(hour), ..alive.clone() };
    store.report_ledger(&closed, later).await?;
    assert_eq!(state(store, hour, later).await?, Some(HourState::Complete));
    // Another worker may begin in an hour that is not over.
    let present = part(3, id, ago(0), (checksum(0..1), true));
    store.report_ledger(&present, now).await?;
    assert_eq!(state(store, ago(0), now).await?, Some(HourState::Open));
    // One that ended with something in flight is not waited for.
    let left = LedgerReport { ended: Some(next_hour(hour)), ..alive };
    store.report_ledger(&left, later).await?;
    assert_eq!(state(store, hour, later).await?, Some(HourState::NotProvable));
    Ok(())
}

/// Goal: what a worker delivers that lost the store is not taken to be counted, in no hour.
pub(super) async fn hours_of_a_silent_worker_are_not_provable_for_a_day(place: Place) -> Kept {
    let store = place.open().await?;
    let store = store.as_ref();
    let id = SubscriptionId::new(clock::new_id());
    let (start, seen) = (ago(40), ago(40).plus(Duration::from_secs(60)));
    store.report_ledger(&part(1, id, start, (checksum(0..5), false)), seen).await?;
    // Another one is there all the time.
    let other = LedgerReport { closed: ago(0), ..part(2, id, ago(41), (checksum(0..1), false)) };
    let now = clock::now();
    store.report_ledger(&other, now).await?;
    assert_eq!(state(store, ago(41), now).await?, Some(HourState::Complete));
    for hours in [16, 30, 39, 40] {
        assert_eq!(state(store, ago(hours), now).await?, Some(HourState::NotProvable), "{hours}");
    }
    let after = ago(39 - i64::try_from(LEDGER_SILENT_FOR.as_secs() / 3_600)?);
    assert_eq!(state(store, after, now).await?, Some(HourState::Complete));
    // It is back, and has written everything.
    let back = LedgerReport { closed: ago(0), ..part(1, id, start, (checksum(0..9), false)) };
    store.report_ledger(&back, now).await?;
    assert_eq!(state(store, ago(30), now).await?, Some(HourState::Complete));
    Ok(())
}

/// Goal: a worker that is known to have ended leaves no hours after its end in doubt; one that
/// writes again all the same has not ended.
pub(super) async fn hours_after_the_end_of_a_worker_are_not_in_doubt(place: Place) -> Kept {
    let store = place.open().await?;
    let store = store.as_ref();
    let id = SubscriptionId::new(clock::new_id());
    let (now, seen) = (clock::now(), ago(9).plus(Duration::from_secs(60)));
    let killed = part(1, id, ago(9), (checksum(0..5), false));
    store.report_ledger(&killed, seen).await?;
    let elsewhere = LedgerReport {
        place: Some("there".to_owned()),
        ..part(2, id, ago(9), (checksum(0..0), false))
    };
    store.report_ledger(&elsewhere, seen).await?;
    let alive = LedgerReport { closed: ago(0), ..part(3, id, ago(9), (checksum(0..1), false)) };
    store.report_ledger(&alive, now).await?;
    let over = LedgerReport {
        place: Some("here".to_owned()),
        ..part(4, id, ago(9), (checksum(0..0), true))
    };
    store.report_ledger(&over, seen).await?;
    let process = Uuid::from_u128(1);
    let since = now.minus(Duration::from_secs(30));
    assert_eq!(store.silent_ledger_processes("here", since).await?, [process]);
    assert_eq!(store.silent_ledger_processes("there", since).await?, [Uuid::from_u128(2)]);
    store.ledger_process_ended(Uuid::from_u128(2), seen).await?;
    let found = ago(8).plus(Duration::from_secs(1));
    store.ledger_process_ended(process, found).await?;
    assert!(store.silent_ledger_processes("here", since).await?.is_empty());
    for (hours, expected) in [
        (9, HourState::NotProvable),
        (8, HourState::NotProvable),
        (7, HourState::Complete),
        (1, HourState::Complete),
    ] {
        assert_eq!(state(store, ago(hours), now).await?, Some(expected), "{hours}");
    }
    store.report_ledger(&killed, now).await?;
    assert_eq!(state(store, ago(1), now).await?, Some(HourState::Open));
    Ok(())
}

/// Goal: hours that were complete stay so when the end of a worker is found days later.
pub(super) async fn an_end_that_is_found_late_puts_no_more_hours_in_doubt(place: Place) -> Kept {
    let store = place.open().await?;
    let store = store.as_ref();
    let id = SubscriptionId::new(clock::new_id());
    let now = clock::now();
    let killed = part(1, id, ago(60), (checksum(0..5), false));
    store.report_ledger(&killed, ago(60)).await?;
    let alive = LedgerReport { closed: ago(0), ..part(2, id, ago(60), (checksum(0..1), false)) };
    store.report_ledger(&alive, now).await?;
    let hours = [(60, HourState::NotProvable), (37, HourState::NotProvable)];
    let hours = hours.into_iter().chain([(20, HourState::Complete), (1, HourState::Complete)]);
    let hours: Vec<_> = hours.collect();
    for (hours, expected) in &hours {
        assert_eq!(state(store, ago(*hours), now).await?, Some(*expected), "{hours}");
    }
    let since = now.minus(Duration::from_secs(30));
    assert!(store.silent_ledger_processes("here", since).await?.is_empty());
    store.ledger_process_ended(Uuid::from_u128(1), ago(1)).await?;
    for (hours, expected) in &hours {
        assert_eq!(state(store, ago(*hours), now).await?, Some(*expected), "{hours}");
    }
    Ok(())
}

/// Goal: a worker of an earlier version, or without a ledger, makes its hours not provable.
pub(super) async fn hours_of_workers_that_do_not_count_are_not_provable(place: Place) -> Kept {
    let store = place.open().await?;
    let store = store.as_ref();
    let id = SubscriptionId::new(clock::new_id());
    let now = clock::now();
    let counting = part(1, id, ago(3), (checksum(0..5), false));
    let counting = LedgerReport { closed: ago(0), ..counting };
    store.report_ledger(&counting, now).await?;
    let minute = |start: UnixMillis| Minute { start_ms: start, figures: Figures::default() };
    let worker = |id| WorkerReport {
        runs_replays: None,
        problem: None,
        id: Uuid::from_u128(id),
        host: "h".to_owned(),
        pid: 1,
        version: "1".to_owned(),
        started_ms: ago(2),
        seen_ms: now,
        in_flight: 0,
    };
    let requests = Requests::default();
    let minutes = [minute(minute_of(ago(1)))];
    store.report_activity(&worker(1), &requests, &minutes, &[]).await?;
    store.report_ledger(&counting, now).await?;
    assert_eq!(state(store, ago(1), now).await?, Some(HourState::Complete), "it counts");
    store.report_activity(&worker(2), &requests, &minutes, &[]).await?;
    store.remove_worker(Uuid::from_u128(2)).await?;
    store.report_ledger(&counting, now).await?;
    assert_eq!(state(store, ago(1), now).await?, Some(HourState::NotProvable));
    assert_eq!(state(store, ago(2), now).await?, Some(HourState::Complete));
    Ok(())
}

pub(super) async fn old_and_excess_hours_are_forgotten_as_a_whole(place: Place) -> Kept {
    let store = place.open().await?;
    let ids: Vec<_> = (0..4).map(|_| SubscriptionId::new(clock::new_id())).collect();
    let now = clock::now();
    for hours in 0..=10_i64 {
        for id in &ids {
            let worker = u128::from(hours.unsigned_abs());
            let figures = (checksum(0..2), hours > 0);
            store.report_ledger(&part(worker, *id, ago(hours), figures), now).await?;
        }
    }
    let first = ids.first().copied().expect("four");
    let hours = async || {
        let listing = store.ledger(first, ago(48), ago(-1), now).await?;
        Ok::<_, StoreError>((listing.hours.len(), listing.kept_since))
    };
    assert_eq!(store.prune_ledger(ago(48), 44, now).await?, 0);
    assert_eq!(hours().await?, (11, Some(ago(10))));
    store.prune_ledger(ago(8), 44, now).await?;
    assert_eq!(hours().await?, (9, Some(ago(8))));
    // Of ten rows, two hours are whole.
    store.prune_ledger(ago(8), 10, now).await?;
    assert_eq!(hours().await?, (2, Some(ago(1))));
    // The present hour stays, however many rows it has.
    store.prune_ledger(ago(8), 2, now).await?;
    assert_eq!(hours().await?, (1, Some(ago(0))));
    let present = store.ledger(first, ago(0), ago(-1), now).await?;
    assert_eq!(present.hours.first().map(|hour| hour.checksum.number), Some(2));
    Ok(())
}

pub(super) async fn events_of_an_hour_are_claimed_by_one(place: Place) -> Kept {
    let (one, other) = (place.open().await?, place.open().await?);
    let id = SubscriptionId::new(clock::new_id());
    let (start, now) = (ago(1), clock::now());
    let hour = DueHour { start, state: HourState::Complete };
    for (worker, start) in [(1, start), (2, ago(2)), (3, ago(3))] {
        one.report_ledger(&part(worker, id, start, (checksum(0..5), true)), now).await?;
    }
    let due = one.ledger_hours_due(ago(5), ago(0), now).await?;
    assert_eq!(due.iter().map(|due| due.start).collect::<Vec<_>>(), [ago(3), ago(2), start]);
    let until = now.plus(Duration::from_secs(60));
    let (mine, theirs) = tokio::join!(
        one.claim_ledger_hour(hour, now, until),
        other.claim_ledger_hour(hour, now, until)
    );
    assert_eq!([mine?, theirs?].iter().filter(|claimed| **claimed).count(), 1);
    assert!(!one.ledger_hours_due(ago(5), ago(0), now).await?.contains(&hour));
    let later = until.plus(Duration::from_secs(1));
    assert!(one.ledger_hours_due(ago(5), ago(0), later).await?.contains(&hour), "due again");
    let until = later.plus(Duration::from_secs(60));
    assert!(one.claim_ledger_hour(hour, later, until).await?);
    one.ledger_hour_announced(start, until).await?;
    let is_due = async |state| {
        let hour = DueHour { start, state };
        let due = one.ledger_hours_due(ago(5), ago(0), later).await?;
        Ok::<_, StoreError>(due.contains(&hour))
    };
    assert!(!is_due(HourState::Complete).await?);
    // Its figures change, also between claim and note.
    one.report_ledger(&part(1, id, start, (checksum(0..6), true)), later).await?;
    assert!(is_due(HourState::Complete).await?);
    assert!(one.claim_ledger_hour(hour, later, until).await?);
    one.report_ledger(&part(1, id, start, (checksum(0..7), true)), later).await?;
    one.ledger_hour_announced(start, until).await?;
    assert!(is_due(HourState::Complete).await?);
    assert!(one.claim_ledger_hour(hour, later, until).await?);
    one.ledger_hour_announced(start, until).await?;
    assert!(!is_due(HourState::Complete).await?);
    // Its state changes.
    let gap = part(1, id, start, (checksum(0..7), true));
    let gap = LedgerReport { rows: Vec::new(), gaps: vec![start], ..gap };
    one.report_ledger(&gap, later).await?;
    assert!(is_due(HourState::NotProvable).await?);
    let unproved = DueHour { start, state: HourState::NotProvable };
    assert!(one.claim_ledger_hour(unproved, later, until).await?);
    one.ledger_hour_announced(start, until).await?;
    assert!(!is_due(HourState::NotProvable).await?);
    Ok(())
}
