//! The editor of subscriptions: suggestions, rows and JSON, errors, and trying it out.

use serde_json::json;

use super::{
    Scene,
    browser::{Browser, Look},
};
use crate::support::{broker::Raw, eventually, holds};

/// Goal: nothing that was typed is lost, and no error hides another one. Method: many fields are
/// wrong, and others are secret.
#[tokio::test(flavor = "multi_thread")]
async fn all_errors_are_shown_at_once_and_nothing_typed_is_lost() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.without_scripts().await;
    browser.go("/subscriptions/new").await;
    for (field, text) in [
        ("#url", "ftp://example.com/"),
        ("#topics", "a..b"),
        ("#filter_0_name", "newState.status"),
        ("#filter_0_value", "CUR"),
        ("#rate_limit", "many"),
        ("#deadline", "soon"),
        ("#labels", "team"),
        ("#auth_token", "a-token-that-is-secret"),
        ("#oauth2_client_id", "a-client"),
        ("#oauth2_client_secret", " with blanks "),
        ("#headers", "host: x\nx-tenant: 42"),
        ("#owner", "Team Ä"),
    ] {
        browser.fill(field, text).await;
    }
    browser.click("#unsigned").await;
    browser.follow("#save").await;
    for (field, message) in [
        ("url", "`ftp` is not a scheme"),
        ("topics", "topics[0]"),
        ("filter_0", "write the name alone"),
        ("rate_limit", "invalid digit"),
        ("deadline", "a time such as 30s"),
        ("labels", "write each as"),
        ("authentication", "enter token URL, client ID and client secret"),
        ("headers", "set by homing"),
    ] {
        browser.see(&format!("#{field}-error"), message).await;
    }
    browser.see("#not-saved", "8 fields are wrong").await;
    let kept =
        "return Object.fromEntries([...document.querySelectorAll('main input, main textarea')]
        .map((one) => [one.id || one.name, one.type === 'checkbox' ? one.checked : one.value]))";
    let kept = browser.script(kept).await;
    let expected = json!({
        "url": "ftp://example.com/", "topics": "a..b", "filter_0_name": "newState.status",
        "rate_limit": "many", "labels": "team", "auth_token": "a-token-that-is-secret",
        "oauth2_client_secret": " with blanks ", "owner": "Team Ä", "unsigned": true,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&kept[name], value, "{name}");
    }
    let total = scene.running.installation.parts.store.count_subscriptions().await;
    assert_eq!(total.expect("the store answers"), 4);
    browser.assert_accessible("a form that is refused").await;
}

/// Goal: an edit takes nothing back that someone else changed meanwhile, unless that is meant.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_was_overtaken_is_saved_only_once_that_is_known() {
    let scene = Scene::set().await;
    let registry = &scene.running.installation.parts.registry;
    let draft = json!({"url": scene.receiver.url("/edited"), "topics": ["edited"]});
    let id = scene.running.installation.subscribe(draft).await.subscription.id;
    let browser = Browser::open(scene.url()).await;
    browser.go(&format!("/subscriptions/{id}/edit")).await;
    let changes = json!({"owner": "the other team"});
    let changes = changes.as_object().cloned().expect("an object");
    registry.update(id, changes).await.expect("it is there");
    browser.fill("#description", "mine").await;
    browser.fill("#rate_limit", "many").await;
    // No other error hides it.
    browser.follow("#save").await;
    browser.see("#said", "Someone has changed this subscription").await;
    assert_eq!(registry.get(id).await.expect("it is there").spec.description, None);
    browser.follow("#save").await;
    browser.see("#rate_limit-error", "invalid digit").await;
    browser.fill("#rate_limit", "5").await;
    browser.follow("#save").await;
    browser.see(".said", "Updated").await;
    let spec = registry.get(id).await.expect("it is there").spec;
    assert_eq!((spec.description.as_deref(), spec.owner), (Some("mine"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_suggested_and_filters_are_rows_or_json() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.without_scripts().await;
    browser.go_until("/subscriptions/new", "#seen option[value=\"order.paid\"]").await;
    browser.fill("#url", &scene.receiver.url("/rows")).await;
    browser.fill("#add_topic", "order.paid").await;
    browser.follow("#add-topic").await;
    browser.fill("#add_topic", "old.one").await;
    browser.follow("#add-topic").await;
    let topics = browser.script("return document.querySelector('#topics').value").await;
    assert_eq!(topics, "order.paid\nold.one");

    browser.fill("#filter_0_name", "amount").await;
    browser.click("#filter_0_comparison option[value=gt]").await;
    browser.fill("#filter_0_value", "12").await;
    browser.follow("#add-filter").await;
    browser.fill("#filter_1_name", "tags").await;
    browser.click("#filter_1_comparison option[value=containsOnly]").await;
    browser.fill("#filter_1_value", "[\"a\"").await;
    browser.follow("#turn-filters").await;
    browser.see("#filter_1-error", "begins as JSON").await;
    browser.fill("#filter_1_value", "[\"a\"]").await;
    browser.follow("#turn-filters").await;
    let written =
        browser.script("return JSON.parse(document.querySelector('#filters').value)").await;
    let expected = json!([
        {"fieldName": "amount", "comparison": "gt", "fieldValue": 12},
        {"fieldName": "tags", "comparison": "containsOnly", "fieldValue": ["a"]},
    ]);
    assert_eq!(written, expected);
    browser.follow("#turn-filters").await;
    assert_eq!(browser.count(".filter-row").await, 2);
    // Enter saves, and does not press the first of the buttons.
    browser.click("#filter_1_value").await;
    browser.press('\u{e007}').await;
    browser.see("main", "Created.").await;
    browser.see("main", "containsOnly").await;

    // A group has no row.
    let group = json!([{"type": "group", "connector": "OR", "filters": [
        {"fieldName": "a", "comparison": "eq", "fieldValue": 1},
        {"fieldName": "b", "comparison": "eq", "fieldValue": 1},
    ]}]);
    let url = scene.receiver.url("/group");
    let draft = json!({"url": url, "topics": ["order.paid"], "filters": group});
    let made = scene.running.installation.subscribe(draft).await.subscription.id;
    browser.go(&format!("/subscriptions/{made}/edit")).await;
    browser.follow("#turn-filters").await;
    browser.see("#filters-error", "cannot be a row").await;
    browser.follow("#save").await;
    browser.see(".said", "Updated").await;
}

/// Goal: the answer before anything is saved is the one that deliveries give afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn recent_events_are_tried_before_anything_is_saved() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    scene.wait_for_records(13).await;
    let browser = Browser::open(scene.url()).await;
    browser.without_scripts().await;
    browser.go("/subscriptions/new").await;
    browser.fill("#url", &scene.receiver.url("/tried")).await;
    browser.fill("#topics", "order.*").await;
    browser.fill("#filter_0_name", "amount").await;
    browser.fill("#filter_0_value", "12.50").await;
    browser.follow("#try").await;
    browser.see("#trial", "3 of").await;
    let row = "#trial tr:has([href=\"/event?id=order-1\"])";
    browser.see(row, "matches").await;
    browser.see("#trial tr:has([href=\"/event?id=old-1\"])", "no pattern matches").await;
    browser.assert_accessible("recent events that are tried").await;
    browser.without_scripts().await;
    browser.fill("#filter_0_value", "13").await;
    browser.follow("#try").await;
    browser.see("#trial", "0 of").await;
    browser.see(row, "filter on amount").await;
    browser.fill("#topics", "orders.*").await;
    browser.follow("#try").await;
    browser.see(row, "near `orders.*`, but one or two letters differ").await;
    for (name, width, scheme) in [("light", 1_280, "light"), ("phone-dark", 390, "dark")] {
        browser.look(Look { width, scheme }).await;
        browser.keep(&format!("editor-{name}")).await;
        let wide = browser.script("return document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().is_some_and(|wide| wide <= width.into()), "{width}: {wide}");
    }
    browser.fill("#topics", "order.*").await;
    browser.fill("#filter_0_value", "12.50").await;
    browser.follow("#save").await;
    browser.see("main", "Created.").await;
    let before = scene.receiver.count_at("/tried");
    let body = json!({"amount": 12.5}).to_string();
    installation.publisher.publish(Raw::new("order.paid", "order-9", body)).await;
    scene.receiver.wait_for_at("/tried", before + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_duplicated_paused_and_found_by_its_labels() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    let browser = Browser::open(scene.url()).await;
    browser.go("/subscriptions/new").await;
    browser.fill("#url", &scene.receiver.url("/first")).await;
    browser.fill("#topics", "billing.*").await;
    browser.fill("#owner", "Billing team").await;
    browser.fill("#labels", "team=billing\ntier=1").await;
    browser.fill("#auth_token", "a-token-that-is-secret").await;
    browser.follow("#save").await;
    browser.see("#owner", "Billing team").await;
    browser.see("#labels", "tier=1").await;

    browser.follow("#duplicate").await;
    browser.see(".said", "A copy without secrets").await;
    let copied =
        "return ['owner', 'labels', 'auth_token'].map((id) => document.getElementById(id).value)";
    let copied = browser.script(copied).await;
    assert_eq!(copied, json!(["Billing team", "team=billing\ntier=1", ""]));
    browser.follow("#save").await;
    browser.see("#url-error", "wants the same events at the same URL already").await;
    browser.fill("#url", &scene.receiver.url("/second")).await;
    browser.follow("#save").await;
    browser.see("main", "Created.").await;

    for sought in ["tier", "Billing team"] {
        browser.go("/subscriptions").await;
        browser.fill("#q", sought).await;
        browser.follow("#find").await;
        assert_eq!(browser.count("tbody tr").await, 2, "{sought}");
    }
    browser.follow("tbody tr:nth-child(2) a").await;
    browser.follow("#pause").await;
    browser.see("#undo", "Paused: its deliveries are held").await;
    browser.go("/subscriptions?q=/second").await;
    browser.follow("tbody a").await;
    browser.see("#state", "an operator paused it").await;
    // This process does not follow the subscriptions by itself.
    installation.parts.subscriptions.refresh().await.expect("the store answers");
    installation.publisher.publish(Raw::new("billing.due", "held-1", "{}")).await;
    scene.receiver.wait_for_at("/first", 1).await;
    assert_eq!(scene.receiver.count_at("/second"), 0);
    browser.follow("#enable").await;
    browser.see("main", "Enabled").await;
    // Its endpoint is shown with its owner.
    eventually(async || {
        browser.go("/endpoints?q=second").await;
        let seen = browser.text("tbody").await;
        holds(seen.contains("Billing team"), seen)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_has_a_topic_and_a_body_of_ones_own() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.without_scripts().await;
    let url = scene.receiver.url("/own");
    let draft = json!({"url": url, "topics": ["shop.*"]});
    let made = scene.running.installation.subscribe(draft).await.subscription.id;
    browser.go(&format!("/subscriptions/{made}")).await;
    browser.fill("#topic", &"long.".repeat(60)).await;
    browser.fill("#body", "{\"id\": 7").await;
    browser.follow("#send-own").await;
    browser.see("#body-error", "not JSON").await;
    browser.element("#topic-error").await;
    let kept = browser.script("return document.querySelector('#body').value").await;
    assert_eq!(kept, "{\"id\": 7");
    browser.fill("#topic", "shop.opened").await;
    browser.fill("#body", "{\"id\": 7.0}").await;
    browser.follow("#send-own").await;
    browser.see("#tested", "accepted 200").await;
    browser.see("#tested", "shop.opened").await;
    let sent = scene.receiver.requests_at("/own");
    let sent = String::from_utf8_lossy(&sent[0].body).into_owned();
    assert!(
        sent.contains("\"sample\":{\"topic\":\"shop.opened\",\"body\":{\"id\": 7.0}}"),
        "{sent}"
    );
    // The functions of docs/verify.md, in four languages.
    assert_eq!(browser.count("#verify details").await, 4);
    browser.click("#verify details:nth-of-type(3) summary").await;
    browser.see("#verify", "func isGenuineV1").await;
}
