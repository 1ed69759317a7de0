//! Changes are on record with the one who made them.

use std::{sync::Arc, time::Duration};

use homing_domain::{
    api_token::{ApiToken, Scope, TokenDigest},
    audit::{Action, Actor, AuditRecord, Change, ChangeResult, ObjectKind, Via},
    circuit::{CircuitRules, CircuitState, Reason},
    clock,
    id::SubscriptionId,
    signature::SigningSecret,
    source::{Reset, SourceStatus},
    subscription::{Draft, Subscription},
    url::EndpointUrl,
};
use homing_store::{AuditFilter, AuditPage, Intervention, Store, StoreError};
use serde_json::json;

use super::{
    Kept, Place,
    circuits::{at, dead},
};

fn anna() -> Actor {
    let (address, request) = (Some("192.0.2.7".to_owned()), Some("r-1".to_owned()));
    Actor { via: Via::Api, name: "anna".to_owned(), address, request }
}

fn subscription(url: &str) -> Subscription {
    let now = clock::now();
    let spec = Draft::new(url, "order.#").build(&[]).expect("it is sound");
    Subscription { id: SubscriptionId::new(clock::new_id()), spec, created: now, updated: now }
}

async fn all(store: &dyn Store) -> Result<Vec<AuditRecord>, StoreError> {
    let page = AuditPage { limit: 1_000, ..AuditPage::default() };
    Ok(store.audit(&page).await?.records)
}

/// Action and object of each record, the oldest first.
async fn changes(store: &dyn Store) -> Result<Vec<(Action, String)>, StoreError> {
    let changes = all(store).await?.into_iter().rev();
    Ok(changes.map(|record| (record.change.action, record.change.object)).collect())
}

fn token(name: &str) -> Result<ApiToken, Box<dyn std::error::Error>> {
    let digest = TokenDigest::of(b"homing_secret");
    Ok(ApiToken { name: name.parse()?, digest, scope: Scope::Read, created: clock::now() })
}

pub(super) async fn every_change_of_the_store_is_on_record_with_its_actor(place: Place) -> Kept {
    let store = place.open().await?;
    let hers = store.by(&anna());
    let (mut one, url) = (subscription("https://example.com/a"), "https://example.com/b");
    let url: EndpointUrl = url.parse()?;
    hers.insert_subscription(&one).await?;
    let read = one.updated;
    one.updated = read.plus(Duration::from_millis(1));
    one.spec.description = Some("ours".to_owned());
    hers.update_subscription(&one, read).await?;
    assert!(hers.remove_subscription(one.id).await?);
    for change in [Intervention::Disable, Intervention::Enable] {
        hers.set_circuit(&url, change, clock::now()).await?;
    }
    let until = clock::now().plus(Duration::from_hours(1));
    let (paused, _) = hers.set_circuit(&url, Intervention::Pause(until), clock::now()).await?;
    let (state, reason) = (CircuitState::Closed, Reason::Enabled);
    let undo = Intervention::Restore { changed: paused.since, state, reason };
    for _ in 0..2 {
        hers.set_circuit(&url, undo, clock::now()).await?;
    }
    let (open, tally) = dead("open");
    store.merge_tallies(&[(open.clone(), tally)], &CircuitRules::default(), at(0)).await?;
    hers.set_circuit(&open, Intervention::Probe, at(0)).await?;
    let token = token("ci")?;
    assert!(hers.insert_token(&token).await? && hers.remove_token("ci").await?);
    hers.set_source("main", &SourceStatus::Paused, clock::now()).await?;
    hers.set_source("main", &SourceStatus::Running, clock::now()).await?;
    hers.set_reset("main", Reset::Largest, clock::now()).await?;
    hers.reencrypt().await?;
    let primary = store.keys().await?.primary.to_string();

    let records = all(store.as_ref()).await?;
    assert!(records.iter().all(|record| record.actor == anna()), "{records:?}");
    let by_id = one.id.to_string();
    let expected = [
        (Action::Created, by_id.as_str()),
        (Action::Updated, &by_id),
        (Action::Deleted, &by_id),
        (Action::Disabled, url.as_str()),
        (Action::Enabled, url.as_str()),
        (Action::Paused, url.as_str()),
        (Action::Enabled, url.as_str()),
        (Action::Probed, open.as_str()),
        (Action::Created, "ci"),
        (Action::Deleted, "ci"),
        (Action::Paused, "main"),
        (Action::Resumed, "main"),
        (Action::Reset, "main"),
        (Action::Rotated, &primary),
    ];
    let expected: Vec<_> = expected.map(|(action, object)| (action, object.to_owned())).into();
    assert_eq!(changes(store.as_ref()).await?, expected);
    let difference = |action| {
        let found = records.iter().rev().find(|record| record.change.action == action);
        found.map(|record| json!(record.change.difference)).unwrap_or_default()
    };
    let updated = json!({"description": {"before": null, "after": "ours"}});
    assert_eq!(difference(Action::Updated), updated);
    let disabled = json!({"state": {"before": "closed", "after": "frozen"}});
    assert_eq!(difference(Action::Disabled), disabled);
    let until = until.to_string();
    let paused = json!({"state": {"before": "closed", "after": "open"}, "until": until});
    assert_eq!(difference(Action::Paused), paused);
    let undone = records.iter().filter(|record| record.change.difference.contains_key("undone"));
    assert_eq!(undone.count(), 1, "the second finds nothing to take back");
    let differences: Vec<_> = records.iter().map(|one| &one.change.difference).collect();
    assert!(!json!(differences).to_string().contains("secret"));
    Ok(())
}

/// Goal: a rotation that leaves something is on record as failed, with what it did.
pub(super) async fn a_rotation_that_leaves_secrets_is_on_record_as_failed(place: Place) -> Kept {
    let old = place.open_with(&[1]).await?;
    for path in ["a", "b"] {
        let mut one = subscription(&format!("https://example.com/{path}"));
        one.spec.secrets = vec![SigningSecret::from_bytes(vec![7; 32])?];
        old.insert_subscription(&one).await?;
    }
    old.close().await;
    let both = place.open_with(&[2, 1]).await?;
    // Sealed for another row.
    place
        .shell(
            "UPDATE subscriptions SET secrets = \
             (SELECT secrets FROM subscriptions WHERE url LIKE '%/a') WHERE url LIKE '%/b'",
        )
        .await?;
    assert!(!both.reencrypt().await?.is_whole());
    let records = all(both.as_ref()).await?;
    let rotated = records.first().ok_or("nothing is on record")?;
    assert_eq!(rotated.change.result, ChangeResult::Failed);
    assert_eq!(
        json!(rotated.change.difference),
        json!({"subscriptions": 1, "payloads": 0, "parked": 0, "unreadable": 1})
    );
    Ok(())
}

pub(super) async fn what_is_not_changed_is_not_on_record(place: Place) -> Kept {
    let store = place.open().await?;
    let one = subscription("https://example.com/a");
    store.insert_subscription(&one).await?;
    let again = Subscription { id: SubscriptionId::new(clock::new_id()), ..one.clone() };
    assert!(matches!(store.insert_subscription(&again).await, Err(StoreError::Duplicate { .. })));
    let later = one.updated.plus(Duration::from_millis(5));
    assert!(matches!(
        store.update_subscription(&one, later).await,
        Err(StoreError::Outdated { .. })
    ));
    assert!(!store.remove_subscription(again.id).await?);
    assert!(!store.remove_token("none").await?);
    let read = one.updated;
    store.update_subscription(&Subscription { updated: later, ..one }, read).await?;
    let url: EndpointUrl = "https://example.com/gone".parse()?;
    for change in [Intervention::Enable, Intervention::Probe] {
        store.set_circuit(&url, change, clock::now()).await?;
    }
    // The endpoint's own answer, and the service's.
    store.set_circuit(&url, Intervention::Gone, clock::now()).await?;
    store.set_circuit(&url, Intervention::Disable, clock::now()).await?;
    let (reason, fingerprint) = ("refused".to_owned(), "f".to_owned());
    let stopped = SourceStatus::Stopped { reason, fingerprint };
    store.set_source("main", &stopped, clock::now()).await?;
    let records = all(store.as_ref()).await?;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records.first().map(|one| &one.actor), Some(&Actor::default()));
    Ok(())
}

pub(super) async fn filters_and_pages_find_each_record_once(place: Place) -> Kept {
    let store = place.open().await?;
    let change = |object: &str, action| Change::new(ObjectKind::Endpoint, object, action);
    let before = clock::now();
    for number in 0..30_u32 {
        let actor = Actor { name: format!("a{}", number % 3), ..Actor::default() };
        let action = if number % 2 == 0 { Action::Enabled } else { Action::Disabled };
        store.by(&actor).record_change(&change(&format!("u{}", number % 5), action)).await?;
    }
    let count = async |filter: AuditFilter| {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let listing =
                store.audit(&AuditPage { filter: filter.clone(), after, limit: 4 }).await?;
            found.extend(listing.records.into_iter().map(|record| record.id));
            after = listing.next;
            if after.is_none() {
                break;
            }
        }
        let pages = found.len();
        assert!(found.is_sorted_by(|one, other| one > other), "the newest first");
        Ok::<_, StoreError>(pages)
    };
    let none = AuditFilter::default;
    assert_eq!(count(none()).await?, 30);
    assert_eq!(count(AuditFilter { actor: Some("a1".to_owned()), ..none() }).await?, 10);
    assert_eq!(count(AuditFilter { object: Some("u4".to_owned()), ..none() }).await?, 6);
    assert_eq!(count(AuditFilter { action: Some(Action::Disabled), ..none() }).await?, 15);
    assert_eq!(count(AuditFilter { kind: Some(ObjectKind::Token), ..none() }).await?, 0);
    assert_eq!(count(AuditFilter { since: Some(before), ..none() }).await?, 30);
    assert_eq!(count(AuditFilter { until: Some(before), ..none() }).await?, 0);
    Ok(())
}

pub(super) async fn old_and_excess_records_are_forgotten(place: Place) -> Kept {
    let store = place.open().await?;
    for number in 0..20_u32 {
        let change = Change::new(ObjectKind::Topology, number.to_string(), Action::Applied);
        store.record_change(&change).await?;
    }
    let past = clock::now().minus(Duration::from_secs(3_600));
    assert_eq!(store.prune_audit(past, 15).await?, 5);
    let left = changes(store.as_ref()).await?;
    let first = left.first().map(|(_, object)| object.as_str());
    assert_eq!((left.len(), first), (15, Some("5")));
    assert_eq!(store.prune_audit(past, 15).await?, 0);
    let ahead = clock::now().plus(Duration::from_secs(3_600));
    assert_eq!(store.prune_audit(ahead, 15).await?, 15);
    assert_eq!(changes(store.as_ref()).await?, []);
    Ok(())
}

/// Goal: of many workers one announces each change, and one that is killed loses none.
pub(super) async fn each_event_about_a_change_is_claimed_by_one(place: Place) -> Kept {
    let (one, other) = (place.open().await?, place.open().await?);
    for number in 0..40_u32 {
        let change = Change::new(ObjectKind::Topology, number.to_string(), Action::Applied);
        one.record_change(&change).await?;
    }
    let now = clock::now();
    let (since, until) = (now.minus(Duration::from_secs(60)), now.plus(Duration::from_secs(60)));
    let claim = |store: &Arc<dyn Store>| {
        let store = Arc::clone(store);
        async move { store.claim_announcements(since, now, until).await }
    };
    let (mine, theirs) = tokio::join!(claim(&one), claim(&other));
    let (mine, theirs) = (mine?, theirs?);
    let mut ids: Vec<_> = mine.iter().chain(&theirs).map(|record| record.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), mine.len() + theirs.len()), (40, 40));
    assert!(claim(&one).await?.is_empty(), "they are claimed");
    for id in ids.iter().take(30) {
        one.announced(*id, ChangeResult::Done).await?;
    }
    let left = one.claim_announcements(since, until, until.plus(Duration::from_secs(60))).await?;
    assert_eq!(left.len(), 10, "those that were not published are due again");
    Ok(())
}

pub(super) async fn a_change_elsewhere_is_begun_and_ended(place: Place) -> Kept {
    let store = place.open().await?;
    let begun = Change {
        result: ChangeResult::Begun,
        ..Change::new(ObjectKind::Parked, "all", Action::Replayed)
    };
    let id = store.by(&anna()).record_change(&begun).await?;
    let now = clock::now();
    let since = now.minus(Duration::from_secs(60));
    assert!(store.claim_announcements(since, now, now).await?.is_empty(), "it has not ended");
    let later = now.plus(Duration::from_secs(3_601));
    let claimed = store.claim_announcements(since, later, later).await?;
    assert_eq!(claimed.len(), 1, "its process may have been killed");
    let mut ended = Change { result: ChangeResult::Stopped, ..begun };
    ended.difference.insert("matched".to_owned(), json!(7));
    store.change_ended(id, &ended).await?;
    // The event about the beginning was published meanwhile.
    store.announced(id, ChangeResult::Begun).await?;
    let records = all(store.as_ref()).await?;
    assert_eq!(records, [AuditRecord { id, actor: anna(), change: ended }]);
    assert_eq!(
        store.claim_announcements(since, now, now.plus(Duration::from_secs(1))).await?.len(),
        1
    );
    Ok(())
}
