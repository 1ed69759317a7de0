//! Events are sent as CloudEvents; the official packages for Python and Node.js read them.

use std::{collections::BTreeMap, process::Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use homing_domain::subscription::EventFormat;
use serde_json::{Map, Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{
    PATIENCE,
    broker::Raw,
    clients,
    installation::Installation,
    receiver::{Receiver, Recorded, Reply},
};

/// Reads requests from standard input; writes the attributes and the data that the package reads.
const PYTHON: &str = "
import base64, json, sys
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

def read(request):
    message = HTTPMessage(request['headers'], base64.b64decode(request['body']))
    event = from_http_event(message)
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    data = event.get_data()
    if not isinstance(data, (bytes, str)):
        data = json.dumps(data)
    if isinstance(data, str):
        data = data.encode()
    return {'attributes': attributes, 'data': base64.b64encode(data).decode()}

print(json.dumps([read(request) for request in json.load(sys.stdin)]))
";

/// The same. The package leaves values of headers as they come: percent-encoded.
const NODE: &str = "
const { HTTP } = require('cloudevents');
const read = ({ headers, body }) => {
  const bytes = Buffer.from(body, 'base64');
  const isText = /json|text/.test(headers['content-type']);
  const event = HTTP.toEvent({ headers, body: isText ? bytes.toString() : bytes });
  event.validate();
  const { data, data_base64, ...rest } = event.toJSON();
  const value = (it) => ('ce-id' in headers ? decodeURIComponent(it) : it);
  const attributes = Object.entries(rest).map(([name, it]) => [name, value(String(it))]);
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  return {
    attributes: Object.fromEntries(attributes),
    data: data_base64 ?? Buffer.from(text).toString('base64'),
  };
};
const requests = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(requests.map(read)));
";

/// The attributes and the data that a package reads of each request.
async fn read(mut reader: Command, requests: &[Recorded]) -> Vec<Value> {
    let requests: Vec<_> = requests
        .iter()
        .map(|request| {
            let headers = request.headers.iter().map(|(name, value)| {
                (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes())))
            });
            let headers: Map<_, _> = headers.collect();
            json!({"headers": headers, "body": STANDARD.encode(&request.body)})
        })
        .collect();
    let mut reader = reader
        .env("NODE_PATH", clients().join("node_modules"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it can be run (tests/setup)");
    let mut stdin = reader.stdin.take().expect("it is piped");
    stdin.write_all(json!(requests).to_string().as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, reader.wait_with_output()).await;
    let output = output.expect("it ends").expect("it can be waited for");
    assert!(output.status.success(), "the package refuses a request");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn readers() -> [(&'static str, Command); 2] {
    let (mut python, mut node) =
        (Command::new(clients().join("venv/bin/python")), Command::new("node"));
    python.args(["-c", PYTHON]);
    node.args(["-e", NODE]);
    [("Python", python), ("Node.js", node)]
}

/// Data in a form in which it can be compared: JSON as a value.
fn comparable(content_type: &str, data: &[u8]) -> Value {
    let json = content_type.ends_with("json").then(|| serde_json::from_slice(data).ok());
    json.flatten().unwrap_or_else(|| STANDARD.encode(data).into())
}

/// Goal: what is sent in either mode is a CloudEvent to both official packages, with the attributes
/// and the data that were published, and signed. Method: JSON, text and bytes, with ids and topics
/// that no header can carry as they are, and data of a type by which they know another mode.
#[tokio::test]
async fn the_official_packages_read_both_modes() {
    const SOURCE: &str = "https://shop.example/orders?a=%20";
    let events: [(&str, &str, &str, &[u8]); 4] = [
        ("order.paid", "e1", "application/json", r#"{"amount": 3, "note": "ü"}"#.as_bytes()),
        ("größe.geändert", "e \"2\"", "text/plain", "grün".as_bytes()),
        ("order.paid", "e3", "image/png", b"\x89PNG\xff\x00"),
        ("order.paid", "e4", "application/cloudevents-batch+json", br#"[{"a": 1}]"#),
    ];
    let settings = format!("endpoint.cloudevents_source = \"{SOURCE}\"");
    for format in [EventFormat::CloudEventsBinary, EventFormat::CloudEventsStructured] {
        let installation = Installation::with(&[100], &settings).await;
        let receiver = Receiver::accepting().await;
        let draft = json!({"url": receiver.url("/"), "topics": ["#"], "format": format});
        let created = installation.subscribe(draft).await;
        let running = installation.start();
        for (count, (topic, id, content_type, body)) in events.into_iter().enumerate() {
            let content_type = Some(content_type.to_owned());
            let event = Raw { content_type, ..Raw::new(topic, id, body) };
            installation.publisher.publish(event).await;
            receiver.wait_for(count + 1).await;
        }
        running.stop().await;
        let requests = receiver.requests();
        for (language, reader) in readers() {
            let all = read(reader, &requests).await;
            assert_eq!(all.len(), events.len());
            for (read, (topic, id, content_type, body)) in all.iter().zip(events) {
                let attributes = &read["attributes"];
                let names = ["specversion", "id", "type", "source", "datacontenttype"];
                let found = names.map(|name| attributes[name].as_str().unwrap_or_default());
                let expected = ["1.0", id, topic, SOURCE, content_type];
                assert_eq!(found, expected, "{language}, {format}");
                assert!(attributes["time"].as_str().is_some_and(|time| time.starts_with("20")));
                let data = read["data"].as_str().expect("a text");
                let data = STANDARD.decode(data).expect("base64");
                let (data, sent) =
                    (comparable(content_type, &data), comparable(content_type, body));
                assert_eq!(data, sent, "{language}, {format}: {content_type}");
            }
        }
        let secret = created.secret.expect("a secret was made").reveal();
        let verifier = standardwebhooks::Webhook::new(&secret).expect("the secret has their form");
        // Their library takes text alone.
        for request in requests.iter().filter(|it| str::from_utf8(&it.body).is_ok()) {
            verifier.verify(&request.body, &request.headers).expect("what is sent is signed");
        }
    }
}

/// The attributes in the headers of a request in binary mode.
fn attributes(request: &Recorded) -> BTreeMap<&str, &str> {
    let headers = request.headers.keys().filter_map(|name| {
        let attribute = name.as_str().strip_prefix("ce-")?;
        Some((attribute, request.header(name.as_str())?))
    });
    headers.collect()
}

/// The requests at `path` by their ids in the order of attempts.
fn last_at(receiver: &Receiver, path: &str) -> Recorded {
    let mut requests = receiver.requests_at(path);
    assert_eq!(requests.len(), 2, "{path}: one failed");
    requests.remove(1)
}

/// Goal: an event that was published as a CloudEvent keeps its own attributes in every format, over
/// retries, and is not wrapped twice. Method: one in structured mode, and one in binary mode over
/// AMQP in each spelling; each fails once, so that it goes through a wait queue.
#[tokio::test]
async fn what_was_published_as_a_cloud_event_keeps_its_attributes() {
    let whole = r#"{"specversion": "1.0", "id": "own", "type": "own.type", "source": "/own",
        "subject": "ü", "n": 7, "data": {"a": 1.0}}"#;
    let structured = Raw {
        content_type: Some("application/cloudevents+json".to_owned()),
        ..Raw::new("t", "e1", whole)
    };
    let binary = |prefix: &str| {
        let attributes = [
            ("specversion", "1.0"),
            ("id", "own"),
            ("type", "own.type"),
            ("source", "/own"),
            ("subject", "ü"),
            ("n", "7"),
        ];
        let raw = Raw {
            content_type: Some("application/json".to_owned()),
            ..Raw::new("t", "e1", r#"{"a": 1.0}"#)
        };
        let with =
            |raw: Raw, (name, value): (&str, &str)| raw.header(&format!("{prefix}{name}"), value);
        attributes.into_iter().fold(raw, with)
    };
    for event in [structured, binary("cloudEvents:"), binary("cloudEvents_")] {
        let is_structured = event.headers.is_empty();
        let installation = Installation::new(&[50]).await;
        let receiver = Receiver::answering(|request| {
            Reply::status(if request.attempt() == 1 { 500 } else { 200 })
        })
        .await;
        for format in EventFormat::ALL {
            let url = receiver.url(&format!("/{format}"));
            let draft = json!({"url": url, "topics": ["t"], "format": format});
            installation.subscribe(draft).await;
        }
        let running = installation.start();
        let published = event.body.clone();
        installation.publisher.publish(event).await;
        receiver.wait_for(6).await;
        running.stop().await;

        let native = last_at(&receiver, "/native");
        assert_eq!((&native.body[..], attributes(&native).len()), (&published[..], 0));
        let binary = last_at(&receiver, "/cloudevents-binary");
        let expected = [
            ("id", "own"),
            ("n", "7"),
            ("source", "/own"),
            ("specversion", "1.0"),
            ("subject", "%C3%BC"),
            ("type", "own.type"),
        ];
        assert_eq!(attributes(&binary), BTreeMap::from(expected));
        assert_eq!(binary.header("content-type"), Some("application/json"));
        assert_eq!(&binary.body[..], br#"{"a": 1.0}"#);
        let sent = last_at(&receiver, "/cloudevents-structured");
        assert_eq!(sent.header("content-type"), Some("application/cloudevents+json"));
        if is_structured {
            assert_eq!(&sent.body[..], whole.as_bytes(), "byte for byte");
            continue;
        }
        let event: Value = serde_json::from_slice(&sent.body).expect("JSON");
        let (n, data) = (json!("7"), json!({"a": 1.0}));
        let expected = json!({
            "specversion": "1.0", "id": "own", "type": "own.type", "source": "/own", "subject": "ü",
            "n": n, "datacontenttype": "application/json", "data": data,
        });
        assert_eq!(event, expected);
    }
}
