//! One naming across doors: what a command writes with `--json` has the names that the API describes.

use serde_json::{Value, json};

use super::Home;
use crate::support::{contract, eventually, holds, receiver::Receiver};

/// With an archive and a source.
fn home() -> Home {
    let home = Home::new();
    let settings =
        std::fs::read_to_string(home.folder.path().join("homing.toml")).expect("it is there");
    let further = "[archive]\nenabled = true\n[source.livestream.main]\n\
                   url = \"https://stream.example.com/s\"\nclient_id = \"id\"\nclient_secret = \"x\"\n";
    home.write("homing.toml", format!("{settings}{further}").as_bytes());
    home
}

/// Goal: no command has a name of its own for what the API has. Method: the document of each is
/// compared with the description of the operation that answers the same.
// Receivers answer while a command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_commands_have_the_names_of_the_api() {
    let home = home();
    let receiver = Receiver::failing().await;
    let (_running, api) = home.serve(&["--role", "api", "--role", "worker"]).await;
    // Another test may have been first.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    contract::learn(&api, &client).await;
    let run = |arguments: &[&str]| home.run(&[arguments, &["--json"]].concat()).json();

    let url = receiver.url("/hook");
    let created = run(&["subscriptions", "create", "--url", &url, "--topic", "order.#"]);
    contract::check_names("POST /v1/subscriptions", &created);
    let id = created["id"].as_str().expect("an id").to_owned();
    let event = r#"{"topic":"order.paid","id":"o-7","data":{"amount":3}}"#;
    home.run_with(&["publish"], event.as_bytes()).done();
    let attempt = eventually(async || {
        let parked = run(&["parked", "list"]);
        holds(parked["total"] == 1, parked)?;
        let attempts = run(&["attempts"]);
        attempts["attempts"][0]["id"].as_str().map(str::to_owned).ok_or(attempts)
    })
    .await;
    let replay = run(&["replay", "--since", "1h", "--detach"]);
    let replay = replay["id"].as_str().expect("an id").to_owned();

    let commands: Vec<(Vec<&str>, &str)> = vec![
        (vec!["subscriptions", "list"], "GET /v1/subscriptions"),
        (vec!["subscriptions", "get", &id], "GET /v1/subscriptions/{id}"),
        (
            vec!["subscriptions", "update", &id, "--description", "x"],
            "PATCH /v1/subscriptions/{id}",
        ),
        (vec!["subscriptions", "rotate-secret", &id], "POST /v1/subscriptions/{id}/rotate-secret"),
        (vec!["endpoints", "list"], "GET /v1/endpoints"),
        (vec!["endpoints", "get", &url, "--parked"], "GET /v1/endpoints/get"),
        (vec!["endpoints", "disable", &url], "POST /v1/endpoints/disable"),
        (vec!["endpoints", "probe", &url], "POST /v1/endpoints/probe"),
        (vec!["endpoints", "enable", &url], "POST /v1/endpoints/enable"),
        (vec!["deliveries"], "GET /v1/deliveries"),
        (vec!["events"], "GET /v1/events"),
        (vec!["attempts"], "GET /v1/attempts"),
        (vec!["attempts", &attempt], "GET /v1/attempts/{id}"),
        (vec!["explain", "o-7", "--payload"], "GET /v1/events/{id}"),
        (vec!["errors"], "GET /v1/errors"),
        (vec!["topics"], "GET /v1/topics"),
        (vec!["history"], "GET /v1/history"),
        (vec!["audit"], "GET /v1/audit"),
        (vec!["ledger", "get", &id], "GET /v1/ledger/{id}"),
        (vec!["parked", "list"], "GET /v1/parked"),
        (vec!["status"], "GET /v1/status"),
        (vec!["tokens", "create", "ci"], "POST /v1/tokens"),
        (vec!["tokens", "list"], "GET /v1/tokens"),
        (vec!["replay", "list"], "GET /v1/replays"),
        (vec!["replay", "get", &replay], "GET /v1/replays/{id}"),
        (vec!["replay", "--since", "1h", "--dry-run"], "POST /v1/replays/preview"),
        (vec!["source", "list"], "GET /v1/sources"),
        (vec!["source", "get", "main"], "GET /v1/sources/{name}"),
    ];
    for (command, operation) in commands {
        contract::check_names(operation, &run(&command));
    }
    let tested = home.run(&["subscriptions", "test", &id, "--json"]);
    let tested: Value = serde_json::from_str(&tested.stdout).expect("one document");
    assert_eq!(tested["accepted"], json!(false), "{tested}");
    contract::check_names("POST /v1/subscriptions/{id}/test", &tested);
    run(&["subscriptions", "update", &id, "--verification", "handshake"]);
    let asked = home.run(&["subscriptions", "verify", &id, "--json"]);
    let asked: Value = serde_json::from_str(&asked.stdout).expect("one document");
    assert_eq!(asked["verified"], json!(false), "{asked}");
    contract::check_names("POST /v1/subscriptions/{id}/verify", &asked);
}
