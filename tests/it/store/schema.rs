//! Rows that another homing, or an operator with the database's shell, may have written.

use homing_domain::{
    circuit::{Circuit, StateName},
    url::EndpointUrl,
};
use homing_store::{
    AuditFilter, AuditPage, CircuitPage, DeliveryFilter, DeliveryPage, ErrorFilter, Intervention,
    Page, RecordFilter, RecordPage, StoreError,
};

use super::{
    Kept, Place,
    attempts::records,
    circuits::{at, url},
    samples::{insert_all, subscription},
};

pub(super) async fn a_newer_schema_is_refused_with_both_versions(place: Place) -> Kept {
    place.open().await?.close().await;
    place
        .shell(
            "INSERT INTO _sqlx_migrations \
             (version, description, success, checksum, execution_time) \
             VALUES (9000, 'of the future', TRUE, '', 0)",
        )
        .await?;

    let error = place.open().await.err().ok_or("it was opened")?;

    let StoreError::Newer { found: 9000, known } = &error else { return Err(error.into()) };
    let reported = format!(
        "the store has schema version 9000, this homing knows {known} at most; \
         use the newer homing that wrote it"
    );
    assert_eq!(error.report(), reported);
    Ok(())
}

/// Goal: a store with as many versions that another program than this has made is not used.
pub(super) async fn a_schema_of_another_history_is_refused(place: Place) -> Kept {
    place.open().await?.close().await;
    place.shell("UPDATE _sqlx_migrations SET checksum = '' WHERE version = 20").await?;

    let error = place.open().await.err().ok_or("it was opened")?;

    assert!(matches!(error, StoreError::Migrate(_)), "{error}");
    assert!(error.report().contains("migration 20 was previously applied"), "{}", error.report());
    Ok(())
}

/// Goal: workers of this version go on beside a newer one, which adds columns. Method: a column more
/// in every table, between two looks of one handle; PostgreSQL refuses a prepared `SELECT *` then.
pub(super) async fn columns_that_a_newer_version_adds_are_not_read(place: Place) -> Kept {
    let store = place.open().await?;
    let one = subscription("a");
    store.insert_subscription(&one).await?;
    store.record_attempts(&records(3), None).await?;
    let look = async || {
        let page = Page { after: None, limit: 9 };
        assert_eq!(store.subscription(one.id).await?.as_ref(), Some(&one));
        assert_eq!(store.all_subscriptions().await?.subscriptions.len(), 1);
        assert_eq!(store.subscriptions(page).await?.subscriptions.len(), 1);
        assert_eq!(store.subscriptions_at(&one.spec.url, page).await?.subscriptions.len(), 1);
        store.circuit(&one.spec.url).await?;
        store.circuits(&CircuitPage { limit: 9, ..CircuitPage::default() }).await?;
        store.unsettled_circuits().await?;
        let page = RecordPage { filter: RecordFilter::default(), after: None, limit: 9 };
        let read = store.attempts(&page).await?.records;
        assert_eq!(read.len(), 3);
        for record in &read {
            assert!(store.attempt(record.id).await?.is_some());
        }
        store.records_of(&read, 9).await?;
        let page = DeliveryPage { filter: DeliveryFilter::default(), after: None, limit: 9 };
        store.deliveries(&page).await?;
        store.attempt_gaps(at(0), at(1)).await?;
        store.error_groups(&ErrorFilter { limit: 9, ..ErrorFilter::default() }).await?;
        let page = AuditPage { filter: AuditFilter::default(), after: None, limit: 9 };
        assert_eq!(store.audit(&page).await?.records.len(), 1);
        store.replays("homing", 9).await?;
        store.source("main").await?;
        store.slots("main").await?;
        Kept::Ok(())
    };
    look().await?;
    place
        .shell(
            "ALTER TABLE subscriptions ADD COLUMN of_the_future INTEGER; \
             ALTER TABLE circuits ADD COLUMN of_the_future INTEGER; \
             ALTER TABLE attempts ADD COLUMN of_the_future INTEGER; \
             ALTER TABLE attempt_gaps ADD COLUMN of_the_future INTEGER; \
             ALTER TABLE error_groups ADD COLUMN of_the_future INTEGER; \
             ALTER TABLE audit ADD COLUMN of_the_future INTEGER; \
             ALTER TABLE replays ADD COLUMN of_the_future INTEGER; \
             ALTER TABLE sources ADD COLUMN of_the_future INTEGER; \
             ALTER TABLE source_slots ADD COLUMN of_the_future INTEGER",
        )
        .await?;
    look().await
}

pub(super) async fn a_row_that_cannot_be_read_is_named_and_harms_no_other(place: Place) -> Kept {
    let store = place.open().await?;
    let all = ["a", "b", "c"].map(subscription);
    insert_all(&*store, &all).await?;
    place.shell("UPDATE subscriptions SET topics = '[]' WHERE url LIKE '%/b'").await?;

    let [first, bad, last] = all;
    let snapshot = store.all_subscriptions().await?;
    assert_eq!(snapshot.subscriptions, [first, last]);
    let [corrupt] = snapshot.corrupt.as_slice() else { return Err("not one is corrupt".into()) };
    assert_eq!((corrupt.subscription, corrupt.field.as_str()), (bad.id, "topics"));
    let listing = store.subscriptions(Page { after: None, limit: 9 }).await?;
    assert_eq!(listing.corrupt, snapshot.corrupt);
    assert!(matches!(store.subscription(bad.id).await, Err(StoreError::Corrupt(_))));
    assert!(store.remove_subscription(bad.id).await?);
    Ok(())
}

pub(super) async fn a_circuit_that_cannot_be_read_is_named_and_can_be_replaced(
    place: Place,
) -> Kept {
    let store = place.open().await?;
    for path in ["a", "b", "c"] {
        store.set_circuit(&url(path), Intervention::Disable, at(0)).await?;
    }
    place.shell("UPDATE circuits SET reason = 'boredom' WHERE url LIKE '%/b'").await?;

    let page = CircuitPage { limit: 2, ..CircuitPage::default() };
    let listing = store.circuits(&page).await?;
    assert_eq!((listing.circuits.len(), listing.corrupt.len()), (1, 1));
    assert_eq!(listing.next.as_deref(), Some(url("b").as_str()));
    assert_eq!(store.unsettled_circuits().await?.circuits.len(), 2);
    assert!(matches!(store.circuit(&url("b")).await, Err(StoreError::CorruptCircuit(_))));
    store.set_circuit(&url("b"), Intervention::Enable, at(1)).await?;
    assert_eq!(store.circuit(&url("b")).await?, Some(Circuit::new(at(1))));
    Ok(())
}

pub(super) async fn only_rows_that_can_be_named_get_in(place: Place) -> Kept {
    let store = place.open().await?;
    store.insert_subscription(&subscription("a")).await?;
    store.set_circuit(&url("a"), Intervention::Disable, at(0)).await?;
    let key = EndpointUrl::target("printer")?;
    store.set_circuit(&key, Intervention::Disable, at(0)).await?;
    assert_eq!(
        store.circuit(&key).await?.map(|circuit| circuit.state.name()),
        Some(StateName::Frozen)
    );
    for spoil in [
        "UPDATE subscriptions SET id = ''",
        "UPDATE subscriptions SET id = '01931F5A-9C4E-7000-8000-000000000001'",
        "UPDATE subscriptions SET id = '01931f5a9c4e-7000-8000-0000-00000000001'",
        "UPDATE circuits SET url = ''",
        "UPDATE circuits SET url = 'job:'",
        "UPDATE circuits SET url = 'https://example.com/ä'",
        "UPDATE circuits SET state = 'open'",
        "UPDATE circuits SET window_failures = 1",
        "UPDATE circuits SET last_outcome = 'refused 503'",
    ] {
        assert!(place.shell(spoil).await.is_err(), "{spoil}");
    }
    Ok(())
}

pub(super) async fn what_an_operator_changes_raises_the_version(place: Place) -> Kept {
    let store = place.open().await?;
    store.insert_subscription(&subscription("a")).await?;
    store.set_circuit(&url("a"), Intervention::Disable, at(0)).await?;
    let mut before = (store.subscriptions_version().await?, store.circuits_version().await?);
    for change in [
        "UPDATE subscriptions SET description = 'by hand'; \
         UPDATE circuits SET state = 'closed'",
        "UPDATE circuits SET state = 'frozen'; DELETE FROM subscriptions",
    ] {
        place.shell(change).await?;
        let after = (store.subscriptions_version().await?, store.circuits_version().await?);
        assert!(before.0 < after.0 && before.1 < after.1, "{before:?} {after:?} {change}");
        before = after;
    }
    Ok(())
}
