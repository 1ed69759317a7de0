//! The examples in the description of the API are true: each is what its schema describes, and each is
//! sent, to a homing to which their names, ids and URLs are known.
//!
//! With `HOMING_WRITE_EXAMPLES=1`, the answers are written to `examples.json`.

use std::{collections::BTreeMap, fs};

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Answer, Running, start_with};
use crate::support::{
    contract, eventually, holds,
    receiver::{Receiver, Reply},
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/description/examples.json");

const SETTINGS: &str = "archive.enabled = true\n\
                        source.livestream.main.url = \"https://stream.example.com/s\"\n\
                        source.livestream.main.client_id = \"id\"\n\
                        source.livestream.main.client_secret = \"hidden\"\n";

/// All operations that have an example, in an order in which each can be sent.
const ORDER: [&str; 53] = [
    "healthz",
    "readyz",
    "create_subscription",
    "list_subscriptions",
    "get_subscription",
    "update_subscription",
    "rotate_secret",
    "test_subscription",
    "publish_event",
    "publish_batch",
    "list_attempts",
    "get_attempt",
    "list_deliveries",
    "list_events",
    "explain_event",
    "list_errors",
    "list_topics",
    "list_audit",
    "get_ledger",
    "get_history",
    "list_queues",
    "status",
    "list_endpoints",
    "get_endpoint",
    "list_parked",
    "replay_parked",
    "drop_parked",
    "disable_endpoint",
    "probe_endpoint",
    "enable_endpoint",
    "preview_replay",
    "create_replay",
    "stop_replay",
    "resume_replay",
    "get_replay",
    "list_replays",
    "list_sources",
    "get_source",
    "pause_source",
    "reset_source",
    "resume_source",
    "workfront_create",
    "workfront_list",
    "workfront_list_all",
    "workfront_get",
    "workfront_set_version",
    "workfront_set_versions",
    "workfront_delete",
    "verify_subscription",
    "delete_subscription",
    "create_token",
    "list_tokens",
    "delete_token",
];

/// The ids of the examples, by the operation whose answer has the true one.
const IDS: [(&str, &str); 3] = [
    ("create_subscription", SUBSCRIPTION),
    ("create_replay", "01931f5b-0000-7000-8000-0000000e91a7"),
    ("workfront_create", "01931f5b-1111-7000-8000-000000000f0f"),
];
const SUBSCRIPTION: &str = "01931f5a-9c4e-7000-8000-0123456789ab";
const ATTEMPT: &str = "01931f5a-a3b0-7000-8000-00000000a77e";
const URL: &str = "https://example.com/hook";

/// The homing to which the examples are sent, and what it has in place of their names.
struct Scene {
    api: Running,
    /// By the text in the examples: the true one.
    true_texts: BTreeMap<String, String>,
    token: Option<String>,
}

/// An operation of the description.
struct Operation {
    method: String,
    path: String,
    described: Value,
}

/// The operations by name.
fn operations() -> BTreeMap<String, Operation> {
    let mut found = BTreeMap::new();
    let paths = contract::document()["paths"].as_object().expect("addresses");
    for (path, methods) in paths {
        for (method, described) in methods.as_object().expect("operations") {
            let name = described["operationId"].as_str().expect("a name").to_owned();
            let (method, path) = (method.to_uppercase(), path.clone());
            found.insert(name, Operation { method, path, described: described.clone() });
        }
    }
    found
}

impl Operation {
    /// The part of the description with the answer in JSON.
    fn answer(&self) -> Option<&Value> {
        let answers = self.described.get("responses").and_then(Value::as_object).expect("answers");
        let good = answers.iter().find(|(status, _)| status.starts_with('2'));
        good.expect("an answer").1.pointer("/content/application~1json")
    }

    fn body(&self) -> Option<&Value> {
        self.described.pointer("/requestBody/content/application~1json")
    }

    /// Name, place and example of each parameter that has one.
    fn parameters(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let parameters =
            self.described.get("parameters").and_then(Value::as_array).into_iter().flatten();
        parameters.filter_map(|parameter| {
            let example = parameter.get("example")?;
            Some((parameter["name"].as_str()?, parameter["in"].as_str()?, example))
        })
    }
}

/// Goal: the examples are what their schemas describe.
fn check_examples(operations: &BTreeMap<String, Operation>) {
    let file = fs::read_to_string(FILE).expect("the examples are there");
    let file: Map<String, Value> = serde_json::from_str(&file).expect("JSON");
    let (mut listed, mut known) =
        (ORDER.to_vec(), file.keys().map(String::as_str).collect::<Vec<_>>());
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known, "say when the example of an operation can be sent");
    for (name, operation) in operations {
        let parameters =
            operation.described.get("parameters").and_then(Value::as_array).into_iter().flatten();
        for parameter in parameters {
            if let Some(example) = parameter.get("example") {
                let place = format!("{name}: parameter {}", parameter["name"]);
                contract::check_value(&place, &parameter["schema"], example);
            }
        }
        for (part, content) in [("body", operation.body()), ("answer", operation.answer())] {
            let Some(content) = content else { continue };
            if let Some(example) = content.get("example") {
                let place = format!("{name}: {part}");
                contract::check_value(&place, &content["schema"], example);
            }
        }
    }
}

impl Scene {
    async fn start(receiver: &Receiver) -> Self {
        let api = start_with(SETTINGS).await;
        let true_texts = BTreeMap::from([(URL.to_owned(), receiver.url("/hook"))]);
        Self { api, true_texts, token: None }
    }

    /// The text of an example with what is known here.
    fn known_here(&self, text: &str) -> String {
        let replace = |text: String, (from, to): (&String, &String)| text.replace(from, to);
        self.true_texts.iter().fold(text.to_owned(), replace)
    }

    /// The text with the names of the examples.
    fn as_in_examples(&self, text: &str) -> String {
        let replace = |text: String, (to, from): (&String, &String)| text.replace(from, to);
        let text = self.true_texts.iter().fold(text.to_owned(), replace);
        text.replace(self.api.installation.names().prefix(), "homing")
    }

    /// Changes what the example of an operation needs otherwise.
    async fn prepare(&self, name: &str) {
        if name == "verify_subscription" {
            let path = format!("/v1/subscriptions/{}", self.known_here(SUBSCRIPTION));
            self.api.patch(&path, &json!({"verification": "handshake"})).await.expect(200);
        }
    }

    /// Sends the example of an operation.
    async fn send(&self, operation: &Operation) -> Answer {
        let mut path = operation.path.clone();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut headers = Vec::new();
        for (name, place, example) in operation.parameters() {
            let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            let text = self.known_here(&text);
            match place {
                "path" => path = path.replace(&format!("{{{name}}}"), &text),
                "query" => {
                    query.append_pair(name, &text);
                }
                _ => headers.push((name.to_owned(), text)),
            }
        }
        let path = format!("{path}?{}", query.finish());
        let path = path.trim_end_matches('?');
        let body = operation.body().map(|body| self.known_here(&body["example"].to_string()));
        let method = Method::from_bytes(operation.method.as_bytes()).expect("a method");
        let with = |mut request: reqwest::RequestBuilder| {
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            match body {
                Some(body) => request.header("content-type", "application/json").body(body),
                None => request,
            }
        };
        self.api.answer(method, path, with).await
    }

    /// Learns from an answer what later examples need.
    async fn learn(&mut self, name: &str, answer: &Value) {
        if let Some((_, id)) = IDS.iter().find(|(operation, _)| *operation == name) {
            let found = answer["id"].as_str().expect("an id").to_owned();
            self.true_texts.insert((*id).to_owned(), found);
        }
        match name {
            "publish_batch" => self.wait_for_attempts().await,
            "create_token" => {
                self.token = answer["token"].as_str().map(str::to_owned);
                assert!(self.token.is_some(), "{answer}");
            }
            _ => {}
        }
    }

    /// Waits until what passes the filter has failed and is parked, and all counts have been written.
    async fn wait_for_attempts(&mut self) {
        let url = self.known_here(URL);
        let attempt = eventually(async || {
            let parked = self.api.get("/v1/parked").await.expect(200).body;
            let entries = parked.get("entries").and_then(Value::as_array).map(Vec::len);
            holds(entries == Some(2), parked)?;
            let listed = self.api.get("/v1/attempts?outcome=failed").await.expect(200).body;
            let id = listed.pointer("/attempts/0/id").and_then(Value::as_str).map(str::to_owned);
            let hours = self.api.get(&format!("/v1/history?url={url}")).await.expect(200).body;
            holds(hours.pointer("/hours/0").is_some(), hours)?;
            let topics = self.api.get("/v1/topics").await.expect(200).body;
            holds(topics.pointer("/topics/0").is_some(), topics)?;
            id.ok_or(listed)
        })
        .await;
        self.true_texts.insert(ATTEMPT.to_owned(), attempt);
    }
}

/// An answer as an example: lists have two members at most, and what is secret, or differs from one
/// machine to the next, is replaced.
fn example_of(name: &str, value: &Value) -> Value {
    match (name, value) {
        ("secret", Value::String(text)) if text.starts_with("whsec_") => {
            json!("whsec_ZXhhbXBsZS1vZi1hLXNlY3JldC1vZi1ob21pbmc=")
        }
        ("token", Value::String(_)) => json!("homing_EXAMPLE"),
        ("host", Value::String(_)) => json!("worker-1"),
        (_, Value::String(text)) => match text.parse::<jiff::Timestamp>() {
            Ok(_) => json!(format!("2026-01-31{}", text.get(10..).unwrap_or_default())),
            Err(_) => value.clone(),
        },
        (_, Value::Array(items)) => items.iter().take(2).map(|item| example_of("", item)).collect(),
        (_, Value::Object(members)) => {
            let member = |(name, value): (&String, &Value)| (name.clone(), example_of(name, value));
            Value::Object(members.iter().map(member).collect())
        }
        _ => value.clone(),
    }
}

#[tokio::test]
async fn every_example_is_described_and_can_be_sent() {
    let receiver = Receiver::answering(|_| Reply::status(503).saying("out of order")).await;
    let mut scene = Box::pin(Scene::start(&receiver)).await;
    scene.api.get("/healthz").await.expect(200);
    let operations = operations();
    check_examples(&operations);
    let writes = std::env::var_os("HOMING_WRITE_EXAMPLES").is_some();

    let worker = scene.api.installation.start();
    let mut answers = BTreeMap::new();
    for name in ORDER {
        let operation = &operations[name];
        scene.prepare(name).await;
        let answer = scene.send(operation).await;
        assert!((200..300).contains(&answer.status), "{name}: {} {}", answer.status, answer.body);
        scene.learn(name, &answer.body).await;
        if operation.answer().is_some() {
            answers.insert(name, answer.body);
        }
    }
    worker.stop().await;
    if writes {
        let file = fs::read_to_string(FILE).expect("the examples are there");
        let mut file: Map<String, Value> = serde_json::from_str(&file).expect("JSON");
        for (name, answer) in answers {
            let shown = scene.as_in_examples(&answer.to_string());
            let shown: Value = serde_json::from_str(&shown).expect("JSON");
            file[name]["answer"] = example_of("", &shown);
        }
        let text = serde_json::to_string_pretty(&file).expect("JSON");
        fs::write(FILE, format!("{text}\n")).expect("it can be written");
    }
}
