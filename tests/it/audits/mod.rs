//! Every change is on record with the one who made it, whichever way it is made.
//!
//! Each test goes through all addresses, forms or commands that there are, and fails at one that it
//! does not know: a new one has to say what it leaves on record, or that it changes nothing.

mod commands;
mod events;
mod parked;
mod requests;

use std::{fs, process::Stdio};

use reqwest::Client;
use serde_json::Value;
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use crate::{
    secrets::{address, get},
    support::{
        PATIENCE,
        process::{Process, Site},
    },
};

/// A source without a connection: no process here has the role to read it.
const SETTINGS: &str = "archive.enabled = true\n\
                        source.livestream.main.url = \"https://stream.example.com/s\"\n\
                        source.livestream.main.client_id = \"id\"\n\
                        source.livestream.main.client_secret = \"hidden\"\n";

/// The record that a request, form or command leaves.
#[derive(Clone, Copy)]
enum Leaves {
    Record(&'static str),
    /// It changes nothing.
    Nothing,
    /// One that `parked.rs`, `dashboard/buttons.rs`, `cli/apply.rs` and `cli/listen.rs` look for.
    Elsewhere,
}

/// A server of a site, with a token named `ci`.
struct Server {
    site: Site,
    base: String,
    token: String,
    client: Client,
    _process: Process,
}

impl Server {
    async fn start() -> Self {
        let site = Site::new(&[50], SETTINGS);
        let created: Value = serde_json::from_str(&site.run(&["tokens", "create", "ci", "--json"]))
            .expect("an answer in JSON");
        let token = created.get("token").and_then(Value::as_str).expect("a token").to_owned();
        let log = fs::File::create(site.folder.path().join("log")).expect("a log can be written");
        let run = ["run", "--role", "api"];
        let process = site.start_as(&run, Stdio::null(), log.into());
        let base = address(site.folder.path()).await;
        // Another test may have been first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client =
            Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        let client = client.build().expect("a client can be built");
        Self { site, base, token, client, _process: process }
    }

    /// The newest record.
    async fn newest(&self) -> Value {
        let page = get(&self.base, "/v1/audit?limit=1", &self.token).await;
        let page: Value = serde_json::from_str(&page).expect("JSON");
        page.pointer("/records/0").cloned().expect("a record")
    }
}

/// Opens all circuits of `site`, so that a probe changes something.
async fn open_circuits(site: &Site) {
    let options = SqliteConnectOptions::new().filename(site.folder.path().join("homing.db"));
    let mut shell = options.connect().await.expect("the store is there");
    let open = "UPDATE circuits SET state = 'open', probe_at_ms = 9000000000000";
    sqlx::query(open).execute(&mut shell).await.expect("the statement is sound");
    shell.close().await.expect("it can be closed");
}

/// A part of what a record says: `subscription created`.
fn what(record: &Value) -> String {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}", text("kind"), text("action"))
}
