//! An authorization server of a test's own: oidc-provider, with an endpoint that takes its tokens.

use std::{net::TcpListener, process::Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{clients, eventually};

/// The secret of its clients; a form encodes most of its characters.
pub(crate) const SECRET: &str = "s3cret: 100%";

/// It knows the clients `by-header` and `by-body`, which get tokens for the scope `hooks`.
pub(crate) struct OAuthServer {
    folder: TempDir,
    port: u16,
    lifetime: u32,
    process: Option<Child>,
}

/// A request that it answered.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answered {
    pub path: String,
    pub status: u16,
    pub token: Option<String>,
    pub id: Option<String>,
}

impl OAuthServer {
    /// Its tokens last for `lifetime` seconds.
    pub(crate) async fn start(lifetime: u32) -> Self {
        let mut server = Self::stopped(lifetime);
        server.begin().await;
        server
    }

    /// It does not run yet.
    pub(crate) fn stopped(lifetime: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        Self { folder, port, lifetime, process: None }
    }

    /// Begins to run; it has forgotten its tokens.
    pub(crate) async fn begin(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.file("log"));
        let errors = std::fs::File::create(self.file("errors")).expect("it can be written");
        let process = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/oauth_server.mjs"))
            .env("NODE_PATH", clients().join("node_modules"))
            .env("PORT", self.port.to_string())
            .env("LIFETIME", self.lifetime.to_string())
            .stdin(Stdio::null())
            .stdout(log.expect("it can be written"))
            .stderr(errors)
            .kill_on_drop(true)
            .spawn();
        self.process = Some(process.expect("node can be run (tests/setup)"));
        eventually(async || {
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await;
            connected.map_err(|error| {
                let errors = std::fs::read_to_string(self.file("errors")).unwrap_or_default();
                format!("{error}: {errors}")
            })
        })
        .await;
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The value of `authentication` for this client.
    pub(crate) fn credentials(&self, client: &str) -> Value {
        let method = if client == "by-body" { "client_secret_post" } else { "client_secret_basic" };
        json!({"oauth2": {
            "token_url": self.url("/token"), "client_id": client, "client_secret": SECRET,
            "scope": "hooks", "token_endpoint_auth_method": method,
        }})
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn answered(&self, path: &str) -> Vec<Answered> {
        let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        // The last line may not be whole yet.
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Answered>(line).ok());
        lines.filter(|answered| answered.path == path).collect()
    }

    /// Its answers to webhooks.
    pub(crate) fn hooks(&self) -> Vec<Answered> {
        self.answered("/hook")
    }

    /// Its answers to token requests.
    pub(crate) fn token_requests(&self) -> Vec<Answered> {
        self.answered("/token")
    }

    /// Waits until `count` webhooks were accepted.
    pub(crate) async fn wait_for_accepted(&self, count: usize) -> Vec<Answered> {
        eventually(async || {
            let hooks = self.hooks();
            let accepted = hooks.iter().filter(|hook| hook.status == 200).count();
            if accepted >= count { Ok(hooks) } else { Err(format!("{accepted} of {count}")) }
        })
        .await
    }

    /// Revokes a token, as its client does.
    pub(crate) async fn revoke(&self, token: &str) {
        // Another test may have been first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("client_id", "by-body")
            .append_pair("client_secret", SECRET)
            .finish();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client
            .post(self.url("/token/revocation"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status(), 200);
    }
}
