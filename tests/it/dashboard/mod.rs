//! The dashboard as users see it, in a real browser; and requests that it refuses.

mod alerting;
mod browser;
mod buttons;
mod auth;
mod editor;
mod events;
mod first_run;
mod incident;
mod lists;
mod pages;
mod plain;
mod search;
mod settings;

use serde_json::json;

use crate::{
    api::{Running, serve, start_with},
    support::{
        broker::Raw,
        eventually, holds,
        installation::{self, Installation},
        receiver::{Receiver, Reply},
    },
};

/// An installation with a dashboard and a worker, and something to look at: endpoints that are well,
/// fail and answer 410, and what was parked because of them. Everything that a publisher, a receiver
/// or a user can write has a script in it.
struct Scene {
    running: Running,
    receiver: Receiver,
    _worker: installation::Running,
}

const SCRIPT: &str =
    "<script>window.ran=1;alert('ran')</script><img src=x onerror=\"window.ran=1\">";

const SETTINGS: &str = "archive.enabled = true\n\
                        source.livestream.main.url = \"https://stream.example.com/s\"\n\
                        source.livestream.main.client_id = \"id\"\n\
                        source.livestream.main.client_secret = \"hidden\"\n";

impl Scene {
    /// Held deliveries are parked at once.
    async fn set() -> Self {
        let running = Box::pin(start_with(SETTINGS)).await;
        Box::pin(Self::of(running)).await
    }

    /// Held deliveries stay held.
    async fn holding() -> Self {
        let installation = Box::pin(Installation::with(&[50], SETTINGS)).await;
        let running = Box::pin(serve(installation)).await;
        Box::pin(Self::of(running)).await
    }

    async fn of(running: Running) -> Self {
        let receiver = Receiver::answering(|request| match request.path.as_str() {
            "/gone" => Reply::status(410),
            "/failing" => Reply::status(503).saying(SCRIPT),
            _ => Reply::status(200).saying(SCRIPT),
        })
        .await;
        let installation = &running.installation;
        let long = format!("/well/{}?{}", "%3Cscript%3Ealert(1)%3C/script%3E", "long=".repeat(60));
        for (path, topic) in [
            ("/well", "order.*"),
            ("/failing", "order.paid"),
            ("/gone", "old.#"),
            (&long, "order.*"),
        ] {
            let url = receiver.url(path);
            let draft = json!({"url": url, "topics": [topic], "description": SCRIPT});
            installation.subscribe(draft).await;
        }
        let worker = installation.start();
        let body = json!({"name": SCRIPT, "amount": 12.5}).to_string();
        for (id, topic) in [
            ("order-1", "order.paid"),
            ("order-2", "order.paid"),
            ("order-<script>alert(2)</script>", "order.paid"),
            ("old-1", "old.one"),
        ] {
            let raw = Raw::new(topic, id, body.clone()).header("x-tenant", SCRIPT);
            installation.publisher.publish(raw).await;
        }
        installation.wait_for_parked(4).await;
        Self { running, receiver, _worker: worker }
    }

    fn url(&self) -> &str {
        &self.running.base_url
    }

    /// Waits until the attempt log has as many records.
    async fn wait_for_records(&self, count: u64) {
        let store = &self.running.installation.parts.store;
        eventually(async || {
            let rows = store.attempt_log().await.expect("the store answers").rows;
            holds(rows >= count, format!("{rows} of {count} records"))
        })
        .await;
    }
}
