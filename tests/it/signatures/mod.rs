//! Receivers verify signatures with the functions that `docs/verify.md` shows, in four languages.

mod compiled;

use std::{path::PathBuf, process::Stdio};

use homing::registry::{Created, SecretView};
use homing_domain::{
    id::SubscriptionId,
    signature::{SignatureScheme, SigningSecret},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use self::compiled::Compiled;
use crate::support::{
    PATIENCE,
    broker::Raw,
    clients,
    installation::Installation,
    receiver::{Receiver, Recorded},
};

/// The documentation for receivers.
const DOCUMENT: &str = include_str!("../../../docs/verify.md");

/// Reads a request from standard input; writes which of the keys and which secret accept it.
const NODE: &str = "
const request = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
const body = Buffer.from(request.body);
const official = (secret) => {
  try { verified(request.headers, request.body, secret); return true; } catch { return false; }
};
console.log(JSON.stringify({
  keys: request.keys.map((key) => isGenuine(request.headers, body, [key])),
  all: isGenuine(request.headers, body, request.keys),
  secrets: request.secrets.map(official),
}));
";

/// The same.
const PYTHON: &str = "
import json, sys
request = json.load(sys.stdin)
headers, body, keys = request['headers'], request['body'].encode(), request['keys']

def official(secret):
    try:
        verified(headers, body, secret)
        return True
    except Exception:
        return False

print(json.dumps({
    'keys': [is_genuine(headers, body, [key]) for key in keys],
    'all': is_genuine(headers, body, keys),
    'secrets': [official(secret) for secret in request['secrets']],
}))
";

/// The functions that the document shows in this language.
fn documented(language: &str) -> String {
    let begin = format!("\n```{language} ");
    let blocks = DOCUMENT.split(&begin).skip(1).map(|block| {
        let (_info, text) = block.split_once('\n').expect("the fence ends");
        text.split_once("\n```").expect("the block ends").0
    });
    let blocks: Vec<_> = blocks.collect();
    assert_eq!(blocks.len(), 2, "`v1` and `v1a` in {language}");
    blocks.join("\n")
}

/// Which keys and secrets accept a request, in the opinion of a receiver in each language.
struct Opinion {
    keys: Vec<bool>,
    /// With all keys at once.
    all: bool,
    secrets: Vec<bool>,
}

/// The output of a receiver that reads `input`.
async fn said(mut receiver: Command, input: &str) -> String {
    let mut running = receiver
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts (tests/setup)");
    let mut standard_input = running.stdin.take().expect("it is piped");
    standard_input.write_all(input.as_bytes()).await.expect("it reads");
    drop(standard_input);
    let ended = tokio::time::timeout(PATIENCE, running.wait_with_output()).await;
    let output = ended.expect("in time").expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

async fn opinion(receiver: Command, request: &Value) -> Opinion {
    let said = said(receiver, &request.to_string()).await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let list = |name: &str| {
        let list = said.get(name).and_then(Value::as_array).expect("a list");
        list.iter().map(|one| one.as_bool().expect("yes or no")).collect()
    };
    let all = said.get("all").and_then(Value::as_bool).expect("yes or no");
    Opinion { keys: list("keys"), all, secrets: list("secrets") }
}

fn public_key(created: &Created) -> String {
    let newest = created.subscription.spec.secrets.first().expect("it signs");
    newest.public_key().expect("it is a key pair")
}

struct Scene {
    installation: Installation,
    receiver: Receiver,
    compiled: Compiled,
}

impl Scene {
    async fn set() -> Self {
        let (installation, receiver) =
            (Installation::new(&[50]).await, Receiver::accepting().await);
        Self { installation, receiver, compiled: Compiled::build().await }
    }

    /// All receivers have the same opinion.
    async fn accepted(
        &self,
        request: &Recorded,
        body: &str,
        keys: &[&str],
        secrets: &[&str],
    ) -> Opinion {
        let compiled = self.compiled.opinions(request, body, &[keys, secrets].concat()).await;
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"]
            .map(|name| (name.to_owned(), Value::from(request.header(name).expect("it is sent"))));
        let headers = serde_json::Map::from_iter(headers);
        let request = json!({ "headers": headers, "body": body, "keys": keys, "secrets": secrets });
        let mut node = Command::new("node");
        node.args(["-e", &format!("{}\n{NODE}", documented("js"))]);
        node.env("NODE_PATH", clients().join("node_modules"));
        let python: PathBuf = clients().join("venv/bin/python");
        let mut python = Command::new(python);
        python.args(["-c", &format!("{}\n{PYTHON}", documented("python"))]);
        let (one, other) = tokio::join!(opinion(node, &request), opinion(python, &request));
        assert_eq!((&one.keys, one.all, &one.secrets), (&other.keys, other.all, &other.secrets));
        let both = [&one.keys[..], &one.secrets[..]].concat();
        assert_eq!(compiled, [both.clone(), both], "Go and Java");
        one
    }

    async fn subscribe(&self, scheme: SignatureScheme) -> Created {
        let url = self.receiver.url("/");
        let draft = json!({"url": url, "topics": ["#"], "signature_scheme": scheme});
        self.installation.subscribe(draft).await
    }

    async fn rotate(&self, id: SubscriptionId, scheme: Option<SignatureScheme>) -> Created {
        let overlap = homing::registry::OVERLAP_DEFAULT;
        let rotated = self.installation.parts.registry.rotate_secret(id, overlap, scheme).await;
        rotated.expect("it is there")
    }

    /// Has a worker deliver one event, the `number`th.
    async fn deliver(&self, number: usize) -> Recorded {
        let running = self.installation.start();
        let raw = Raw::new("t", &format!("event-{number}"), BODY);
        self.installation.publisher.publish(raw).await;
        let request = self.receiver.wait_for(number).await.pop().expect("the newest");
        running.stop().await;
        request
    }
}

const BODY: &str = "{\"größe\": 1.50}";

#[tokio::test]
async fn the_public_key_alone_verifies_and_a_rotation_overlaps() {
    let scene = Scene::set().await;
    let created = scene.subscribe(SignatureScheme::V1a).await;
    assert_eq!(created.secret, None, "the secret key is never shown");
    let old = public_key(&created);
    let request = scene.deliver(1).await;
    let stranger = SigningSecret::new(SignatureScheme::V1a, [9; 32]).expect("a key pair");
    let stranger = stranger.public_key().expect("it has one");
    let said = scene.accepted(&request, BODY, &[&stranger, &old], &[]).await;
    assert_eq!((said.keys, said.all), (vec![false, true], true));
    let forged = scene.accepted(&request, "{\"größe\": 2.50}", &[&old], &[]).await;
    assert!(!forged.all);

    let rotated = scene.rotate(created.subscription.id, None).await;
    let new = public_key(&rotated);
    assert_ne!(new, old);
    let request = scene.deliver(2).await;
    assert_eq!(scene.accepted(&request, BODY, &[&new, &old], &[]).await.keys, [true, true]);

    let expired = std::time::Duration::ZERO;
    let registry = &scene.installation.parts.registry;
    let last = registry.rotate_secret(created.subscription.id, expired, None).await;
    let last = public_key(&last.expect("it is there"));
    let request = scene.deliver(3).await;
    let said = scene.accepted(&request, BODY, &[&last, &new, &old], &[]).await;
    assert_eq!(said.keys, [true, false, false], "an overlap that has ended");
}

/// Goal: a receiver changes over from a shared secret to a key pair at any time of the overlap.
/// Method: the official libraries have the old secret, and know nothing of `v1a`.
#[tokio::test]
async fn official_libraries_accept_a_request_that_is_signed_in_both_schemes() {
    let scene = Scene::set().await;
    let created = scene.subscribe(SignatureScheme::V1).await;
    let secret = created.secret.expect("it is shown once").reveal();
    let rotated = scene.rotate(created.subscription.id, Some(SignatureScheme::V1a)).await;
    let shown: Vec<_> = rotated.subscription.spec.secrets.iter().map(SecretView::from).collect();
    assert!(shown[0].public_key.is_some() && shown[0].expires.is_none());
    assert!(shown[1].public_key.is_none() && shown[1].expires.is_some());
    let key = public_key(&rotated);

    let request = scene.deliver(1).await;
    let other = SigningSecret::from_bytes(vec![9; 24]).expect("a secret").reveal();
    let said = scene.accepted(&request, BODY, &[&key], &[&other, &secret]).await;
    assert_eq!((said.keys, said.secrets), (vec![true], vec![false, true]));
    let header = request.header("webhook-signature").expect("it is signed");
    let schemes: Vec<_> = header.split(' ').filter_map(|one| one.split(',').next()).collect();
    assert_eq!(schemes, ["v1a", "v1"]);
}
