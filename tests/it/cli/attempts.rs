//! `homing attempts` and `homing explain`

use std::{sync::Arc, time::Duration};

use homing::config::Settings;
use homing_domain::{
    clock,
    id::{DeliveryId, EventId, SubscriptionId},
    payload::{Part, Payload, PayloadState},
    record::{AttemptEvent, Attempted, Class, Gap, NextState, Record},
    time::UnixMillis,
};
use homing_store::{MAX_ERROR_GROUPS_PER_URL, Store};
use serde_json::json;

use super::Home;

const HOOK: &str = "https://example.com/hook";

/// An attempt that an endpoint refused, with a body that a terminal would obey.
fn refused(event: &str, started: UnixMillis) -> Record {
    let event = EventId::new(event).expect("an id");
    let subscription = SubscriptionId::new(uuid::Uuid::from_u128(7));
    Record {
        id: clock::new_record_id(started),
        topic: "order.paid".to_owned(),
        recipient: Some((subscription, DeliveryId::of(&event, subscription))),
        event: event.to_string(),
        url: Some(HOOK.to_owned()),
        step: 0,
        replays: 0,
        order: Some(0),
        happened: AttemptEvent::Attempted(Attempted {
            attempt: 1,
            duration: Duration::from_millis(12),
            class: Class::Refused,
            outcome: "refused 503".to_owned(),
            status: Some(503),
            response: b"busy\n\x1b[31mred \xff".to_vec(),
            cut: true,
            cause: None,
        }),
        next_state: NextState::Waits(started.plus(Duration::from_hours(1))),
        hold: None,
        turn: None,
        as_of: None,
        payload: PayloadState::Unwanted,
    }
}

impl Home {
    async fn store(&self) -> Arc<dyn Store> {
        let url = format!("sqlite:{}", self.folder.path().join("homing.db").display());
        let settings = Settings::from_toml(&format!("store.url = \"{url}\"")).expect("settings");
        homing_store::open(&settings.store).await.expect("it opens")
    }

    async fn record(&self, records: &[Record], gap: Option<Gap>) {
        let store = self.store().await;
        store.record_attempts(records, gap.as_ref()).await.expect("it is written");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_listed_and_gaps_are_reported() {
    let home = Home::new();
    let none = home.run(&["attempts"]);
    assert_eq!(none.stderr, "The log has no attempt.\n");
    assert_eq!(none.done(), "");
    let started = UnixMillis::new(1_700_000_000_000);
    let later = started.plus(Duration::from_secs(1));
    let gap = Gap { id: clock::new_id(), from: started, until: later, missed: 3 };
    home.record(&[refused("o-7", started), refused("o-8", later)], Some(gap)).await;

    let listed = home.run(&["attempts", "--limit", "1"]);
    assert!(listed.stderr.contains("There are more: --after "), "{}", listed.stderr);
    let missing = "Missing: 3 attempts between 2023-11-14T22:13:20.000Z and \
                   2023-11-14T22:13:21.000Z were not recorded.\n";
    assert!(listed.stderr.contains(missing), "{}", listed.stderr);
    let listed = listed.done();
    let expected = "2023-11-14T22:13:21Z  order.paid  o-8          1  12 ms  refused 503  waits    \
                    2023-11-14T23:13:21Z  https://example.com/hook";
    assert_eq!(listed.lines().nth(1), Some(expected), "{listed}");

    let found = home.run(&["attempts", "--status", "503", "--event", "o-7", "--json"]).json();
    assert_eq!(found["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["attempts"][0]["response"], json!("busy\n\u{1b}[31mred \u{fffd}"));
    assert_eq!(found["attempts"][0]["response_cut"], true);
    let none = home.run(&["attempts", "--outcome", "accepted"]);
    assert!(none.stderr.starts_with("The log has no such attempt.\n"), "{}", none.stderr);
    let wrong = home.run(&["attempts", "--since", "yesterday"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.starts_with("homing: --since: `yesterday` is not an instant"));
}

/// Goal: the payload is shown, and nothing that an endpoint or a publisher wrote is obeyed.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_shown_with_its_payload_and_errors_are_counted() {
    let home = Home::new();
    let started = UnixMillis::new(1_700_000_000_000);
    let kept = Record { payload: PayloadState::Kept, ..refused("o-7", started) };
    let missed = Record { payload: PayloadState::Missed, ..refused("o-7", started) };
    let part = |name: &str, value: &str, body: &'static [u8]| Part {
        headers: vec![(name.to_owned(), value.to_owned())],
        headers_left_out: 0,
        body: body.into(),
        cut: true,
    };
    let payload = Payload {
        request: part("authorization", "****", b"{\"id\":\n 7}"),
        response: Some(part("x-a", "\u{1b}[31mred", b"\xff\x00")),
    };
    let store = home.store().await;
    store.keep_payloads(&[(kept.id, Arc::new(payload))]).await.expect("it is kept");
    store.close().await;
    let (kept_id, missed_id) = (kept.id.to_string(), missed.id.to_string());
    home.record(&[kept, missed], None).await;

    let shown = home.run(&["attempts", &kept_id]).done();
    for part in [
        "refused 503",
        "Sent: POST https://example.com/hook\n  authorization: ****\n  {\"id\":\n   7}\ncut at 10 bytes",
        "Received: 503\n  x-a: \\u{1b}[31mred\nin base64:\n  /wA=\ncut at 2 bytes",
        "  # The body is cut at 10 bytes.\n",
        "curl -sS",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let missing = home.run(&["attempts", &missed_id]).done();
    assert!(missing.contains("No payload: it was given up"), "{missing}");
    let explained = home.run(&["explain", "o-7", "--payload"]).done();
    assert!(explained.contains(&format!("Attempt 1, {kept_id}\nSent: POST")), "{explained}");
    assert!(explained.contains(&format!("Attempt 1, {missed_id}\nNo payload:")), "{explained}");
    assert_eq!(
        home.run(&["attempts", &kept_id, "--json"]).json()["payload"]["request"]["cut_at"],
        10
    );
    let unknown = home.run(&["attempts", "01a1fe88-5faa-7421-b640-95b7b0fc9977"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert_eq!(home.run(&["attempts", &kept_id, "--status", "503"]).code, 2);

    let errors = home.run(&["errors"]).done();
    assert!(errors.contains("    2  2023-11-14T22:13:20Z"), "{errors}");
    assert!(errors.contains("refused 503  busy"), "{errors}");
    assert!(errors.contains(&kept_id) || errors.contains(&missed_id), "{errors}");
    let id = home.run(&["errors", "--json"]).json()["errors"][0]["id"].clone();
    let id = id.as_str().expect("an id");
    assert!(errors.contains(id), "{errors}");
    let parked = home.run(&["parked", "list", "--error", id]);
    assert!(parked.stderr.contains("parks with an error"), "{}", parked.stderr);
    assert!(!home.run(&["parked", "list"]).stderr.contains("error"));
    assert_eq!(home.run(&["parked", "list", "--error", "refused"]).code, 2);
    assert_eq!(home.run(&["errors", "--since", "1h", "--json"]).json()["errors"], json!([]));
}

/// Goal: what is counted together has no id, and says so. Method: one text more than a URL has errors.
#[tokio::test(flavor = "multi_thread")]
async fn errors_that_are_counted_together_have_no_id() {
    let home = Home::new();
    let letter = |number: usize| char::from(b"abcdefghijk"[number]);
    let records = (0..=MAX_ERROR_GROUPS_PER_URL).map(|number| {
        let record = refused("o-7", clock::now());
        let AttemptEvent::Attempted(attempted) = record.happened else {
            unreachable!("one was made")
        };
        let response = format!("{}{}", letter(number / 10), letter(number % 10)).into_bytes();
        let happened = AttemptEvent::Attempted(Attempted { response, ..attempted });
        Record { happened, ..record }
    });
    home.record(&records.collect::<Vec<_>>(), None).await;
    let listed = home.run(&["errors", "--limit", "1000", "--json"]).json();
    let listed = listed["errors"].as_array().expect("a list");
    let together: Vec<_> = listed.iter().filter(|error| error["id"].is_null()).collect();
    assert_eq!((listed.len(), together.len()), (MAX_ERROR_GROUPS_PER_URL + 1, 1));
    assert_eq!(together[0]["outcome"], "other errors");
    let shown = home.run(&["errors", "--limit", "1000"]).done();
    assert_eq!(shown.matches("none: counted together").count(), 1, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_explained_also_where_the_broker_is_away() {
    let home = Home::new();
    home.record(&[refused("o-7", clock::now())], None).await;
    let away = ["--broker", "amqp://127.0.0.1:1", "--quiet"];
    let explained = home.run(&[&["explain", "o-7"], &away[..]].concat()).done();
    assert!(explained.starts_with(&format!("event o-7 (order.paid)\n\n{HOOK}\n")), "{explained}");
    assert!(explained.contains("  waits; attempt 1: 503 from the endpoint.\n"), "{explained}");
    assert!(explained.contains("  due at "), "{explained}");
    assert!(explained.contains("; it said: busy\\n\\u{1b}[31mred \u{fffd} …\n"), "{explained}");
    assert!(explained.contains("- more may be parked: it is not known if more"), "{explained}");
    assert!(!explained.contains('\u{1b}'), "nothing that an endpoint wrote is obeyed");

    let unknown = home.run(&["explain", "o-9"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stdout.contains("Nothing is known of what happened to it."));
    let wrong = home.run(&["explain", "o-9", "--topic", ""]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}
