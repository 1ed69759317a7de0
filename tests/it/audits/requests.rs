//! Requests to the API, and forms of the dashboard.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Leaves::{self, Elsewhere, Nothing, Record},
    Server, open_circuits, what,
};

/// A request, and what it leaves on record.
struct Known {
    operation: &'static str,
    body: Value,
    leaves: Leaves,
}

fn known(operation: &'static str, body: Value, leaves: &'static str) -> Known {
    Known { operation, body, leaves: Record(leaves) }
}

fn harmless(operation: &'static str) -> Known {
    Known { operation, body: Value::Null, leaves: Nothing }
}

fn elsewhere(operation: &'static str) -> Known {
    Known { operation, body: Value::Null, leaves: Elsewhere }
}

const WORKFRONT: &str = "/attask/eventsubscription/api/v1/subscriptions";

/// In an order in which each can be done. `{id}` is what was created last.
fn api(url: &str) -> Vec<Known> {
    let workfront = json!({
        "objCode": "TASK", "eventType": "UPDATE", "url": format!("{url}w"), "authToken": "abcdefgh",
    });
    vec![
        known(
            "POST /v1/subscriptions",
            json!({"url": url, "topics": ["order.#"]}),
            "subscription created",
        ),
        known("PATCH /v1/subscriptions/{id}", json!({"description": "x"}), "subscription updated"),
        known("POST /v1/subscriptions/{id}/rotate-secret", Value::Null, "subscription updated"),
        harmless("POST /v1/subscriptions/{id}/test"),
        elsewhere("POST /v1/subscriptions/{id}/verify"),
        known("POST /v1/endpoints/disable", json!({"url": url}), "endpoint disabled"),
        known("POST /v1/endpoints/probe", json!({"url": url}), "endpoint probed"),
        known("POST /v1/endpoints/enable", json!({"url": url}), "endpoint enabled"),
        elsewhere("POST /v1/parked/replay"),
        elsewhere("POST /v1/parked/drop"),
        known("POST /v1/tokens", json!({"name": "cd", "scope": "read"}), "token created"),
        known("DELETE /v1/tokens/{name}", Value::Null, "token deleted"),
        known("POST /v1/sources/{name}/pause", json!({}), "source paused"),
        known("POST /v1/sources/{name}/resume", json!({}), "source resumed"),
        known("POST /v1/sources/{name}/reset", json!({"to": "largest"}), "source reset"),
        known("DELETE /v1/subscriptions/{id}", Value::Null, "subscription deleted"),
        harmless("POST /v1/replays/preview"),
        known(
            "POST /v1/replays",
            json!({"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:00:01Z"}),
            "replay created",
        ),
        known("POST /v1/replays/{id}/stop", Value::Null, "replay stopped"),
        known("POST /v1/replays/{id}/resume", Value::Null, "replay resumed"),
        known(
            "POST /attask/eventsubscription/api/v1/subscriptions",
            workfront,
            "subscription created",
        ),
        known(
            "PUT /attask/eventsubscription/api/v1/subscriptions/{id}/version",
            json!({"version": "v1"}),
            "subscription updated",
        ),
        known(
            "PUT /attask/eventsubscription/api/v1/subscriptions/version",
            json!({"allCustomerSubscriptions": true, "version": "v2"}),
            "subscription updated",
        ),
        known(
            "DELETE /attask/eventsubscription/api/v1/subscriptions/{id}",
            Value::Null,
            "subscription deleted",
        ),
        harmless("POST /v1/events"),
        harmless("POST /v1/batches"),
    ]
}

#[tokio::test]
async fn every_request_that_changes_something_is_on_record() {
    let server = Server::start().await;
    let known = api("https://example.com/hook");
    assert_all_are_known(&server, &known).await;
    let mut id = String::new();
    for Known { operation, body, leaves } in known {
        let Record(leaves) = leaves else { continue };
        if leaves == "endpoint probed" {
            open_circuits(&server.site).await;
        }
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let path = path.replace("{id}", &id).replace("{name}", name_in(operation));
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = server.client.request(method, format!("{}{path}", server.base));
        let request = request.bearer_auth(&server.token).header("x-request-id", operation);
        let request = if body.is_null() {
            request
        } else {
            request.header("content-type", "application/json").body(body.to_string())
        };
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let answer = answer.text().await.unwrap_or_default();
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        assert!(status.is_success(), "{operation}: {status} {answer}");
        if let Some(created) = answer["id"].as_str() {
            created.clone_into(&mut id);
        }

        let record = server.newest().await;
        assert_eq!(what(&record), leaves, "{operation}: {record}");
        assert_eq!(record["actor"], "ci", "{operation}: {record}");
        assert_eq!(record["request"], operation, "{record}");
        assert_eq!(record["address"], "127.0.0.1", "{record}");
        assert_eq!(record["result"], "done", "{record}");
        let via = if path.starts_with(WORKFRONT) { "workfront" } else { "api" };
        assert_eq!(record["via"], via, "{operation}: {record}");
    }
}

/// The value of `{name}` in the address of an operation.
fn name_in(operation: &str) -> &'static str {
    if operation.contains("/tokens/") { "cd" } else { "main" }
}

/// Every operation that may change something is in the list, and nothing else.
async fn assert_all_are_known(server: &Server, known: &[Known]) {
    let answer = server.client.get(format!("{}/openapi.json", server.base)).send().await;
    let document = answer.expect("an answer").text().await.expect("a body");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let mut described = Vec::new();
    for (path, item) in document.get("paths").and_then(Value::as_object).expect("addresses") {
        for method in item.as_object().expect("operations").keys() {
            if method != "get" && method != "parameters" {
                described.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let mut listed: Vec<_> = known.iter().map(|known| known.operation.to_owned()).collect();
    described.sort_unstable();
    listed.sort_unstable();
    assert_eq!(described, listed, "say what a new operation leaves on record");
}

/// A form, its fields, and what it leaves on record.
type Form = (&'static str, &'static str, Leaves);

/// In an order in which each can be sent. `{id}` is what was created last.
const FORMS: [Form; 27] = [
    (
        "/subscriptions",
        "url=https://example.com/hook&topics=order.%23&signed=1",
        Record("subscription created"),
    ),
    (
        "/subscriptions/{id}",
        "url=https://example.com/hook&topics=order.paid",
        Record("subscription updated"),
    ),
    ("/subscriptions/{id}/test", "", Nothing),
    ("/subscriptions/{id}/verify", "", Elsewhere),
    ("/subscriptions/{id}/rotate", "", Record("subscription updated")),
    ("/endpoint/disable", "url=https://example.com/hook", Record("endpoint disabled")),
    ("/endpoint/probe", "url=https://example.com/hook", Record("endpoint probed")),
    ("/endpoint/enable", "url=https://example.com/hook", Record("endpoint enabled")),
    ("/endpoint/pause", "url=https://example.com/hook&for=1h", Record("endpoint paused")),
    ("/endpoint/undo", "", Elsewhere),
    ("/endpoints/selected", "", Nothing),
    ("/endpoints/set", "action=disable&count=1&shown=9999999999999", Record("endpoint disabled")),
    ("/sources/{name}/pause", "", Record("source paused")),
    ("/sources/{name}/resume", "", Record("source resumed")),
    ("/sources/{name}/reset", "to=largest", Record("source reset")),
    ("/subscriptions/{id}/delete", "sure=1", Record("subscription deleted")),
    (
        "/alerting",
        "receiver=slack&url=https://example.com/slack&endpoints=1",
        Record("subscription created"),
    ),
    ("/alerting/try", "", Nothing),
    ("/tokens", "name=main&scope=read", Record("token created")),
    ("/tokens/{name}/revoke", "sure=1", Record("token deleted")),
    ("/replays", "since=2020-01-01T00:00&until=2020-01-01T00:01", Record("replay created")),
    ("/replays/{id}/stop", "", Record("replay stopped")),
    ("/replays/{id}/resume", "", Record("replay resumed")),
    ("/parked/jobs", "", Elsewhere),
    ("/parked/jobs/{id}/go", "", Elsewhere),
    ("/parked/jobs/{id}/stop", "", Nothing),
    ("/logout", "", Nothing),
];

#[tokio::test]
async fn every_form_that_changes_something_is_on_record() {
    let routes = include_str!("../../../src/dashboard/mod.rs");
    let routes = routes.lines().filter(|line| line.contains("post(") && !line.contains("/login"));
    let mut sent: Vec<_> =
        routes.map(|line| line.split('"').nth(1).expect("a path in quotes").to_owned()).collect();
    let mut listed: Vec<_> = FORMS.iter().map(|(path, ..)| (*path).to_owned()).collect();
    sent.sort_unstable();
    listed.sort_unstable();
    assert_eq!(sent, listed, "say what a new form leaves on record");

    let server = Server::start().await;
    let mut id = String::new();
    for (path, fields, leaves) in FORMS {
        let Record(leaves) = leaves else { continue };
        if leaves == "endpoint probed" {
            open_circuits(&server.site).await;
        }
        let path = path.replace("{id}", &id).replace("{name}", "main");
        let request = server.client.post(format!("{}{path}", server.base));
        let request = request.bearer_auth(&server.token).header("sec-fetch-site", "same-origin");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(fields).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert!(status.is_success() || status.is_redirection(), "{path}: {status} {text}");

        let record = server.newest().await;
        assert_eq!(what(&record), leaves, "{path}: {record}");
        assert_eq!((&record["actor"], &record["via"]), (&json!("ci"), &json!("dashboard")));
        if leaves.ends_with(" created") {
            record["object"].as_str().expect("an id").clone_into(&mut id);
        }
    }
}
