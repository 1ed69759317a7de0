//! Every button does what it says.

use homing_domain::{circuit::StateName, clock, source::SourceStatus, time::UnixMillis};
use serde_json::json;

use super::{Scene, browser::Browser};
use crate::{
    circuits::wait_for_state,
    support::{broker::Raw, eventually, holds},
};

/// The reason of a circuit that an operator closed, in a form.
const ENABLED: &str = "%7B%22reason%22%3A%22enabled%22%7D";
const FILTER: &str = r#"{"fieldName": "status", "fieldValue": "CUR", "comparison": "eq"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_made_changed_tried_out_and_removed() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.go("/subscriptions").await;
    browser.follow("#new").await;
    browser.fill("#url", "ftp://example.com").await;
    browser.fill("#topics", "shop.*\ncart.#").await;
    browser.follow("#turn-filters").await;
    browser.fill("#filters", "{").await;
    browser.follow("#save").await;
    browser.see("#filters-error", "not JSON").await;
    browser.see("#url-error", "`ftp` is not a scheme").await;
    browser.fill("#filters", FILTER).await;
    browser.follow("#save").await;
    browser.see("#url-error", "`ftp` is not a scheme").await;
    browser.fill("#url", &scene.receiver.url("/shop")).await;
    browser.follow("#save").await;
    assert!(browser.text("#secret").await.starts_with("whsec_"));
    browser.assert_accessible("a new subscription").await;
    browser.see("main", "fieldName").await;

    browser.follow("#edit").await;
    browser.fill("#description", "The shop").await;
    browser.fill("#auth_token", "a-token-that-is-long").await;
    browser.follow("#save").await;
    browser.see(".said", "Updated").await;
    browser.see("main", "****long").await;
    browser.follow("#edit").await;
    browser.fill("#rate_limit", "5").await;
    browser.fill("#max_concurrency", "2").await;
    browser.fill("#deadline", "30s").await;
    browser.follow("#save").await;
    browser.see("main", "5 per second").await;
    browser.see("main", "2 at most").await;
    browser.see("main", "30s").await;
    browser.see("main", "****long").await;

    browser.follow("#test").await;
    browser.see("#tested", "accepted 200").await;
    assert_eq!(scene.receiver.count_at("/shop"), 1);
    browser.follow("#rotate").await;
    assert!(browser.text("#secret").await.starts_with("whsec_"));
    browser.see("main", "until in 23 h").await;
    browser.click("#signature_scheme option:nth-child(3)").await;
    browser.follow("#rotate").await;
    browser.see("main", "whpk_").await;

    browser.follow("#edit").await;
    browser.fill("#basic_username", "user").await;
    browser.follow("#save").await;
    browser.see("#authentication-error", "to replace both").await;
    browser.fill("#basic_password", "a-password").await;
    browser.follow("#save").await;
    browser.see("#authentication-error", "either this field or `auth_token`").await;
    browser.click("input[name=no_auth_token]").await;
    browser.fill("#basic_password", "a-password").await;
    browser.follow("#save").await;
    browser.see("main", "user:****").await;

    browser.follow("#edit").await;
    browser.fill("#oauth2_token_url", "https://auth.example.com/token").await;
    browser.fill("#oauth2_client_id", "a-client").await;
    browser.follow("#save").await;
    browser.see("#authentication-error", "enter token URL, client ID and client secret").await;
    browser.fill("#oauth2_client_secret", "a-secret").await;
    browser.follow("#save").await;
    browser.see("main", "a-client").await;
    browser.see("main", "at https://auth.example.com/token").await;

    find_and_delete(&browser, &scene.receiver.url("/shop")).await;
    browser.see("main", "4 subscriptions").await;
}

async fn find_and_delete(browser: &Browser, url: &str) {
    browser.go("/subscriptions").await;
    browser.fill("#q", url).await;
    browser.follow("#find").await;
    assert_eq!(browser.count("tbody tr").await, 1);
    browser.follow("tbody a").await;
    browser.click("#sure").await;
    browser.follow("#delete").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_asked_for_its_consent_and_events_get_another_form() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.go("/subscriptions/new").await;
    browser.fill("#url", &scene.receiver.url("/asked")).await;
    browser.fill("#topics", "asked.*").await;
    browser.click("#format option:nth-child(3)").await;
    browser.click("#verification option:nth-child(3)").await;
    browser.follow("#save").await;
    browser.see("#unverified", "is not verified").await;
    browser.see("main", "cloudevents-binary").await;
    browser.follow("#ask-consent").await;
    browser.see("#asked", "did not consent").await;
    browser.see("#asked", "has to be the challenge").await;
    assert_eq!(scene.receiver.count_at("/asked"), 1);
    browser.go("/subscriptions").await;
    browser.see("main", "not verified").await;
    browser.fill("#q", &scene.receiver.url("/asked")).await;
    browser.follow("#find").await;
    browser.follow("tbody a").await;
    browser.follow("#edit").await;
    browser.click("#verification option:nth-child(1)").await;
    browser.follow("#save").await;
    browser.see(".said", "Updated").await;
    assert_eq!(browser.count("#ask-consent").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_gets_no_secrets_until_the_box_is_ticked() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.go("/subscriptions").await;
    browser.follow("tbody a").await;
    browser.follow("#edit").await;
    browser.fill("#url", "https://example.com/elsewhere").await;
    browser.follow("#save").await;
    browser.see("#url-error", "https://example.com is another address than").await;
    browser.click("#keep_secrets").await;
    browser.follow("#save").await;
    browser.see(".said", "Updated").await;
    browser.see("h1", "https://example.com/elsewhere").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_disabled_enabled_and_sent_what_was_parked() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    let well = scene.receiver.url("/well");
    let disable = format!("[aria-label=\"Disable {well}\"]");
    // Workers report what is well to the store every five seconds.
    browser.go_until("/endpoints", &disable).await;
    browser.follow(&disable).await;
    browser.see("main", "frozen").await;
    browser.see("#undo", "Disabled: nothing is sent to it").await;
    browser.follow("#undo button").await;
    browser.see("#done", "Undone").await;
    browser.follow("#disable").await;
    browser.element("#enable").await;
    // The offer ends by itself.
    browser.element("body:not(:has(#undo))").await;
    browser.see("#life", "Its last changes").await;
    assert_eq!(browser.count("#life rect").await, 3, "frozen, closed, frozen");

    let gone = scene.receiver.url("/gone");
    // Undone, it is frozen for the reason that it had.
    browser.go(&format!("/endpoint?url={gone}")).await;
    browser.follow("#enable").await;
    browser.see("#undo", "Enabled: attempts begin slowly").await;
    browser.follow("#undo button").await;
    browser.see("#done", "Undone").await;
    browser.go("/audit?kind=endpoint&action=disabled").await;
    browser.see("tbody tr:first-child", "undone: true").await;
    browser.go("/endpoints?state=frozen").await;
    browser.follow(&format!("a[title=\"{gone}\"]")).await;
    browser.see("main", "410 Gone").await;
    // What answered 410 was parked as `gone`, not by the circuit.
    browser.click("#replay").await;
    browser.follow("#enable").await;
    browser.see("main", "Done.").await;
    browser.see("#matched", "0").await;
    browser.follow("#back").await;
    browser.see("main", "closed").await;
}

/// Goal: during a pause nothing is sent; its end, or an operator, sends what was held.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_paused_and_gets_what_was_held_afterwards() {
    let scene = Scene::holding().await;
    let installation = &scene.running.installation;
    let well = scene.receiver.url("/well");
    let browser = Browser::open(scene.url()).await;
    let before = scene.receiver.count_at("/well");
    browser.go(&format!("/endpoint?url={well}")).await;
    browser.click("#for option:nth-child(2)").await;
    browser.follow("#pause").await;
    browser.see("#undo", "Paused: its deliveries are held").await;
    browser.assert_accessible("an endpoint that was just paused").await;
    browser.see("main", "an operator paused it").await;
    browser.see("main", "in 59 min").await;
    installation.publisher.publish(Raw::new("order.new", "paused-1", "{}")).await;
    let held = format!("/deliveries?event=paused-1&url={well}&state=held");
    browser.go_until(&held, "tbody .state.wait").await;
    assert_eq!(scene.receiver.count_at("/well"), before);
    browser.go(&format!("/endpoint?url={well}")).await;
    browser.follow("#probe").await;
    browser.see("#done", "A probe is due").await;
    scene.receiver.wait_for_at("/well", before + 1).await;
    wait_for_state(installation, &well, StateName::Closed).await;

    browser.go(&format!("/endpoint?url={well}")).await;
    browser.follow("#pause").await;
    browser.follow("#undo button").await;
    browser.see("#done", "Undone").await;
    browser.element("#pause").await;
    browser.go("/audit?kind=endpoint&action=paused").await;
    browser.see("tbody", "until: ").await;
    // What changed since is not overwritten, and what was long ago is not taken back.
    let form = |fields: String| {
        let request = scene.running.client.post(format!("{}/endpoint/undo", scene.url()));
        let request = request.header("sec-fetch-site", "same-origin");
        request.header("content-type", "application/x-www-form-urlencoded").body(fields)
    };
    let now = clock::now().get();
    for (at, why) in [(now, "changed again"), (now - 60_000, "ten seconds")] {
        let answer = form(format!("url={well}&was=closed&why={ENABLED}&at={at}"))
            .send()
            .await
            .expect("an answer");
        let answer = answer.text().await.expect("text");
        assert!(answer.contains(why), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_looked_at_sent_again_dropped_and_exported() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    let before = scene.receiver.count_at("/failing");
    let browser = Browser::open(scene.url()).await;
    browser.go("/parked").await;
    browser.fill("#event", "order-1").await;
    browser.follow("#search").await;
    assert_eq!(browser.count("tbody tr").await, 1);
    browser.follow("tbody a").await;
    browser.see("#body", "12.5").await;
    browser.see("main", "x-tenant").await;
    browser.follow("#replay").await;
    browser.see("#matched", "1").await;
    browser.see("main", "Done.").await;
    // It fails again, twice.
    scene.receiver.wait_for_at("/failing", before + 2).await;
    installation.wait_for_parked(4).await;

    browser.go("/parked?topic=order.*").await;
    let file = scene.running.client.get(format!("{}/parked/export?topic=order.*", scene.url()));
    let file = file.send().await.expect("an answer").text().await.expect("text");
    assert_eq!(file.lines().filter(|line| line.contains("\"order.paid\"")).count(), 3, "{file}");
    browser.follow("#replay-matching").await;
    browser.see("#go", "Replay 3 messages").await;
    browser.follow("#go").await;
    browser.see("main", "Done.").await;
    browser.see("#matched", "3").await;
    scene.receiver.wait_for_at("/failing", before + 8).await;
    installation.wait_for_parked(4).await;

    browser.go("/parked?reason=exhausted").await;
    browser.follow("#drop-matching").await;
    browser.see("#go", "Drop 3 messages").await;
    browser.assert_accessible("a drop that is to be confirmed").await;
    browser.click("#go").await;
    assert_eq!(
        browser.count("#sure:invalid").await,
        1,
        "nothing is dropped before the box is ticked"
    );
    browser.click("#sure").await;
    browser.follow("#go").await;
    browser.see("main", "Done.").await;
    installation.wait_for_parked(1).await;
    browser.follow("#back").await;
    browser.see("main", "None matches").await;
    browser.go("/audit?kind=parked&action=replayed").await;
    assert_eq!(browser.count("tbody tr").await, 2, "each is on record");
    browser.see("tbody", "loopback").await;
    browser.go("/audit?kind=parked&action=dropped").await;
    browser.see("tbody", "reason=exhausted").await;
    browser.see("tbody", "matched: 3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_sent_again_from_the_timeline_of_its_event() {
    let scene = Scene::set().await;
    let before = scene.receiver.count_at("/failing");
    let browser = Browser::open(scene.url()).await;
    browser.go("/event?id=order-2").await;
    browser.follow("form[action=\"/parked/jobs\"] button").await;
    browser.see("#matched", "1").await;
    browser.see("main", "Done.").await;
    scene.receiver.wait_for_at("/failing", before + 2).await;
    scene.running.installation.wait_for_parked(4).await;
}

/// Goal: a bulk job that is under way ends when a user stops it, with nothing half done. Method: what
/// a circuit parked is sent again slowly, so that there is time to press the button.
#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_job_that_is_under_way_is_stopped() {
    const HELD: u32 = 400;
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    let (slow, topics) = (scene.receiver.url("/slow"), ["slow.one"]);
    installation.subscribe(json!({"url": slow, "topics": topics})).await;
    let browser = Browser::open(scene.url()).await;
    browser.go(&format!("/endpoint?url={slow}")).await;
    browser.follow("#disable").await;
    browser.element("#enable").await;
    for number in 0..HELD {
        installation.publisher.publish(Raw::new("slow.one", &format!("s{number}"), "{}")).await;
    }
    installation.wait_for_parked(HELD + 4).await;
    let before = scene.receiver.count_at("/slow");

    browser.click("#replay").await;
    browser.follow("#enable").await;
    browser.see("main", "Running").await;
    browser.follow("#stop").await;
    browser.see("main", "Stopped.").await;
    let sent = browser.text("#matched").await;
    let sent: u32 = sent.parse().expect("a number");
    assert!(sent < HELD, "it was broken off");
    installation.wait_for_parked(HELD + 4 - sent).await;
    let arrive = before + usize::try_from(sent).expect("few");
    scene.receiver.wait_for_at("/slow", arrive).await;
    installation.assert_nothing_waits().await;
    assert_eq!(scene.receiver.count_at("/slow"), arrive);
    browser.follow("#back").await;
    browser.see("main", "closed").await;
    browser.go("/audit?kind=parked").await;
    browser.see("tbody", &format!("parked_by_circuit_of={slow}")).await;
    browser.see("tbody", &format!("matched: {sent}")).await;
    browser.see("tbody", "stopped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_paused_reset_and_resumed() {
    let scene = Scene::set().await;
    let store = &scene.running.installation.parts.store;
    let browser = Browser::open(scene.url()).await;
    browser.go("/sources").await;
    browser.follow("form[action$=\"/pause\"] button").await;
    browser.see("main", "paused").await;
    assert_eq!(store.source("main").await.expect("it is there").status, SourceStatus::Paused);
    browser.follow("form[action$=\"/reset\"] button").await;
    browser.see("main", "begins with the largest").await;
    browser.follow("form[action$=\"/resume\"] button").await;
    browser.see("main", "running").await;
    assert_eq!(store.source("main").await.expect("it is there").status, SourceStatus::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_error_parked_is_sent_again_from_the_list_of_errors() {
    let scene = Scene::set().await;
    let before = scene.receiver.count_at("/failing");
    let browser = Browser::open(scene.url()).await;
    let endpoint = format!("/endpoint?url={}", scene.receiver.url("/failing"));
    let parked = "a[href^=\"/parked?error=\"]";
    // Records are written some time after their attempts.
    browser.go_until(&endpoint, parked).await;
    browser.follow(parked).await;
    browser.see("#without-error", "parks with an error").await;
    assert_eq!(browser.count("tbody tr").await, 3);
    browser.follow("#replay-matching").await;
    browser.see("#go", "Replay 3 messages").await;
    browser.follow("#go").await;
    browser.see("main", "Done.").await;
    scene.receiver.wait_for_at("/failing", before + 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_previewed_and_sent_again() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    let instant = |ms| UnixMillis::new(ms).to_string().replace(".000Z", "");
    let now = clock::now().seconds() * 1_000;
    let (since, until) = (instant(now - 3_600_000), instant(now + 1_000));
    let before = scene.receiver.count_at("/well");
    let form = format!("/replays?preview=1&since={since}&until={until}&url=");
    browser
        .go(&(form + &scene.receiver.url("/well").replace(':', "%3A").replace('/', "%2F")))
        .await;
    browser.see("#preview", "order.paid").await;
    browser.follow("#begin").await;
    eventually(async || {
        let came = scene.receiver.count_at("/well");
        holds(came == before + 3, format!("{came} came, {before} before"))
    })
    .await;
    browser.go("/replays").await;
    browser.see("tbody", "done").await;
}
