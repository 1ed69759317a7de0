//! Payloads of attempts are kept as the settings say, and cost no record.

use std::time::Duration;

use homing::process::Role;
use homing_domain::{
    encryption_key::EncryptionKey,
    payload::{Payload, PayloadState},
};
use sqlx::{ConnectOptions, Connection, PgConnection, sqlite::SqliteConnectOptions};

use crate::{
    attempts::{recorded, wait_for_records},
    support::{
        broker::Raw,
        database::Database,
        eventually, holds,
        installation::Installation,
        receiver::{Receiver, Reply},
    },
};

/// Goal: the settings choose which payloads are kept, and how much of them.
#[tokio::test]
async fn payloads_are_kept_as_the_settings_say() {
    for (settings, kept) in [
        ("attempts.payload_bytes = 10", [true, false]),
        ("attempts.payloads = \"all\"\nattempts.payload_bytes = 10", [true, true]),
        ("attempts.accepted_payloads_percent = 100\nattempts.payload_bytes = 10", [true, true]),
        ("attempts.payloads = \"none\"", [false, false]),
    ] {
        let installation = Installation::with(&[50], settings).await;
        let receiver = Receiver::answering(|request| {
            Reply::status(if request.attempt() == 1 { 500 } else { 200 }).saying("0123456789abc")
        })
        .await;
        installation.subscribe_all(&receiver.url("/")).await;
        let running = installation.start();
        installation.publisher.publish(Raw::new("t", "event-1", "abcdefghijklm")).await;
        let store = &*installation.parts.store;
        let records = wait_for_records(store, 2).await;
        running.stop().await;
        for (record, kept) in records.iter().zip(kept) {
            let payload = store.payload(record.id).await.expect("the store answers");
            assert_eq!(payload.is_some(), kept, "{settings}: {record:?}");
            let Some(payload) = payload else { continue };
            let Payload { request, response } = payload.expect("it can be read");
            let response = response.expect("there was an answer");
            assert_eq!((request.body.as_ref(), request.cut), (&b"abcdefghij"[..], true));
            assert_eq!((response.body.as_ref(), response.cut), (&b"0123456789"[..], true));
        }
    }
}

/// Goal: a store that keeps no payload loses no record, and says what is missing.
#[tokio::test]
async fn a_payload_that_the_store_does_not_take_costs_no_record() {
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::answering(|_| Reply::status(500)).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let file = installation.settings.store.url.strip_prefix("sqlite:").expect("a file").to_owned();
    let options = SqliteConnectOptions::new().filename(&file);
    let mut shell = options.connect().await.expect("the store is there");
    sqlx::query("DROP TABLE payload_bodies").execute(&mut shell).await.expect("it can be dropped");
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    let records = wait_for_records(&*installation.parts.store, 1).await;
    running.stop().await;
    assert_eq!(records[0].payload, PayloadState::Missed);
}

/// Goal: payloads that hang cost no record either, also at the end. Method: another connection locks
/// what only payloads need.
#[tokio::test]
async fn a_store_that_hangs_with_payloads_takes_records() {
    let database = Database::new().await;
    let key = EncryptionKey::from_bytes([7; 32]).reveal();
    let store =
        format!("store.url = \"{}\"\nstore.encryption_keys = [\"{key}\"]\n", database.url());
    let installation = Installation::with(&[60_000], &store).await;
    let receiver = Receiver::answering(|_| Reply::status(500)).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let mut lock = PgConnection::connect(&database.url()).await.expect("the store is there");
    for step in ["BEGIN", "LOCK TABLE homing.payload_totals"] {
        sqlx::query(step).execute(&mut lock).await.expect("it can be locked");
    }
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    wait_for_records(&*installation.parts.store, 1).await;
    installation.publisher.publish(Raw::new("t", "event-2", "{}")).await;
    receiver.wait_for(2).await;
    running.stop().await;
    let records = recorded(&*installation.parts.store).await;
    let states: Vec<_> = records.iter().map(|record| record.payload).collect();
    assert_eq!(states, [PayloadState::Missed; 2]);
    lock.close().await.expect("the lock ends");
}

/// Goal: where the log was switched off, what it has goes all the same.
#[tokio::test]
async fn what_was_kept_goes_while_the_log_is_off() {
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::answering(|_| Reply::status(500)).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    let store = &*installation.parts.store;
    let records = wait_for_records(store, 1).await;
    running.stop().await;
    let payload = async || store.payload(records[0].id).await.expect("the store answers");
    assert!(payload().await.is_some());
    let running = installation.start_with(&[Role::Worker], |settings| {
        settings.attempts.enabled = false;
        settings.attempts.keep = Duration::ZERO;
    });
    eventually(async || {
        let is_over = payload().await.is_none() && recorded(store).await.is_empty();
        holds(is_over, "it is kept".to_owned())
    })
    .await;
    running.stop().await;
}
