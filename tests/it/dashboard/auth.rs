//! Login and permissions, and requests that another page cannot make a browser send.

use homing_domain::api_token::{ApiToken, Scope, TokenDigest};
use reqwest::{Method, redirect::Policy};

use std::time::Duration;

use tokio::time::Instant;

use super::{Scene, browser::Browser};
use crate::{
    api::{Running, start_with},
    support::{eventually, holds},
};

const TOKEN: &str = "a-token-for-writing-0123456789";
const READER: &str = "a-token-for-reading-0123456789";

async fn with_tokens() -> Running {
    let settings = format!("api.tokens = [\"{TOKEN}\"]\n");
    let running = Box::pin(start_with(&settings)).await;
    let reader = ApiToken {
        name: "reader".parse().expect("a name"),
        digest: TokenDigest::of(READER.as_bytes()),
        scope: Scope::Read,
        created: homing_domain::clock::now(),
    };
    running.installation.parts.store.insert_token(&reader).await.expect("it is new");
    wait_for_status(&running, 200).await;
    running
}

/// Waits until the API answers the reader's token with this status: it reads the store's tokens
/// again every second.
async fn wait_for_status(running: &Running, status: u16) {
    eventually(async || {
        let request = running.client.get(format!("{}/v1/queues", running.base_url));
        let answer = request.bearer_auth(READER).send().await.expect("an answer").status();
        holds(answer == status, format!("answered {answer}, not {status}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_logs_in_and_out() {
    let running = with_tokens().await;
    let browser = Browser::open(&running.base_url).await;
    browser.go("/subscriptions?q=https://example.com").await;
    assert!(browser.path().await.starts_with("/login?next="), "{}", browser.path().await);
    browser.keep("login").await;
    browser.assert_accessible("the login").await;
    browser.fill("#token", "made up").await;
    browser.follow("button#login").await;
    browser.see("main", "This token is unknown").await;
    browser.fill("#token", TOKEN).await;
    browser.follow("button#login").await;
    browser.element("#new").await;
    assert_eq!(browser.path().await, "/subscriptions?q=https://example.com");
    assert_eq!(browser.script("return document.cookie").await, "", "no script sees the session");
    browser.go("/").await;
    browser.see("main", "Queues").await;
    browser.follow("#logout").await;
    browser.element("#token").await;
    browser.go("/parked").await;
    browser.element("#token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_token_finds_no_buttons_and_changes_nothing() {
    let running = with_tokens().await;
    let made = running.installation.subscribe_all("http://127.0.0.1:9/").await;
    let browser = Browser::open(&running.base_url).await;
    browser.go(&format!("/subscriptions/{made}")).await;
    browser.fill("#token", READER).await;
    browser.follow("button#login").await;
    browser.see("main", "Delivery").await;
    assert_eq!(browser.count("main form").await, 0);
    let post = format!(
        "return fetch('/subscriptions/{made}/delete', {{method: 'POST', body: new \
         URLSearchParams({{sure: 'on'}})}}).then(answer => answer.status)"
    );
    assert_eq!(browser.script(&post).await, 403);
    let registry = &running.installation.parts.registry;
    assert!(registry.get(made).await.is_ok(), "it is there still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_removed_sees_nothing_more_of_what_it_watches() {
    let running = with_tokens().await;
    let watching = async || {
        let request = running.client.get(format!("{}/live/overview", running.base_url));
        let mut answer = request.bearer_auth(READER).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.chunk().await.expect("it goes on").expect("the first part");
        answer
    };
    let mut watched = watching().await;
    watched.chunk().await.expect("it goes on").expect("another part");
    running.installation.parts.store.remove_token("reader").await.expect("it is there");
    let removed = Instant::now();
    while watched.chunk().await.expect("it ends in order").is_some() {}
    assert!(removed.elapsed() < Duration::from_secs(4), "{:?}", removed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_removed_is_refused() {
    let running = with_tokens().await;
    let browser = Browser::open(&running.base_url).await;
    browser.go("/sources").await;
    browser.fill("#token", READER).await;
    browser.follow("button#login").await;
    browser.see("main", "Sources").await;
    running.installation.parts.store.remove_token("reader").await.expect("it is there");
    wait_for_status(&running, 401).await;
    browser.go("/sources").await;
    browser.element("#token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pages_and_other_names_are_refused() {
    let scene = Scene::set().await;
    let client = &scene.running.client;
    let post = |headers: &[(&'static str, &'static str)]| {
        let url = format!("{}/sources/main/pause", scene.url());
        let request = client.request(Method::POST, url);
        let headers = headers.iter().copied();
        headers.fold(request, |request, (name, value)| request.header(name, value)).send()
    };
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(post(headers).await.expect("an answer").status(), 403, "{headers:?}");
    }
    let source =
        scene.running.installation.parts.source_admin.get("main").await.expect("it is there");
    assert_eq!(source.state, "running");
    let rebound = client.get(scene.url()).header("host", "evil.example").send().await;
    assert_eq!(rebound.expect("an answer").status(), 403);
}

/// Goal: the pages are for people and no part of the API: none is described there or has an address
/// of it, each is HTML that a link asks for or a form of one of our pages. Method: the routes as the
/// source names them.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_no_part_of_the_api() {
    const SOURCE: &str = include_str!("../../../src/dashboard/mod.rs");
    /// The files that a page loads, and one to keep.
    const NO_PAGES: [&str; 4] =
        ["/assets/{file}", "/live/overview", "/live/jobs/{id}", "/parked/export"];
    let running = Box::pin(start_with("")).await;
    let described = running.client.get(format!("{}/openapi.json", running.base_url)).send().await;
    let described = described.expect("an answer").bytes().await.expect("all of it");
    let described: serde_json::Value = serde_json::from_slice(&described).expect("JSON");
    let described = described["paths"].as_object().expect("addresses");
    let routes = SOURCE.lines().filter_map(|line| {
        let (path, methods) = line.trim().strip_prefix(".route(\"")?.split_once('"')?;
        Some((path, methods.contains("get("), methods.contains("post(")))
    });
    let routes: Vec<_> = routes.collect();
    assert!(routes.len() > 25, "{routes:?}");
    for (path, reads, writes) in routes {
        assert!(!described.contains_key(path), "{path}");
        assert!(!path.starts_with("/v1") && !path.starts_with("/attask"), "{path}");
        let ask = |method: Method| {
            let path = path.replace("{id}", "none").replace("{name}", "none");
            running.client.request(method, format!("{}{path}", running.base_url)).send()
        };
        let is_html = |answer: &reqwest::Response| {
            answer.headers()["content-type"].to_str().is_ok_and(|kind| kind.contains("text/html"))
        };
        if reads && !NO_PAGES.contains(&path) {
            let answer = ask(Method::GET).await.expect("an answer");
            assert!(is_html(&answer), "{path}: {answer:?}");
        }
        if writes {
            let answer = ask(Method::POST).await.expect("an answer");
            assert_eq!(answer.status(), 403, "{path}");
            assert!(is_html(&answer), "{path}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_forbid_what_browsers_need_not_do_and_keep_what_never_changes() {
    let scene = Scene::set().await;
    let page = scene.running.client.get(scene.url()).send().await.expect("an answer");
    let header = |name: &str| page.headers()[name].to_str().expect("text").to_owned();
    let policy = header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    let html = page.text().await.expect("text");
    let (_, rest) = html.split_once("href=\"/assets/style-").expect("a style sheet");
    let (name, _) = rest.split_once('"').expect("its end");
    let style = format!("{}/assets/style-{name}", scene.url());
    let style = scene.running.client.get(style).send().await.expect("an answer");
    assert_eq!(style.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    let none = Policy::none();
    let client = reqwest::Client::builder().redirect(none).build().expect("a client");
    let missing = client.get(format!("{}/assets/style-old.css", scene.url())).send().await;
    assert_eq!(missing.expect("an answer").status(), 404);
}
