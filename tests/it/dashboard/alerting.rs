//! Alerts: each receiver gets homing's own events in the form that it publishes, and answers as it
//! does.

use homing_domain::circuit::StateName;
use serde_json::{Value, json};

use super::browser::{Browser, Look};
use crate::{
    api::serve,
    circuits::{CIRCUIT, wait_for_state},
    support::{
        broker::Raw,
        installation::Installation,
        receiver::{Receiver, Recorded, Reply},
    },
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Receivers that refuse what the services refuse, and answer as these do. The endpoint `/down`
/// fails.
async fn services() -> Receiver {
    Receiver::answering(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let at = |pointer: &str| body.pointer(pointer).unwrap_or(&Value::Null);
        let is_text = |pointer: &str| at(pointer).as_str().is_some_and(|text| !text.is_empty());
        match request.path.as_str() {
            "/slack" if is_text("/text") && at("/blocks").is_array() => {
                Reply::status(200).saying("ok")
            }
            "/slack" => Reply::status(400).saying("invalid_payload"),
            "/teams" => {
                let is_card = *at("/type") == "message"
                    && *at("/attachments/0/contentType")
                        == "application/vnd.microsoft.card.adaptive"
                    && *at("/attachments/0/content/type") == "AdaptiveCard";
                Reply::status(if is_card { 202 } else { 400 })
            }
            "/pagerduty" => {
                let needed = ["/payload/summary", "/payload/source", "/payload/severity"];
                let is_sound = *at("/routing_key") == KEY && needed.into_iter().all(is_text);
                Reply::status(if is_sound { 202 } else { 400 }).saying(KEY)
            }
            "/mail" => {
                let is_known = request.header("authorization") == Some(&format!("Bearer {KEY}"));
                let is_mail = is_text("/personalizations/0/to/0/email") && is_text("/from/email");
                Reply::status(if is_known && is_mail { 202 } else { 401 })
            }
            _ => Reply::status(503),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_receiver_is_added_tried_and_gets_what_happens_to_an_endpoint() {
    let receiver = Box::pin(services()).await;
    let running = serve(Installation::with(&[50], CIRCUIT).await).await;
    let installation = &running.installation;
    let worker = installation.start();
    let browser = Browser::open(&running.base_url).await;
    browser.without_scripts().await;
    browser.go("/alerting").await;
    // The address of no service is guessed, and the key of a pager is needed.
    browser.follow("#add").await;
    browser.see("#url-error", "not a URL").await;
    browser.click("#receiver option[value=pagerduty]").await;
    browser.follow("#add").await;
    browser.see("#auth_token-error", "routing key").await;
    for (kind, key, mail) in [
        ("slack", "", false),
        ("teams", "", false),
        ("pagerduty", KEY, false),
        ("email", KEY, true),
    ] {
        let path = if kind == "email" { "/mail".to_owned() } else { format!("/{kind}") };
        browser.go("/alerting").await;
        browser.click(&format!("#receiver option[value={kind}]")).await;
        browser.fill("#url", &receiver.url(&path)).await;
        browser.fill("#key", key).await;
        browser.fill("#description", "production").await;
        if mail {
            browser.follow("#add").await;
            browser.see("#template-error", "the address that mails come from").await;
            browser.fill("#from", "homing@example.com").await;
            browser.fill("#to", "ops@example.com").await;
        }
        browser.follow("#add").await;
        browser.see(".said", "Added").await;
        let button = format!("[aria-label=\"Send a test to {}\"]", receiver.url(&path));
        browser.follow(&button).await;
        browser.see("#tested", "accepted").await;
        assert!(!browser.text("#tested").await.contains("not accepted"), "{kind}");
    }
    browser.assert_accessible("receivers of alerts").await;
    for (name, width, scheme) in [("light", 1_280, "light"), ("phone-dark", 390, "dark")] {
        browser.look(Look { width, scheme }).await;
        browser.keep(&format!("alerting-{name}")).await;
        let wide = browser.script("return document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().is_some_and(|wide| wide <= width.into()), "{width}: {wide}");
    }

    let down = receiver.url("/down");
    installation.subscribe(json!({"url": down, "topics": ["order.*"]})).await;
    installation.parts.subscriptions.refresh().await.expect("the store answers");
    for number in 0..60 {
        let id = format!("order-{number}");
        installation.publisher.publish(Raw::new("order.paid", &id, "{}")).await;
    }
    wait_for_state(installation, &down, StateName::Open).await;
    for path in ["/slack", "/teams", "/pagerduty", "/mail"] {
        receiver.wait_for_at(path, 2).await;
        let sent = receiver.requests_at(path);
        let alert = sent.iter().find(|sent| text(sent).contains("only probes are sent"));
        let alert = alert.unwrap_or_else(|| panic!("{path} was not alerted"));
        assert!(alert.accepted && text(alert).contains(&down), "{path}: {}", text(alert));
        assert_eq!(alert.header("content-type"), Some("application/json"), "{path}");
    }
    let pager = receiver.requests_at("/pagerduty");
    assert!(pager.iter().all(|sent| sent.header("authorization").is_none()));
    drop(worker);
}

fn text(sent: &Recorded) -> String {
    String::from_utf8_lossy(&sent.body).into_owned()
}

/// Goal: a key that is sent in a body is shown nowhere. Method: a pager refuses what it is sent, so
/// that the payload of the attempt is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_message_is_masked_where_payloads_are_kept() {
    let receiver =
        Receiver::answering(|_| Reply::status(400).saying("0123456789abcdef0123456789abcdef"))
            .await;
    let running = serve(Installation::with(&[50], "").await).await;
    let installation = &running.installation;
    let draft = json!({
        "url": receiver.url("/pager"), "topics": ["order.*"], "auth_token": KEY,
        "template": {"receiver": "pagerduty"},
    });
    installation.subscribe(draft).await;
    let worker = installation.start();
    installation.publisher.publish(Raw::new("order.paid", "order-1", "{\"n\": 1}")).await;
    let sent = receiver.wait_for(2).await;
    assert!(text(&sent[0]).contains(KEY), "{}", text(&sent[0]));
    installation.wait_for_parked(1).await;
    let browser = Browser::open(&running.base_url).await;
    browser.go_until("/event?id=order-1", "pre").await;
    let page = browser.script("return document.documentElement.outerHTML").await;
    let page = page.as_str().expect("text");
    assert!(page.contains("routing_key") && !page.contains(KEY), "{page}");
    drop(worker);
}
