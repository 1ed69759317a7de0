//! Identity, the installation's name and colour, and tokens.

use reqwest::Client;
use serde_json::Value;

use super::browser::{Browser, Look};
use crate::{
    api::{Running, start_with},
    support::{eventually, holds},
};

const TOKEN: &str = "a-token-for-writing-0123456789";

async fn status(client: &Client, running: &Running, token: &str) -> u16 {
    let request = client.get(format!("{}/v1/queues", running.base_url)).bearer_auth(token);
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_who_is_logged_in_and_where() {
    let settings =
        format!("api.tokens = [\"{TOKEN}\"]\napi.name = \"production\"\napi.colour = \"red\"\n");
    let running = Box::pin(start_with(&settings)).await;
    let browser = Browser::open(&running.base_url).await;
    browser.without_scripts().await;
    browser.go("/").await;
    browser.see("#site", "production").await;
    assert_eq!(browser.count("#who").await, 0, "no one is logged in");
    browser.fill("#token", TOKEN).await;
    browser.follow("button#login").await;
    for path in ["/", "/endpoints", "/tokens", "/audit", "/subscriptions/none", "/replays"] {
        browser.go(path).await;
        browser.see("#who", "api.tokens").await;
        browser.see("#site", "production").await;
        assert_eq!(browser.count("body[data-colour=red]").await, 1, "{path}");
        let title = browser.script("return document.title").await;
        assert!(title.as_str().is_some_and(|it| it.ends_with("· production · homing")), "{title}");
    }
    browser.go("/settings").await;
    browser.see("#name", "api.tokens").await;
    browser.assert_accessible("an installation with a colour").await;
    for (width, scheme) in [(1_280, "light"), (390, "dark")] {
        browser.look(Look { width, scheme }).await;
        browser.keep(&format!("site-{width}-{scheme}")).await;
        let wide = browser.script("return document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().is_some_and(|wide| wide <= width.into()), "{width}: {wide}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_created_shown_once_and_revoked() {
    let running = Box::pin(start_with(&format!("api.tokens = [\"{TOKEN}\"]\n"))).await;
    let browser = Browser::open(&running.base_url).await;
    browser.without_scripts().await;
    browser.go("/tokens").await;
    browser.fill("#token", TOKEN).await;
    browser.follow("button#login").await;
    browser.fill("#name", "api.tokens").await;
    browser.follow("#create").await;
    browser.see("#name-error", "the audit has").await;
    browser.fill("#name", "grafana").await;
    browser.follow("#create").await;
    let text = browser.text("#token-text").await;
    assert!(text.starts_with("homing_"), "{text}");
    eventually(async || {
        let answered = status(&running.client, &running, &text).await;
        holds(answered == 200, format!("answered {answered}"))
    })
    .await;
    browser.go("/tokens").await;
    assert_eq!(browser.count("#token-text").await, 0, "it is shown only once");
    browser.fill("#name", "grafana").await;
    browser.follow("#create").await;
    browser.see("#name-error", "revoke it first").await;

    // The token may read: it sees the list, and no button.
    let seen = running.client.get(format!("{}/tokens", running.base_url)).bearer_auth(&text);
    let seen = seen.send().await.expect("an answer").text().await.expect("text");
    assert!(seen.contains("grafana") && !seen.contains("New token") && !seen.contains("Revoke"));

    browser.go("/tokens").await;
    browser.follow("[aria-label=\"Revoke grafana\"]").await;
    browser.see("main", "It cannot be restored").await;
    browser.click("#sure").await;
    browser.follow("#revoke").await;
    browser.see("main", "There are none in the store").await;
    eventually(async || {
        let answered = status(&running.client, &running, &text).await;
        holds(answered == 401, format!("answered {answered}"))
    })
    .await;
    let store = &running.installation.parts.store;
    let audit = homing_store::AuditPage {
        filter: homing_store::AuditFilter::default(),
        after: None,
        limit: 2,
    };
    let records = store.audit(&audit).await.expect("the store answers").records;
    let shown: Vec<_> = records
        .into_iter()
        .map(|record| serde_json::json!(homing_domain::audit::View::from(record)))
        .collect();
    let part = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let said: Vec<_> = shown
        .iter()
        .map(|it| ["actor", "via", "kind", "action", "object"].map(|name| part(it, name)).join(" "))
        .collect();
    assert_eq!(
        said,
        [
            "api.tokens dashboard token deleted grafana",
            "api.tokens dashboard token created grafana"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_closes_the_door_to_those_without() {
    let running = Box::pin(start_with("")).await;
    let browser = Browser::open(&running.base_url).await;
    browser.go("/tokens").await;
    browser.see("#who", "this machine").await;
    browser.see("main", "every request from this machine is accepted").await;
    browser.fill("#name", "ci").await;
    browser.click("#scope option[value=write]").await;
    browser.follow("#create").await;
    browser.see("main", "these pages ask for a token, too").await;
    browser.assert_accessible("a new token").await;
    let text = browser.text("#token-text").await;
    eventually(async || {
        browser.go("/endpoints").await;
        let path = browser.path().await;
        holds(path.starts_with("/login"), path)
    })
    .await;
    browser.fill("#token", &text).await;
    browser.follow("button#login").await;
    browser.see("#who", "ci").await;
    browser.go("/tokens/ci").await;
    browser.see("main", "you are logged out").await;
    browser.see("main", "It is the last one").await;
    browser.assert_accessible("a token to be revoked").await;
    browser.go("/tokens").await;
    browser.fill("#name", "viewer").await;
    browser.follow("#create").await;
    browser.go("/tokens/ci").await;
    browser.see("main", "No other token may write").await;
    browser.go("/tokens/viewer").await;
    browser.see("main", "Revoke this token").await;
    assert!(!browser.text("main").await.contains("No other token"), "the other one may write");
}
