//! Deliveries are counted by subscription and hour.

use std::time::Duration;

use homing_domain::{
    clock,
    id::{DeliveryId, SubscriptionId},
    ledger::{Checksum, HOUR_MS, HourState, hour_of},
    time::UnixMillis,
};
use homing_store::{LEDGER_SILENT_AFTER, LedgerReport};
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

/// The part of a worker: figures of `subscription` in an hour, which is opened, and closed if
/// `is_closed`.
fn part(
    worker: u128,
    subscription: SubscriptionId,
    hour: UnixMillis,
    (figures, is_closed): (Checksum, bool),
) -> LedgerReport {
    LedgerReport {
        worker: Uuid::from_u128(worker),
        opened: vec![hour],
        rows: vec![(subscription, hour, figures)],
        closed: if is_closed { vec![hour] } else { Vec::new() },
    }
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
    other.report_ledger(&part(2, others, hour, (checksum(0..3), true)), now).await?;
    let empty = LedgerReport {
        worker: Uuid::from_u128(3),
        opened: vec![ago(2)],
        closed: vec![ago(2)],
        ..LedgerReport::default()
    };
    one.report_ledger(&empty, now).await?;

    let listing = one.ledger(id, ago(24), now, now).await?;
    assert_eq!(listing.kept_since, Some(ago(2)));
    let figures: Vec<_> =
        listing.hours.iter().map(|hour| (hour.start, hour.checksum, hour.state)).collect();
    let complete = HourState::Complete;
    let expected = [(ago(2), Checksum::default(), complete), (ago(1), checksum(0..100), complete)];
    assert_eq!(figures, expected);
    assert_eq!(one.ledger_hour(hour, now).await?.len(), 2);
    Ok(())
}

pub(super) async fn an_hour_that_is_left_open_is_not_provable(place: Place) -> Kept {
    let store = place.open().await?;
    let id = SubscriptionId::new(clock::new_id());
    let (hour, now) = (ago(1), clock::now());
    store.report_ledger(&part(1, id, hour, (checksum(0..5), true)), now).await?;
    store.report_ledger(&part(2, id, hour, (checksum(5..9), false)), now).await?;
    let state = async |now: UnixMillis| {
        let listing = store.ledger(id, hour, now, now).await?;
        Ok::<_, homing_store::StoreError>(listing.hours.first().map(|hour| hour.state))
    };
    let later = now.plus(LEDGER_SILENT_AFTER + Duration::from_secs(1));
    assert_eq!(state(now).await?, Some(HourState::Open));
    assert_eq!(state(later).await?, Some(HourState::NotProvable));
    // A report without news says that the worker lives.
    let alive = LedgerReport { worker: Uuid::from_u128(2), ..LedgerReport::default() };
    store.report_ledger(&alive, later).await?;
    assert_eq!(state(later).await?, Some(HourState::Open));
    let closed = LedgerReport { closed: vec![hour], ..alive };
    store.report_ledger(&closed, later).await?;
    assert_eq!(state(later).await?, Some(HourState::Complete));
    // Another worker may begin in an hour that is not over.
    let present = part(1, id, ago(0), (checksum(0..1), true));
    store.report_ledger(&present, now).await?;
    let listing = store.ledger(id, ago(0), ago(-1), now).await?;
    assert_eq!(listing.hours.first().map(|hour| hour.state), Some(HourState::Open));
    Ok(())
}

pub(super) async fn old_and_excess_hours_are_forgotten_as_a_whole(place: Place) -> Kept {
    let store = place.open().await?;
    let ids: Vec<_> = (0..4).map(|_| SubscriptionId::new(clock::new_id())).collect();
    let now = clock::now();
    for hours in 1..=10 {
        for id in &ids {
            let figures = (checksum(0..2), true);
            store.report_ledger(&part(1, *id, ago(hours), figures), now).await?;
        }
    }
    let first = ids.first().copied().expect("four");
    let hours = async || {
        let listing = store.ledger(first, ago(48), now, now).await?;
        Ok::<_, homing_store::StoreError>((listing.hours.len(), listing.kept_since))
    };
    assert_eq!(store.prune_ledger(ago(48), 40).await?, 0);
    assert_eq!(hours().await?, (10, Some(ago(10))));
    store.prune_ledger(ago(8), 40).await?;
    assert_eq!(hours().await?, (8, Some(ago(8))));
    // Of ten rows, two hours are whole.
    store.prune_ledger(ago(8), 10).await?;
    assert_eq!(hours().await?, (2, Some(ago(2))));
    Ok(())
}

pub(super) async fn events_of_an_hour_are_claimed_by_one(place: Place) -> Kept {
    let (one, other) = (place.open().await?, place.open().await?);
    let id = SubscriptionId::new(clock::new_id());
    let (hour, now) = (ago(1), clock::now());
    one.report_ledger(&part(1, id, hour, (checksum(0..5), true)), now).await?;
    one.report_ledger(&part(2, id, ago(2), (checksum(0..5), false)), now).await?;
    assert_eq!(one.ledger_hours_due(ago(5), ago(0), now).await?, [hour], "the other is open");
    let until = now.plus(Duration::from_secs(60));
    let (mine, theirs) = tokio::join!(
        one.claim_ledger_hour(hour, now, until),
        other.claim_ledger_hour(hour, now, until)
    );
    assert_eq!([mine?, theirs?].iter().filter(|claimed| **claimed).count(), 1);
    assert!(one.ledger_hours_due(ago(5), ago(0), now).await?.is_empty());
    let later = until.plus(Duration::from_secs(1));
    assert!(one.ledger_hours_due(ago(5), ago(0), later).await?.contains(&hour), "due again");
    assert!(one.claim_ledger_hour(hour, later, later.plus(Duration::from_secs(60))).await?);
    one.ledger_hour_announced(hour).await?;
    assert!(!one.ledger_hours_due(ago(5), ago(0), ago(-9)).await?.contains(&hour));
    Ok(())
}
