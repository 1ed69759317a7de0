//! Subscriptions can be made, found, changed and removed; what is wrong is named.

use reqwest::Method;
use serde_json::{Value, json};

use super::{start, start_with};
use crate::support::receiver::{Receiver, Reply};

fn draft(number: u32) -> Value {
    json!({"url": format!("https://example.com/{number}"), "topics": ["order.*"]})
}

#[tokio::test]
async fn a_subscription_lives_from_post_to_delete() {
    let running = start().await;
    let draft = json!({
        "url": "https://example.com/hook",
        "topics": ["PROJ.UPDATE"],
        "filters": [{"fieldName": "name", "fieldValue": "x", "comparison": "contains"}],
        "auth_token": "0123456789",
        "headers": {"X-Team": "payroll"},
        "schedule": "fast",
    });
    let made = running.post("/v1/subscriptions", &draft).await.expect(201);
    assert!(made.body["secret"].as_str().expect("a secret").starts_with("whsec_"));
    assert_eq!(made.body["auth_token"], "****6789");
    let path = made.headers["location"].to_str().expect("text");
    assert_eq!(path, format!("/v1/subscriptions/{}", made.body["id"].as_str().expect("an id")));

    let shown = running.get(path).await.expect(200).body;
    assert_eq!(shown["url"], "https://example.com/hook");
    assert_eq!(shown["headers"], json!({"x-team": "****"}));
    assert_eq!(shown["secrets"], json!([{"secret": "****"}]));
    assert_eq!(shown["secret"], Value::Null, "a secret is shown once");

    let changes = json!({"topics": ["PROJ.#"], "schedule": null});
    let after = running.patch(path, &changes).await.expect(200).body;
    assert_eq!(after["topics"], json!(["PROJ.#"]));
    assert_eq!(after["schedule"], Value::Null);
    assert_eq!(after["auth_token"], "****6789");
    assert_eq!(running.get(path).await.expect(200).body, after);

    let removed = running.delete(path).await.expect(204);
    assert_eq!(removed.body, Value::Null);
    running.get(path).await.expect(404);
    running.patch(path, &changes).await.expect(404);
    running.delete(path).await.expect(404);
}

#[tokio::test]
async fn secrets_that_were_given_are_not_shown() {
    let running = start().await;
    let mut draft = draft(1);
    draft["secrets"] = json!(["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"]);
    let made = running.post("/v1/subscriptions", &draft).await.expect(201).body;
    assert_eq!(made.get("secret"), None);
    assert_eq!(made["secrets"], json!([{"secret": "****"}]));
}

#[tokio::test]
async fn a_secret_is_rotated_with_an_overlap() {
    let running = start().await;
    let made = running.post("/v1/subscriptions", &draft(1)).await.expect(201).body;
    let path = format!("/v1/subscriptions/{}/rotate-secret", made["id"].as_str().expect("an id"));
    let rotated = running.post(&format!("{path}?overlap=2h"), &json!({})).await.expect(200).body;
    let secret = rotated["secret"].as_str().expect("the new secret, once");
    assert!(secret.starts_with("whsec_") && rotated["secret"] != made["secret"]);
    let secrets = rotated["secrets"].as_array().expect("a list");
    assert_eq!((secrets.len(), &secrets[0]), (2, &json!({"secret": "****"})));
    assert!(secrets[1]["expires"].is_string(), "{secrets:?}");
    for overlap in ["31d", "soon"] {
        let refused = running.post(&format!("{path}?overlap={overlap}"), &json!({})).await;
        let refused = refused.expect(400).body;
        assert_eq!(refused["errors"][0]["field"], "overlap", "{refused}");
    }
}

/// Goal: requests that change different fields of one subscription at the same time do not undo each
/// other, and a secret that was just handed out signs.
#[tokio::test]
async fn changes_at_the_same_time_all_survive() {
    let running = start().await;
    let mut draft = draft(1);
    draft["secrets"] = json!([]);
    let made = running.post("/v1/subscriptions", &draft).await.expect(201).body;
    let path = format!("/v1/subscriptions/{}", made["id"].as_str().expect("an id"));
    let rotate = format!("{path}/rotate-secret");
    for number in 1..=10 {
        let (limit, description) =
            (json!({"rate_limit": number}), json!({"description": number.to_string()}));
        let none = json!({});
        let answers = tokio::join!(
            running.patch(&path, &limit),
            running.patch(&path, &description),
            running.post(&rotate, &none),
        );
        answers.0.expect(200);
        answers.1.expect(200);
        answers.2.expect(200);
        let now = running.get(&path).await.expect(200).body;
        assert_eq!(
            (&now["rate_limit"], &now["description"]),
            (&limit["rate_limit"], &description["description"])
        );
        let secrets = now["secrets"].as_array().expect("a list").len();
        assert_eq!(secrets, number.min(homing_domain::subscription::MAX_SECRETS));
    }
}

#[tokio::test]
async fn pages_hold_every_subscription_once() {
    let running = start().await;
    let mut made = Vec::new();
    for number in 0..5 {
        let answer = running.post("/v1/subscriptions", &draft(number)).await.expect(201);
        made.push(answer.body["id"].clone());
    }

    let mut listed = Vec::new();
    let mut sizes = Vec::new();
    let mut path = "/v1/subscriptions?limit=2".to_owned();
    loop {
        let page = running.get(&path).await.expect(200).body;
        assert_eq!(page.get("corrupt"), None);
        let subscriptions = page["subscriptions"].as_array().expect("a list");
        sizes.push(subscriptions.len());
        listed.extend(subscriptions.iter().map(|subscription| subscription["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/subscriptions?limit=2&after={next}");
    }
    assert_eq!(listed, made);
    assert_eq!(sizes, [2, 2, 1]);
    let all = running.get("/v1/subscriptions").await.expect(200).body;
    assert_eq!(all["subscriptions"].as_array().map(Vec::len), Some(5));
    assert_eq!(all["next"], Value::Null);
}

#[tokio::test]
async fn the_same_subscription_twice_names_the_first_one() {
    let running = start().await;
    let first = running.post("/v1/subscriptions", &draft(1)).await.expect(201).body;
    let other = running.post("/v1/subscriptions", &draft(2)).await.expect(201).body;

    let mut again = draft(1);
    again["description"] = json!("other");
    let problem = running.post("/v1/subscriptions", &again).await.expect(409).body;
    assert_eq!(problem["existing"], first["id"]);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(first["id"].as_str().expect("an id")), "{detail}");

    let path = format!("/v1/subscriptions/{}", other["id"].as_str().expect("an id"));
    let changes = json!({"url": "https://example.com/1"});
    let problem = running.patch(&path, &changes).await.expect(409).body;
    assert_eq!(problem["existing"], first["id"]);
    assert_eq!(running.get(&path).await.body["url"], "https://example.com/2");
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let running = start().await;
    let made = running.post("/v1/subscriptions", &draft(1)).await.expect(201);
    let path = made.headers["location"].to_str().expect("text");
    let filter =
        |comparison| json!([{"fieldName": "name", "fieldValue": "x", "comparison": comparison}]);
    let old_state = json!([
        {"fieldName": "n", "fieldValue": "x", "comparison": "eq", "state": "oldState"}
    ]);
    for (changes, field) in [
        (json!({"url": "nowhere"}), "url"),
        (json!({"url": 7}), "url"),
        (json!({"topics": []}), "topics"),
        (json!({"topics": ["a", "b*"]}), "topics[1]"),
        (json!({"topics": ["a", 2]}), "topics[1]"),
        (json!({"filters": filter("equals")}), "filters[0].comparison"),
        (json!({"topics": ["PROJ.CREATE"], "filters": old_state}), "filters[0].state"),
        (json!({"filter_connector": "XOR"}), "filter_connector"),
        (json!({"secrets": ["whsec_AAAA"]}), "secrets[0]"),
        (json!({"headers": {"Host": "x"}}), "headers.host"),
        (json!({"headers": {"x-count": 1}}), "headers.x-count"),
        (json!({"schedule": "slow"}), "schedule"),
        (json!({"colour": "red"}), "colour"),
    ] {
        let mut whole = draft(2);
        for (name, value) in changes.as_object().expect("an object") {
            whole[name] = value.clone();
        }
        assert_eq!(running.post("/v1/subscriptions", &whole).await.field(), field, "{whole}");
        assert_eq!(running.patch(path, &changes).await.field(), field, "{changes}");
    }
    assert_eq!(running.post("/v1/subscriptions", &json!({})).await.field(), "url");
    assert_eq!(running.patch(path, &json!({"url": null})).await.field(), "url");
    assert_eq!(running.patch(path, &json!([])).await.field(), "body");
    let listed = running.get("/v1/subscriptions").await.body;
    assert_eq!(listed["subscriptions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_test_event_is_sent_at_once_and_its_outcome_shown() {
    let running = start().await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.path == "/works" { 204 } else { 500 })
    })
    .await;
    let make = async |path: &str| {
        let draft = json!({"url": receiver.url(path), "topics": ["order.*"]});
        let made = running.post("/v1/subscriptions", &draft).await.expect(201);
        let id = made.body.get("id").and_then(Value::as_str).expect("an id").to_owned();
        format!("/v1/subscriptions/{id}/test")
    };
    let works = make("/works").await;
    let answer = running.post(&works, &json!({})).await.expect(200);
    assert_eq!(answer.body.get("accepted"), Some(&json!(true)));
    assert_eq!(answer.body.get("topic"), Some(&json!("order.test")));
    let sample = r#"{"topic": "order.paid", "body": { "a":1.0 }}"#;
    running.send(Method::POST, &works, sample).await.expect(200);
    let request = receiver.wait_for(2).await.remove(1);
    assert_eq!(request.header("x-homing-topic"), Some("order.paid"));
    assert!(request.header("webhook-signature").is_some());
    // Whatever is tested, what is signed is a test: nothing of the caller's stands where a receiver
    // looks for an event.
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let members: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!((&members[..], &body["test"]), (&["sample", "sent", "test"][..], &json!("homing")));
    assert_eq!(body["sample"], json!({"topic": "order.paid", "body": {"a": 1.0}}));
    let text = String::from_utf8_lossy(&request.body);
    assert!(text.contains(r#""body":{ "a":1.0 }"#), "as it was written: {text}");

    let fails = make("/fails").await;
    let answer = running.post(&fails, &json!({})).await.expect(200);
    assert_eq!(answer.body.get("outcome"), Some(&json!("refused 500")));
    assert_eq!(running.post(&fails, &json!({"topic": ""})).await.field(), "topic");
    let unknown = "/v1/subscriptions/01931f5a-9c4e-7000-8000-0123456789ab/test";
    assert_eq!(running.post(unknown, &json!({})).await.status, 404);
}

/// Reported: "added" and then unreadable, and a PATCH that broke a live subscription.
#[tokio::test]
async fn a_url_that_is_too_long_when_it_is_encoded_is_refused_with_both_lengths() {
    let running = start().await;
    let made = running.post("/v1/subscriptions", &draft(1)).await.expect(201);
    let path = made.headers["location"].to_str().expect("text");
    let url = format!("https://example.com/hook?name={}", "\u{65e5}".repeat(300));
    let long = json!({"url": url, "topics": ["order.*"]});
    for answer in [
        running.post("/v1/subscriptions", &long).await,
        running.patch(path, &json!({"url": url})).await,
    ] {
        assert_eq!(answer.field(), "url");
        let detail = answer.body["detail"].as_str().expect("a detail");
        assert!(
            detail.contains("2730 bytes as stored") && detail.contains("930 as typed"),
            "{detail}"
        );
    }
    let kept = running.get(path).await.expect(200).body;
    assert_eq!(kept["url"], "https://example.com/1");
}

#[tokio::test]
async fn a_subscription_that_cannot_be_read_is_named_and_can_be_mended() {
    let running = start().await;
    let made = running.post("/v1/subscriptions", &draft(1)).await.expect(201);
    let path = made.headers["location"].to_str().expect("text");
    running.installation.shell("UPDATE subscriptions SET url = 'nowhere', headers = 'x'").await;

    let problem = running.get(path).await.expect(500).body;
    assert_eq!(problem["type"], "urn:homing:problem:subscription-unreadable");
    assert_eq!(problem["subscription"], made.body["id"]);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("its events wait") && detail.contains("set this field anew"),
        "{detail}"
    );
    let ready = running.get("/readyz").await.expect(200).body;
    let warning = ready["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("1 of the subscriptions cannot be read"), "{warning}");
    let status = running.get("/v1/status").await.expect(200).body;
    let reported = &status["unreadable_subscriptions"][0];
    assert_eq!((&reported["id"], &reported["field"]), (&made.body["id"], &json!("headers")));
    let listed = running.get("/v1/subscriptions").await.expect(200).body;
    assert_eq!(listed["corrupt"][0]["id"], made.body["id"]);

    // All that cannot be read is given anew, then it is as before.
    let url = json!({"url": "https://example.com/2", "keep_secrets": true});
    assert_eq!(running.patch(path, &url).await.field(), "headers");
    let mut both = url.clone();
    both["headers"] = json!({});
    running.patch(path, &both).await.expect(200);
    let shown = running.get(path).await.expect(200).body;
    assert_eq!((&shown["url"], &shown["secrets"]), (&url["url"], &made.body["secrets"]));
    assert_eq!(running.get("/readyz").await.expect(200).body["warnings"], json!([]));
}

/// Reported: a changed URL had the stored bearer token sent to it.
#[tokio::test]
async fn another_origin_gets_no_secret_that_was_given_for_the_first() {
    let running = start().await;
    let secrets = json!(["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"]);
    let draft = json!({
        "url": "https://example.com/1", "topics": ["order.*"], "auth_token": "0123456789",
        "headers": {"x-key": "k"}, "secrets": secrets,
    });
    let made = running.post("/v1/subscriptions", &draft).await.expect(201);
    let path = made.headers["location"].to_str().expect("text");
    let anew = json!({"auth_token": "9876543210", "headers": {}, "secrets": []});
    let with = |url: &str, fields: &[&str]| {
        let mut changes = json!({"url": url});
        for field in fields {
            changes[*field] = anew[*field].clone();
        }
        changes
    };
    for url in ["http://example.com/1", "https://example.org/1", "https://example.com:8443/1"] {
        for fields in [&[][..], &["auth_token", "headers"], &["headers", "secrets"]] {
            let refused = running.patch(path, &with(url, fields)).await;
            assert_eq!(refused.field(), "url");
            let detail = refused.body["detail"].as_str().expect("a detail");
            assert!(detail.contains("keep_secrets"), "{detail}");
            let missing = ["auth_token", "headers", "secrets"].into_iter();
            for field in missing.filter(|field| !fields.contains(field)) {
                assert!(detail.contains(field), "{detail}");
            }
        }
    }
    assert_eq!(running.get(path).await.expect(200).body["url"], "https://example.com/1");
    let same = json!({"url": "https://EXAMPLE.com:443/2"});
    assert_eq!(running.patch(path, &same).await.expect(200).body["auth_token"], "****6789");
    let all = with("https://example.org/1", &["auth_token", "headers", "secrets"]);
    let changed = running.patch(path, &all).await.expect(200).body;
    assert_eq!((&changed["auth_token"], &changed["secrets"]), (&json!("****3210"), &json!([])));
    let keep = json!({"url": "https://example.net/1", "keep_secrets": true});
    assert_eq!(running.patch(path, &keep).await.expect(200).body["auth_token"], "****3210");
    let wrong = json!({"url": "https://example.com/1", "keep_secrets": "yes"});
    assert_eq!(running.patch(path, &wrong).await.field(), "keep_secrets");
}

#[tokio::test]
async fn what_would_not_be_sent_as_given_is_refused_when_it_is_given() {
    let running = start().await;
    let made = running.post("/v1/subscriptions", &draft(1)).await.expect(201);
    let path = made.headers["location"].to_str().expect("text");
    for (changes, field) in [
        (json!({"url": "http://{tenant}.example.com/"}), "url"),
        (json!({"url": "https://example.com/{tenant}/hook"}), "url"),
        (json!({"url": "https://example.com/hook#part"}), "url"),
        (json!({"url": "https://user:password@example.com/"}), "url"),
        (json!({"url": "https://a..example.com/"}), "url"),
        (json!({"headers": {"X-Team": "a", "x-team": "b"}}), "headers.x-team"),
        (json!({"headers": {"Content-Length": "5"}}), "headers.content-length"),
        (json!({"headers": {"traceparent": "00-1"}}), "headers.traceparent"),
        (json!({"auth_token": " \t "}), "auth_token"),
    ] {
        let mut whole = draft(2);
        for (name, value) in changes.as_object().expect("an object") {
            whole[name] = value.clone();
        }
        assert_eq!(running.post("/v1/subscriptions", &whole).await.field(), field, "{whole}");
        assert_eq!(running.patch(path, &changes).await.field(), field, "{changes}");
    }
}

/// Reported: an own `Accept` was taken and not sent; blanks around a value ended the connection.
#[tokio::test]
async fn what_is_taken_is_sent() {
    let running = start().await;
    let receiver = Receiver::accepting().await;
    let headers = json!({"Accept": "application/json", "x-team": " payroll\t"});
    let draft = json!({
        "url": receiver.url("/"), "topics": ["t"], "auth_token": " t0ken ", "headers": headers,
    });
    let made = running.post("/v1/subscriptions", &draft).await.expect(201);
    let path = format!("{}/test", made.headers["location"].to_str().expect("text"));
    running.post(&path, &json!({})).await.expect(200);
    let request = receiver.wait_for(1).await.remove(0);
    for (name, value) in
        [("accept", "application/json"), ("x-team", "payroll"), ("authorization", "Bearer t0ken")]
    {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn quotas_are_refused_by_the_name_of_their_setting() {
    let running = start_with("store.max_subscriptions = 2\nstore.max_filter_bytes = 200").await;
    running.post("/v1/subscriptions", &draft(1)).await.expect(201);
    let mut filtered = draft(2);
    let filter = json!({"fieldName": "a", "comparison": "eq", "fieldValue": "x".repeat(200)});
    filtered["filters"] = json!([filter]);
    let refused = running.post("/v1/subscriptions", &filtered).await;
    assert_eq!(refused.field(), "filters");
    assert!(refused.body["detail"].to_string().contains("`store.max_filter_bytes`"));
    running.post("/v1/subscriptions", &draft(2)).await.expect(201);
    let refused = running.post("/v1/subscriptions", &draft(3)).await.expect(409).body;
    assert_eq!(refused["type"], "urn:homing:problem:quota");
    assert!(refused["detail"].to_string().contains("`store.max_subscriptions`"), "{refused}");
}
