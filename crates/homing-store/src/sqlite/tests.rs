//! Promises of a SQLite store only; the promises of every store are in `tests/it/store`.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Row, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::*;
use crate::{
    CircuitPage, Intervention, Page, Store, SubscriptionStore, statement::sql,
    subscriptions::Quotas,
};
use homing_domain::{
    circuit::{CircuitRules, EndedProbe},
    clock,
    id::SubscriptionId,
    outcome::Outcome,
    subscription::{Draft, Subscription},
    tally::Tally,
    url::EndpointUrl,
};

/// A folder for one database file.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The reason why `name` in this folder cannot be opened; the folder is shown as `…`.
    async fn refusal(&self, name: &str) -> String {
        let error = SqliteStore::open(&self.file(name), None, Quotas::NONE).await.err().unwrap();
        error.report().replace(self.0.path().to_str().unwrap(), "…")
    }

    /// Runs SQL as an operator does with the sqlite3 shell.
    async fn shell(&self, name: &str, sql: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.file(name));
        let mut connection = options.create_if_missing(true).connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

fn subscription(path: &str) -> Subscription {
    let draft = json!({
        "url": format!("https://example.com/{path}"),
        "topics": ["order.*"],
        "auth_token": "token-that-no-one-may-see",
        "secrets": ["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
        "headers": {"x-key": "header-that-no-one-may-see"},
    });
    let spec = serde_json::from_value::<Draft>(draft).unwrap().build(&[]).unwrap();
    let now = clock::now();
    Subscription { id: SubscriptionId::new(clock::new_id()), spec, created: now, updated: now }
}

#[tokio::test]
async fn files_that_cannot_be_a_store_are_refused_by_name() {
    let place = Place::new();
    std::fs::write(place.file("notes.txt"), "not a database, whatever its name may say").unwrap();
    std::fs::create_dir(place.file("folder")).unwrap();
    place.shell("other.db", "CREATE TABLE theirs (x)").await;
    place.shell("marked.db", "PRAGMA application_id = 7").await;

    let mut refusals = Vec::new();
    for name in
        ["none/homing.db", "notes.txt/homing.db", "notes.txt", "folder", "other.db", "marked.db"]
    {
        refusals.push(place.refusal(name).await);
    }
    insta::assert_snapshot!(refusals.join("\n"), @r"
    the folder of …/none/homing.db in `store.url` cannot be used; create it first: No such file or directory (os error 2)
    the folder of …/notes.txt/homing.db in `store.url` cannot be used; create it first: not a directory
    …/notes.txt is not a database; `store.url` must name a file of homing's own
    cannot write …/folder; `store.url` must name a file in a folder that homing may write to: error returned from database: (code: 14) unable to open database file
    …/other.db is the database of another program; `store.url` must name a file of homing's own
    …/marked.db is the database of another program; `store.url` must name a file of homing's own
    ");
}

/// Goal: a mistyped setting does no harm. Method: the other program's file keeps its bytes.
#[tokio::test]
async fn a_file_that_is_refused_is_left_as_it_was() {
    let place = Place::new();
    place.shell("other.db", "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").await;
    let before = std::fs::read(place.file("other.db")).unwrap();

    place.refusal("other.db").await;

    assert_eq!(std::fs::read(place.file("other.db")).unwrap(), before);
}

#[tokio::test]
async fn a_setting_that_names_no_file_is_refused() {
    for file in ["", "//", ":memory:", "homing.db?mode=ro"] {
        let error = SqliteStore::open(file, None, Quotas::NONE).await.err().unwrap();
        assert!(matches!(error, StoreError::Settings(_)), "{file}: {error}");
    }
}

/// Goal: a worker and a command started at once both come up. Method: twelve handles on a file
/// that none of them finds.
#[tokio::test(flavor = "multi_thread")]
async fn many_may_create_one_store_at_the_same_time() {
    for _round in 0..3 {
        let place = Place::new();
        let file = place.file("homing.db");
        for opened in join_all((0..12).map(|_| SqliteStore::open(&file, None, Quotas::NONE))).await
        {
            opened.unwrap().check().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_commit_reaches_the_disk_but_those_of_figures_once_a_second() {
    const SYNCHRONOUS: &str = "PRAGMA synchronous";
    let place = Place::new();
    let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
    for pool in [&store.backend.writer, &store.backend.readers] {
        let pragma = async |text: &'static str| sqlx::query(text).fetch_one(pool).await.unwrap();
        assert_eq!(pragma("PRAGMA journal_mode").await.get::<String, _>(0), "wal");
        assert_eq!(pragma(SYNCHRONOUS).await.get::<i64, _>(0), 2, "FULL");
        assert_eq!(pragma("PRAGMA foreign_keys").await.get::<i64, _>(0), 1);
    }
    let synchronous = async |mut transaction: Tx<Sqlite>| {
        let (level,): (i64,) = sql(SYNCHRONOUS).one(&mut transaction).await.unwrap();
        level
    };
    let mut levels = Vec::new();
    for is_relaxed in [true, true, false, true] {
        let begun = if is_relaxed { store.begin_relaxed().await } else { store.begin().await };
        levels.push(synchronous(begun.unwrap()).await);
    }
    assert_eq!(levels, [2, 1, 2, 1]);
    // Longer than the interval.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(synchronous(store.begin_relaxed().await.unwrap()).await, 2);
}

/// Goal: one bad row harms no other, is named, and can be removed. Method: every column is spoilt
/// in turn, as by an operator with the sqlite3 shell.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_harms_no_other() {
    let mut reasons = Vec::new();
    for spoil in [
        "UPDATE subscriptions SET url = 'nowhere' WHERE rowid = 2",
        "UPDATE subscriptions SET topics = '[]' WHERE rowid = 2",
        "UPDATE subscriptions SET topics = '[\"a\", \"b*\"]' WHERE rowid = 2",
        "UPDATE subscriptions SET filters = '[{}]' WHERE rowid = 2",
        "UPDATE subscriptions SET filters = '{\"a\": ' WHERE rowid = 2",
        "UPDATE subscriptions SET filter_connector = 'XOR' WHERE rowid = 2",
        "UPDATE subscriptions SET auth_token = 'token-that-no-one-may-see' WHERE rowid = 2",
        "UPDATE subscriptions SET authentication = auth_token WHERE rowid = 2",
        "UPDATE subscriptions SET secrets = substr(secrets, 1, 40) WHERE rowid = 2",
        "UPDATE subscriptions SET headers = secrets WHERE rowid = 2",
        "UPDATE subscriptions SET headers = 'v1.0123456789abcdef.AAAA' WHERE rowid = 2",
        "UPDATE subscriptions SET description = CAST(x'ff' AS TEXT) WHERE rowid = 2",
    ] {
        let place = Place::new();
        let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
        let all = ["a", "b", "c"].map(subscription);
        for one in &all {
            store.insert_subscription(one).await.unwrap();
        }
        place.shell("homing.db", spoil).await;

        let [first, bad, last] = all;
        let snapshot = store.all_subscriptions().await.unwrap();
        assert_eq!(snapshot.version, 4, "workers notice what the shell did");
        assert_eq!(snapshot.subscriptions, [first, last]);
        let listing = store.subscriptions(Page { after: None, limit: 9 }).await.unwrap();
        assert_eq!(listing.corrupt, snapshot.corrupt);
        assert_eq!(snapshot.corrupt.len(), 1);
        assert_eq!(snapshot.corrupt[0].subscription, bad.id);
        let error = store.subscription(bad.id).await.unwrap_err();
        reasons.push(error.report().replace(&bad.id.to_string(), "…"));
        assert!(store.remove_subscription(bad.id).await.unwrap());
        store.close().await;
    }
    let reasons = reasons.join("\n");
    assert!(!reasons.contains("no-one-may-see"), "{reasons}");
    insta::assert_snapshot!(reasons, @"
    subscription … cannot be read, and its events wait: `url`: not a URL: it has no `https://` in front; write it as https://host/path; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `topics`: is empty; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `topics[1]`: `b*` mixes a wildcard with other characters; a wildcard is a whole word between dots: `*` is exactly one word, `#` is zero or more, as in `TASK.*` or `order.#`; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `filters[0].fieldName`: is missing; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `filters`: is not a list; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `filter_connector`: is neither AND nor OR; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `auth_token`: is not encrypted; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `authentication`: cannot be decrypted: it was changed, or belongs to another row; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `secrets`: cannot be decrypted: it was changed, or belongs to another row; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `headers`: cannot be decrypted: it was changed, or belongs to another row; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `headers`: is encrypted with key 0123456789abcdef, which is not among `store.encryption_keys`; set this field anew (`homing subscriptions update`), or remove the subscription
    subscription … cannot be read, and its events wait: `description`: invalid utf-8 sequence of 1 bytes from index 0; set this field anew (`homing subscriptions update`), or remove the subscription
    ");
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let place = Place::new();
    let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
    store.insert_subscription(&subscription("a")).await.unwrap();
    for name in ["homing.db", "homing.db-wal", "homing.db-shm"] {
        let mode = std::fs::metadata(place.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[tokio::test]
async fn the_schema_lets_only_ids_in() {
    let place = Place::new();
    let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
    store.insert_subscription(&subscription("a")).await.unwrap();
    for id in
        ["", "01931F5A-9C4E-7000-8000-000000000001", "01931f5a9c4e-7000-8000-0000-00000000001"]
    {
        let update = sqlx::query("UPDATE subscriptions SET id = ?1").bind(id);
        assert!(update.execute(&store.backend.writer).await.is_err(), "{id}");
    }
}

/// Goal: a write that SQLite itself rolls back, as it does on a full disk, spoils none that
/// follows.
#[tokio::test]
async fn a_transaction_that_sqlite_ends_spoils_no_other() {
    let place = Place::new();
    let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON subscriptions \
                BEGIN SELECT RAISE(ROLLBACK, 'no room'); END";
    place.shell("homing.db", full).await;
    for _ in 0..3 {
        store.insert_subscription(&subscription("a")).await.unwrap_err();
    }
    place.shell("homing.db", "DROP TRIGGER full").await;
    store.insert_subscription(&subscription("a")).await.unwrap();
}

/// Goal: one bad circuit harms no other, is named, and an operator can replace it. Method: every
/// column that the schema does not guard is spoilt in turn; for the others its checks are off.
#[tokio::test]
async fn a_circuit_that_cannot_be_read_is_named_and_harms_no_other() {
    let mut reasons = Vec::new();
    for spoil in [
        "UPDATE circuits SET reason = '{\"reason\": \"boredom\"}' WHERE url LIKE '%b?%'",
        "UPDATE circuits SET last_outcome = CAST(x'ff' AS TEXT) WHERE url LIKE '%b?%'",
        "PRAGMA ignore_check_constraints = ON; \
         UPDATE circuits SET state = 'ajar' WHERE url LIKE '%b?%'",
        "PRAGMA ignore_check_constraints = ON; \
         UPDATE circuits SET probe_at_ms = NULL WHERE url LIKE '%b?%'",
        "PRAGMA ignore_check_constraints = ON; \
         UPDATE circuits SET failures = -1 WHERE url LIKE '%b?%'",
    ] {
        let place = Place::new();
        let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
        let rules = CircuitRules::default();
        let now = clock::now();
        let failed = Outcome::Refused { status: 503, retry_after: None };
        let dead = (0..101).fold(Tally::default(), |sum, _| sum.merge(Tally::of(&failed, now)));
        let urls = ["a", "b?key=that-no-one-may-see", "c"]
            .map(|path| format!("https://example.com/{path}").parse::<EndpointUrl>().unwrap());
        let tallies = urls.clone().map(|url| (url, dead.clone()));
        store.merge_tallies(&tallies, &rules, now).await.unwrap();
        place.shell("homing.db", spoil).await;

        let [_, bad, last] = &urls;
        let merged = store.merge_tallies(&tallies, &rules, now).await.unwrap();
        assert_eq!((merged.circuits.len(), merged.corrupt.len()), (2, 1));
        assert_eq!(merged.circuits[1].0, *last);
        let page = CircuitPage { limit: 2, ..CircuitPage::default() };
        let listing = store.circuits(&page).await.unwrap();
        assert_eq!(
            (listing.corrupt, listing.next.as_deref()),
            (merged.corrupt, Some(bad.as_str()))
        );
        assert_eq!(store.unsettled_circuits().await.unwrap().circuits.len(), 2);
        let probe = EndedProbe { outcome: &failed, ended: now, claimed_in: now };
        for error in [
            store.claim_probe(bad, &rules, now).await.unwrap_err(),
            store.probe_ended(bad, &probe, &rules).await.unwrap_err(),
            store.circuit(bad).await.unwrap_err(),
        ] {
            assert!(
                matches!(&error, StoreError::CorruptCircuit(corrupt) if corrupt.url == bad.as_str())
            );
            reasons.push(error.report());
        }
        store.set_circuit(bad, Intervention::Enable, now).await.unwrap();
        assert_eq!(store.circuit(bad).await.unwrap(), Some(Circuit::new(now)));
        store.close().await;
    }
    reasons.dedup();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    the circuit of https://example.com/b cannot be read, enable or disable this URL to replace it: `reason`: is not a reason
    the circuit of https://example.com/b cannot be read, enable or disable this URL to replace it: `last_outcome`: invalid utf-8 sequence of 1 bytes from index 0
    the circuit of https://example.com/b cannot be read, enable or disable this URL to replace it: `state`: `ajar` is not a state; one of closed, open, frozen
    the circuit of https://example.com/b cannot be read, enable or disable this URL to replace it: `probe_at_ms`: is missing
    the circuit of https://example.com/b cannot be read, enable or disable this URL to replace it: `failures`: is negative
    ");
}

#[tokio::test]
async fn the_schema_lets_only_circuits_in_that_can_be_named() {
    let place = Place::new();
    let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
    let url = "https://example.com/a".parse().unwrap();
    store.set_circuit(&url, Intervention::Disable, clock::now()).await.unwrap();
    for spoil in [
        "UPDATE circuits SET url = ''",
        "UPDATE circuits SET url = 'https://example.com/ä'",
        "UPDATE circuits SET url = CAST(x'68747470733a2f2fff' AS TEXT)",
        "UPDATE circuits SET state = 'open'",
        "UPDATE circuits SET window_failures = 1",
        "UPDATE circuits SET last_outcome = 'refused 503'",
    ] {
        assert!(sqlx::query(spoil).execute(&store.backend.writer).await.is_err(), "{spoil}");
    }
    place.shell("homing.db", "UPDATE circuits SET url = 'https://example.com:443/a'").await;
    let unsettled = store.unsettled_circuits().await.unwrap();
    insta::assert_snapshot!(unsettled.corrupt[0], @"the circuit of https://example.com:443/a cannot be read, enable or disable this URL to replace it: `url`: is not normalised");
}

/// Goal: an upgrade leaves no secret in clear. Method: the file is put into the state that a homing
/// without encryption left behind.
#[tokio::test]
async fn what_was_kept_in_clear_is_encrypted_when_the_file_is_opened() {
    let place = Place::new();
    let one = subscription("a");
    let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
    store.insert_subscription(&one).await.unwrap();
    store.close().await;
    let clear = "UPDATE subscriptions SET auth_token = 'token-that-no-one-may-see', \
                 secrets = '[\"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]', \
                 headers = '{\"x-key\": \"header-that-no-one-may-see\"}'; \
                 DELETE FROM encryption_keys";
    place.shell("homing.db", clear).await;

    let store = SqliteStore::open(&place.file("homing.db"), None, Quotas::NONE).await.unwrap();
    assert_eq!(store.subscription(one.id).await.unwrap(), Some(one));
    let kept = "SELECT auth_token || secrets || headers FROM subscriptions";
    let kept: String = sqlx::query_scalar(kept).fetch_one(&store.backend.readers).await.unwrap();
    assert!(kept.starts_with("v1.") && !kept.contains("whsec") && !kept.contains("see"), "{kept}");
}
