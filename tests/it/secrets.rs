//! A secret reaches its endpoint and no one else.

use std::{fmt::Write as _, fs, io::Write as _, path::Path, process::Stdio};

use flate2::{Compression, write::DeflateEncoder};
use homing_domain::encryption_key::EncryptionKey;
use memchr::memmem;
use reqwest::Client;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    PATIENCE,
    broker::Raw,
    database::Database,
    eventually, holds,
    process::Site,
    receiver::{Receiver, Recorded, Reply},
};

const BEARER: &str = "bearer-that-stays-secret";
const PASSWORD: &str = "password-that-stays-secret";
/// In `Authorization`.
const BASIC: &str = "dXNlcjpwYXNzd29yZC10aGF0LXN0YXlzLXNlY3JldA==";
/// The beginning of the secret half of a key pair, and its end.
const SECRET_KEY: (&str, &str) = ("c2VjcmV0LWtleS10aGF0LWlzLTMyLWJ5dGVzLWxv", "bmc=");
/// A certificate, and the one line of its private key.
const CERTIFICATE: &str =
    include_str!("../../crates/homing-domain/src/subscription/client_certificate_sample.pem");
const PRIVATE_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
/// Of a client of an authorization server, and the token that it gets.
const CLIENT_SECRET: &str = "client-secret-that-stays-secret";
const TOKEN: &str = "oauth2-token-that-stays-secret";
const HEADER: &str = "header-that-stays-secret";
/// A value that an endpoint sends.
const COOKIE: &str = "cookie-that-stays-secret";
/// Shown to those that may see it, and kept nowhere, in clear or packed.
const BODY: &str = "{\"note\":\"body-that-stays-encrypted\"}";
/// In a header of what is parked.
const CUSTOMER: &str = "a-customer-who-stays-unknown";

#[tokio::test]
async fn secrets_are_in_no_file_log_answer_or_metric() {
    secrets_are_nowhere("", None).await;
}

#[tokio::test]
async fn secrets_are_in_no_table_of_postgresql() {
    let database = Database::new().await;
    let key = EncryptionKey::from_bytes([7; 32]).reveal();
    let store = format!("store.url = \"{}\"\nstore.encryption_keys = [\"{key}\"]", database.url());
    secrets_are_nowhere(&store, Some(&database)).await;
}

/// Goal: no secret is found where people and programs look. Method: deliveries succeed, fail and are
/// parked with logs at their most talkative; then every file and row that homing wrote and every
/// answer it gave is searched for each secret, and the endpoint shows that they were really used.
async fn secrets_are_nowhere(store: &str, database: Option<&Database>) {
    let receiver = repeating().await;
    let site = Site::new(&[50], &format!("log.level = \"debug\"\n{store}"));
    let token = text_at(&site.run(&["tokens", "create", "all", "--json"]), "/token");
    let credentials =
        [BEARER, PASSWORD, BASIC, CLIENT_SECRET, TOKEN, SECRET_KEY.0, PRIVATE_KEY, HEADER];
    let others = [CUSTOMER, COOKIE, &token];
    let mut secrets: Vec<_> = credentials.iter().chain(&others).map(ToString::to_string).collect();
    let file = |name: &str, text: String| {
        let path = site.folder.path().with_extension(name);
        fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    };
    let (basic, key) = (file("basic", format!("user:{PASSWORD}\n")), file("key", secret_key()));
    let authorized = |path: &str| match path {
        "/well" => ["--basic-file", &basic],
        _ => ["--auth-token", BEARER],
    };
    let mut ids = Vec::new();
    for path in ["/well", "/failing"] {
        let url = receiver.url(path);
        let header = format!("x-key: {HEADER}");
        let add = ["subscriptions", "create", "--json", "--url", &url, "--topic", "#"];
        let made = site.run(&[&add[..], &authorized(path)[..], &["--header", &header]].concat());
        let id = text_at(&made, "/id");
        ids.push(id.parse::<Uuid>().expect("an id is a UUID"));
        let rotated = site.run(&["subscriptions", "rotate-secret", &id, "--json"]);
        secrets.extend([made, rotated].map(|answer| text_at(&answer, "/secret")));
    }
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{PRIVATE_KEY}\n-----END PRIVATE KEY-----\n");
    let (certificate, pem) = (file("certificate", CERTIFICATE.to_owned()), file("pem", pem));
    let add = ["subscriptions", "create", "--url", "https://127.0.0.1:1/", "--topic", "nothing"];
    let more = ["--client-certificate", &certificate, "--client-key", &pem];
    site.run(&[&add[..], &more[..]].concat());
    // A key pair signs for one of them.
    let id = ids.first().expect("two were made").to_string();
    site.run(&["subscriptions", "update", &id, "--secret-file", &key]);
    let client = file("client", format!("{CLIENT_SECRET}\n"));
    let issuer = issuing().await;
    ids.extend(subscribe_with_tokens(&site, &receiver, (&issuer, &client)));
    for path in [basic, key, certificate, pem, client] {
        fs::remove_file(path).expect("it can be removed");
    }

    let log = fs::File::create(site.folder.path().join("log")).expect("a log can be written");
    let mut process = site.start_as(&["run"], Stdio::null(), log.into());
    let publisher = site.publisher().await;
    publisher.publish(Raw::new("order.paid", "e1", BODY).header("x-customer", CUSTOMER)).await;
    let requests = receiver.wait_for(5).await;
    let (with_token, others): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.path.starts_with("/oauth2"));
    let bearer = format!("Bearer {TOKEN}");
    assert!(with_token.iter().all(|it| it.header("authorization") == Some(&bearer)));
    secrets.extend(others.into_iter().flat_map(signatures));
    let base = address(site.folder.path()).await;
    wait_for_parked(&base, &token).await;

    let mut shown = shown_payloads(&site, &base, &token).await;
    shown += &shown_elsewhere(&site, &base, &token).await;
    shown += &get(&base, &format!("/endpoint?url={}", receiver.url("/failing")), &token).await;
    assert!(shown.contains("**** was wrong"), "the page of the endpoint shows its errors");
    let get = |id: &Uuid| site.run(&["subscriptions", "get", &id.to_string()]);
    shown.extend(ids.iter().map(get));
    assert!(shown.contains("`invalid_client` (**** is wrong)"), "{shown}");
    process.terminate();
    process.ended().await;

    let is_shown = |secret: &&String| shown.contains(secret.trim_start_matches("whsec_"));
    assert_eq!(secrets.iter().find(is_shown), None, "an answer shows it");
    let kept = Kept::of(site.folder.path(), database).await;
    let finds = |id: &Uuid| kept.place_of(id.as_bytes()).is_some();
    assert!(ids.iter().all(finds), "the search finds what is kept as bytes");
    are_not_in(&kept, &secrets);
}

/// Subscriptions with OAuth 2.0: one gets tokens, one is refused them. Their ids.
fn subscribe_with_tokens(
    site: &Site,
    receiver: &Receiver,
    (issuer, client): (&Receiver, &str),
) -> [Uuid; 2] {
    ["/token", "/refusing"].map(|path| {
        let token_url = issuer.url(path);
        let flags = ["--oauth2-token-url", &token_url, "--oauth2-client-secret-file", client];
        let url = receiver.url(&format!("/oauth2{path}"));
        let id = site.subscribe(&url, "#", &[&flags[..], &["--oauth2-client-id", "c"]].concat());
        id.parse().expect("an id is a UUID")
    })
}

fn are_not_in(kept: &Kept, secrets: &[String]) {
    for secret in secrets.iter().map(String::as_str).chain(["body-that-stays-encrypted"]) {
        let sought = secret.trim_start_matches("whsec_");
        assert_eq!(kept.place_of(sought.as_bytes()), None, "shows {secret}");
    }
    assert_eq!(kept.place_of(&packed(BODY)), None, "the body is packed, and not encrypted");
}

/// An endpoint that accepts at one path, and repeats what it was sent at the other.
async fn repeating() -> Receiver {
    Receiver::answering(|request| match request.path.as_str() {
        "/well" => Reply::status(200),
        path if path.starts_with("/oauth2") => Reply::status(503)
            .header("x-echo", request.header("authorization").unwrap_or_default())
            .saying("oauth2-token-that-stays-secret was wrong"),
        _ => Reply::status(503)
            .header("x-echo", format!("Bearer {BEARER}"))
            .header("set-cookie", format!("session={COOKIE}"))
            .header("location", format!("https://a.example/?session={COOKIE}"))
            .header("x-sent", request.header("webhook-signature").unwrap_or_default())
            .saying("header-that-stays-secret was wrong\nbearer-that-stays-secret"),
    })
    .await
}

/// A token endpoint that gives a token at one path, and repeats what it was sent at the other.
async fn issuing() -> Receiver {
    Receiver::answering(|request| match request.path.as_str() {
        "/token" => Reply::status(200).saying(
            "{\"access_token\":\"oauth2-token-that-stays-secret\",\"token_type\":\"Bearer\"}",
        ),
        _ => Reply::status(401).saying(
            "{\"error\":\"invalid_client\",\
             \"error_description\":\"client-secret-that-stays-secret is wrong\"}",
        ),
    })
    .await
}

/// The signatures of a request, which has the credentials of its subscription.
fn signatures(request: &Recorded) -> Vec<String> {
    let is_well = request.path == "/well";
    let sent = if is_well { format!("Basic {BASIC}") } else { format!("Bearer {BEARER}") };
    assert_eq!(request.header("authorization"), Some(&*sent));
    assert_eq!(request.header("x-key"), Some(HEADER));
    let signatures = request.header("webhook-signature").expect("it is signed");
    assert_eq!(signatures.starts_with("v1a,"), is_well, "{signatures}");
    let number = if is_well { 1 } else { 2 };
    assert_eq!(signatures.split(' ').count(), number, "both sign until the overlap ends");
    signatures.split(' ').map(str::to_owned).collect()
}

/// As operators write it.
fn secret_key() -> String {
    format!("whsk_{}{}\n", SECRET_KEY.0, SECRET_KEY.1)
}

/// The bytes with which a body begins that is packed as payloads are, and not encrypted.
fn packed(body: &str) -> Vec<u8> {
    let mut packing = DeflateEncoder::new(Vec::new(), Compression::fast());
    packing.write_all(body.as_bytes()).expect("there is room");
    packing.finish().expect("there is room")
}

/// All that was kept.
struct Kept {
    /// Files by their name.
    files: Vec<(String, Vec<u8>)>,
    /// Rows of PostgreSQL as text, bytes in hexadecimal digits.
    rows: String,
}

impl Kept {
    async fn of(folder: &Path, database: Option<&Database>) -> Self {
        let files = fs::read_dir(folder).expect("the folder can be read").map(|file| {
            let path = file.expect("the entry can be read").path();
            (path.display().to_string(), fs::read(&path).expect("the file can be read"))
        });
        let rows = match database {
            Some(database) => database.rows().await,
            None => String::new(),
        };
        Self { files: files.collect(), rows }
    }

    /// Where these bytes are.
    fn place_of(&self, sought: &[u8]) -> Option<&str> {
        let is_in = |(_, bytes): &&(String, Vec<u8>)| memmem::find(bytes, sought).is_some();
        let file = self.files.iter().find(is_in).map(|(name, _)| name.as_str());
        let mut digits = String::new();
        for byte in sought {
            write!(digits, "{byte:02x}").expect("a text takes it");
        }
        let is_row = self.rows.contains(&digits)
            || str::from_utf8(sought).is_ok_and(|text| self.rows.contains(text));
        file.or_else(|| is_row.then_some("a table"))
    }
}

/// The answers of other commands and addresses.
async fn shown_elsewhere(site: &Site, base: &str, token: &str) -> String {
    let mut shown = String::new();
    for command in [
        &["subscriptions", "list", "--json"][..],
        &["parked", "list", "--json"],
        &["tokens", "list"],
        &["keys", "list"],
        &["audit", "--json"],
        &["run", "--check"],
    ] {
        shown += &site.run(command);
    }
    for path in [
        "/v1/subscriptions",
        "/v1/parked",
        "/v1/endpoints",
        "/v1/events/e1",
        "/v1/audit",
        "/audit",
        "/event?id=e1",
        "/",
        "/metrics",
        "/readyz",
    ] {
        shown += &get(base, path, token).await;
    }
    shown
}

/// Everything that shows what attempts sent and received.
async fn shown_payloads(site: &Site, base: &str, token: &str) -> String {
    let mut shown = String::new();
    let errors = eventually(async || {
        let errors = site.run(&["errors"]);
        // Both attempts are written.
        let is_written = errors.contains("    2  ") && errors.contains("**** was wrong");
        if is_written { Ok(errors) } else { Err(errors) }
    })
    .await;
    shown += &errors;
    shown += &site.run(&["attempts"]);
    shown += &get(base, "/v1/errors", token).await;
    let explained = site.run(&["explain", "e1", "--payload"]);
    assert!(explained.contains("body-that-stays-encrypted"), "{explained}");
    assert!(explained.contains("x-echo: Bearer ****"), "{explained}");
    shown += &explained;
    let attempts: Value = json(&get(base, "/v1/attempts?outcome=failed", token).await);
    for attempt in attempts.get("attempts").and_then(Value::as_array).expect("a list") {
        let id = attempt.get("id").and_then(Value::as_str).expect("an id");
        let path = format!("/v1/attempts/{id}");
        shown += &get(base, &path, token).await;
        shown += &site.run(&["attempts", id]);
    }
    shown
}

/// Goal: an API without tokens is never open to other machines by mistake.
#[tokio::test]
async fn without_a_token_only_loopback_requests_are_accepted() {
    let site = Site::new(&[50], "");
    let run = ["run", "--role", "api", "--set", "api.listen=0.0.0.0:0"];
    let refused = site.command(&run).output().expect("the program can be run");
    assert_eq!(refused.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("`api.listen`") && errors.contains("homing tokens create"), "{errors}");

    let token = json(&site.run(&["tokens", "create", "ci", "--json"]))["token"].clone();
    let token = token.as_str().expect("a token").to_owned();
    let log = fs::File::create(site.folder.path().join("log")).expect("a log can be written");
    let mut process = site.start_as(&run, Stdio::null(), log.into());
    let base = address(site.folder.path()).await.replace("0.0.0.0", "127.0.0.1");
    let status = async |token: &str| {
        let request = client().get(format!("{base}/v1/queues")).bearer_auth(token);
        request.send().await.expect("an answer").status()
    };
    assert_eq!(status("").await, 401);
    assert_eq!(status(&token).await, 200);

    site.run(&["tokens", "delete", "ci"]);
    eventually(async || {
        let status = status(&token).await;
        holds(status == 401, format!("a deleted token is answered {status}"))
    })
    .await;
    let anonymous = client().get(format!("{base}/v1/queues")).send().await.expect("an answer");
    assert_eq!(anonymous.status(), 401, "without tokens the API stays closed");
    process.terminate();
    process.ended().await;
}

/// The text at `pointer` in an answer in JSON.
fn text_at(answer: &str, pointer: &str) -> String {
    let text = json(answer).pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    text.expect("a text")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// The API's URL, from the log in `folder`.
pub(crate) async fn address(folder: &Path) -> String {
    eventually(async || {
        let log = fs::read_to_string(folder.join("log")).expect("there is a log");
        let line = log.lines().find(|line| line.contains("api.listening"));
        let address =
            line.and_then(|line| line.split("address=").nth(1)?.split_whitespace().next());
        let address = address.map(|address| format!("http://{address}"));
        address.ok_or_else(|| format!("the API does not listen: {log}"))
    })
    .await
}

fn client() -> Client {
    // Another test may have been first.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(PATIENCE).build().expect("a client can be built")
}

/// The API's answer at `path` to a request with `token`.
pub(crate) async fn get(base: &str, path: &str, token: &str) -> String {
    let request = client().get(format!("{base}{path}")).bearer_auth(token);
    let answer = request.send().await.expect("an answer");
    answer.text().await.expect("a body")
}

async fn wait_for_parked(base: &str, token: &str) {
    eventually(async || {
        let parked = get(base, "/v1/parked", token).await;
        holds(parked.contains("exhausted"), format!("nothing is parked: {parked}"))
    })
    .await;
}
