//! The pages of an event and of an attempt.

use super::{SCRIPT, Scene, browser::Browser};
use crate::support::{broker::Raw, eventually, holds};

/// A body that no parser and serializer returns unchanged.
const ODD: &str = r#"{"b":1.50,"a":1e400,"b":[],"c":"\u0041"}"#;

/// Opens everything that is folded.
const OPEN_ALL: &str = "document.querySelectorAll('details').forEach(one => { one.open = true })";

/// Goal: what was sent and answered is shown as it was, byte by byte. Method: a body whose numbers,
/// names and escapes change as soon as it is parsed.
#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_an_attempt_are_shown_unchanged_indented_and_as_bytes() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    installation.publisher.publish(Raw::new("order.paid", "odd-1", ODD)).await;
    installation.wait_for_parked(5).await;
    let browser = Browser::open(scene.url()).await;
    browser.go_until("/event?id=odd-1", "a.attempt").await;
    browser.see("#summary", "parked 1").await;
    browser.see("#summary", "as they are parked").await;
    browser.see(".delivery h2", "/failing").await;
    browser.script(OPEN_ALL).await;
    browser.see("main", "\"b\": 1.50,\n  \"a\": 1e400,\n  \"b\": [],").await;
    browser.follow("a.attempt").await;
    browser.script(OPEN_ALL).await;
    assert_eq!(browser.text("#request .raw").await, ODD);
    browser.see("#request .indented", "\"b\": 1.50,\n  \"a\": 1e400,\n  \"b\": [],").await;
    browser.see("#request .hex", "00000000  7b 22 62 22 3a 31 2e 35 30").await;
    browser.see("#request", "x-homing-topic").await;
    browser.see("#response", "503").await;
    assert_eq!(browser.text("#response .raw").await, SCRIPT);
    browser.see("#curl", "curl -sS").await;
    for (side, bytes) in [("request", ODD), ("response", SCRIPT)] {
        let link = format!("return document.querySelector('#{side} .bytes').getAttribute('href')");
        let link = browser.script(&link).await;
        let url = format!("{}{}", scene.url(), link.as_str().expect("an address"));
        let answer = scene.running.client.get(url).send().await.expect("an answer");
        let kept = answer.headers().get("content-disposition").cloned().expect("a name");
        assert_eq!(kept, format!("attachment; filename=\"{side}.body\"").as_str());
        assert_eq!(answer.bytes().await.expect("a body"), bytes.as_bytes());
    }
    browser.go("/attempt?id=none").await;
    browser.see("main", "names no attempt").await;
    browser.go("/attempt?id=00000000-0000-7000-8000-000000000000").await;
    browser.see("main", "no such attempt").await;
}

/// Goal: also what was delivered is sent again from its event's page, to the one subscription.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_is_sent_again_from_the_archive() {
    let scene = Scene::set().await;
    scene.wait_for_records(13).await;
    let before = scene.receiver.count_at("/well");
    let browser = Browser::open(scene.url()).await;
    browser.go("/event?id=order-1").await;
    browser.see("#summary", "delivered 2").await;
    let well = scene.receiver.url("/well");
    let mark = format!(
        "[...document.querySelectorAll('.delivery')].find((one) => \
         one.querySelector('h2').innerText === '{well}').querySelector('.send-again').id = 'again'"
    );
    browser.script(&mark).await;
    browser.follow("#again").await;
    browser.see("#preview", "1 selected").await;
    browser.follow("#begin").await;
    eventually(async || {
        let came = scene.receiver.count_at("/well");
        holds(came == before + 1, format!("{came} came, {before} before"))
    })
    .await;
}
