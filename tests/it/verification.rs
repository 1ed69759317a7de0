//! An endpoint is asked whether it wants to be called; until it consents, nothing is sent (the command in
//! `docs/endpoints.md`).

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use homing::{
    registry::{VerificationView, View},
    test_event::{self, TestEvent},
    verification::{VerificationResponse, verify},
};
use homing_delivery::{
    endpoint::Endpoints,
    parking::{Action, Selection},
};
use homing_domain::{id::SubscriptionId, subscription::VerificationMethod};
use serde_json::{Map, Value, json};

use tokio_util::sync::CancellationToken;

use crate::support::{
    broker::Raw,
    eventually, holds,
    installation::Installation,
    process::Site,
    receiver::{Receiver, Recorded, Reply},
};

const ORIGIN: &str = "endpoint.origin = \"hooks.example.com\"";

fn endpoints(installation: &Installation) -> Endpoints {
    Endpoints::new(&installation.settings.endpoint).expect("they can be called")
}

async fn asked(installation: &Installation, id: SubscriptionId) -> VerificationResponse {
    let registry = &installation.parts.registry;
    verify(&endpoints(installation), registry, id).await.expect("it is asked")
}

async fn view(installation: &Installation, id: SubscriptionId) -> VerificationView {
    let subscription = installation.parts.registry.get(id).await.expect("it is there");
    View::from(&subscription).verification.expect("it has one")
}

async fn publish(installation: &Installation, number: u32) {
    let raw = Raw::new("t", &format!("e{number}"), number.to_string());
    installation.publisher.publish(raw).await;
}

/// The answer of an endpoint that consents, asked either way.
fn consenting(request: &Recorded) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let reply = Reply::status(200);
    match body.get("challenge").and_then(Value::as_str) {
        Some(challenge) => reply.saying(json!({ "challenge": challenge }).to_string()),
        None if request.method == "OPTIONS" => {
            let origin = request.header("webhook-request-origin").unwrap_or_default();
            reply.header("webhook-allowed-origin", origin)
        }
        None => reply,
    }
}

/// Goal: an unverified subscription gets nothing, not even a test event; its events are kept, and say
/// why; once verified it gets new ones, and those that were kept; another URL is verified anew.
#[tokio::test]
async fn nothing_is_sent_until_the_endpoint_consents() {
    for method in ["handshake", "challenge"] {
        let installation = Installation::with(&[50], ORIGIN).await;
        let receiver = Receiver::answering(consenting).await;
        let draft = json!({
            "url": receiver.url("/one"), "topics": ["t"], "verification": method,
            "auth_token": "a-bearer-token", "format": "cloudevents-structured",
        });
        let id = installation.subscribe(draft).await.subscription.id;
        let running = installation.start();
        publish(&installation, 1).await;
        let parked = installation.wait_for_parked(1).await.remove(0);
        assert_eq!((parked.reason.as_str(), parked.attempts), ("unverified", 0));
        let explained = installation.parts.history.explain("e1", None).await.expect("it is known");
        let summary = &explained.deliveries[0].summary;
        assert!(summary.contains("has not been verified"), "{summary}");
        let subscription = installation.parts.registry.get(id).await.expect("it is there");
        let endpoints = endpoints(&installation);
        let tested = test_event::send(&endpoints, &subscription, TestEvent::default()).await;
        let error = tested.expect_err("a test event is not sent either").to_string();
        assert!(error.contains("`verification`"), "{error}");
        assert_eq!(receiver.count(), 0, "{method}");

        let answer = asked(&installation, id).await;
        assert!(answer.verified && answer.problem.is_none(), "{answer:?}");
        let request = receiver.requests().remove(0);
        assert_eq!(request.header("authorization"), Some("Bearer a-bearer-token"));
        if method == "handshake" {
            assert_eq!((request.method.as_str(), request.body.len()), ("OPTIONS", 0));
            let origin = request.header("webhook-request-origin");
            assert_eq!(origin, Some("hooks.example.com"));
            assert_eq!(request.header("webhook-request-callback"), None);
        } else {
            assert_eq!(request.method.as_str(), "POST");
            assert!(request.header("webhook-signature").is_some());
        }
        // Workers follow within a second: what comes before that is parked, too.
        eventually(async || {
            publish(&installation, 2).await;
            let accepted = receiver.requests_at("/one").len() > 1;
            holds(accepted, "nothing has come yet")
        })
        .await;
        installation.parked().await;
        let selection = Selection { reason: Some(parked.reason), ..Selection::default() };
        let parking = &installation.parts.parking;
        parking.act(Action::Replay, &selection, None, |_| ()).await.expect("it is replayed");
        eventually(async || {
            let is_first = |it: &Recorded| it.body.windows(9).any(|text| text == b"\"id\":\"e1\"");
            holds(receiver.requests().iter().any(is_first), "it has not come")
        })
        .await;

        let change = Map::from_iter([("url".to_owned(), json!(receiver.url("/two")))]);
        installation.parts.registry.update(id, change).await.expect("it can be changed");
        assert_eq!(view(&installation, id).await.verified, None);
        eventually(async || {
            publish(&installation, 3).await;
            let parked = installation.parked().await;
            holds(parked.iter().any(|it| it.event_id == "e3"), "it is not parked")
        })
        .await;
        running.stop().await;
        assert_eq!(receiver.count_at("/two"), 0, "{method}");
        let back = Map::from_iter([("url".to_owned(), json!(receiver.url("/one")))]);
        installation.parts.registry.update(id, back).await.expect("it can be changed");
        assert!(view(&installation, id).await.verified.is_some(), "that URL did consent");
    }
}

/// Goal: only a consent counts; what the endpoint lacks is said, and a consent that it gave before
/// stays.
#[tokio::test]
async fn an_answer_that_is_no_consent_says_what_it_lacks() {
    let installation = Installation::with(&[50], ORIGIN).await;
    let step = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&step);
    let receiver = Receiver::answering(move |_| {
        let allowing = |origin: &str| Reply::status(200).header("webhook-allowed-origin", origin);
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(405),
            1 => Reply::status(200),
            2 => allowing("other.example.com"),
            3 => allowing("*").header("webhook-allowed-rate", "many"),
            4 => allowing("*").header("webhook-allowed-rate", "120"),
            _ => Reply::status(302).header("location", "/elsewhere"),
        }
    })
    .await;
    let draft = json!({
        "url": receiver.url("/"), "topics": ["t"], "verification": "handshake", "rate_limit": 5,
    });
    let id = installation.subscribe(draft).await.subscription.id;
    let mut said = Vec::new();
    for _ in 0..4 {
        let answer = asked(&installation, id).await;
        assert!(!answer.verified);
        said.push(answer.problem.expect("a reason"));
    }
    insta::assert_snapshot!(said.join("\n"), @"
    it did not consent: refused 405
    its answer to OPTIONS has no header `WebHook-Allowed-Origin`
    it allows the origin `other.example.com`, and homing is `hooks.example.com` (`endpoint.origin`)
    its `WebHook-Allowed-Rate` is `many`; it is a number of requests per minute, or `*`
    ");
    assert_eq!(view(&installation, id).await.verified, None);
    let answer = asked(&installation, id).await;
    assert_eq!(answer.verification.and_then(|it| it.allowed_rate), Some(120));
    let answer = asked(&installation, id).await;
    let problem = answer.problem.expect("it is moved");
    assert!(problem.starts_with("it did not consent: refused 302: it redirects to "), "{problem}");
    let kept = view(&installation, id).await;
    assert_eq!(kept.method, VerificationMethod::Handshake);
    assert!(kept.verified.is_some() && kept.allowed_rate == NonZeroU32::new(120).map(u32::from));
    assert!(receiver.requests().iter().all(|it| it.header("webhook-request-rate") == Some("300")));
}

/// Goal: an answer that comes after a change of the URL is no consent of the new one, and takes
/// nothing from what was verified meanwhile.
#[tokio::test]
async fn a_late_consent_counts_for_the_url_that_was_asked() {
    let installation = Installation::with(&[50], ORIGIN).await;
    let released = CancellationToken::new();
    let late = released.clone();
    let receiver = Receiver::answering(move |request| {
        let reply = consenting(request);
        if request.path == "/late" { reply.once(&late) } else { reply }
    })
    .await;
    let draft = json!({"url": receiver.url("/late"), "topics": ["t"], "verification": "challenge"});
    let id = installation.subscribe(draft).await.subscription.id;
    let meanwhile = async {
        receiver.wait_for_at("/late", 1).await;
        let change = Map::from_iter([("url".to_owned(), json!(receiver.url("/now")))]);
        installation.parts.registry.update(id, change).await.expect("it can be changed");
        assert!(asked(&installation, id).await.verified);
        released.cancel();
    };
    let (answer, ()) = tokio::join!(asked(&installation, id), meanwhile);
    assert_eq!((answer.verified, answer.url), (false, receiver.url("/late")));
    let problem = answer.problem.expect("it is said");
    assert!(problem.contains("`url` or `verification` was changed"), "{problem}");
    assert!(view(&installation, id).await.verified.is_some(), "the present URL stays verified");
}

/// Goal: a challenge is sent as it is, whatever form events have, and no key that a form puts into
/// the body is sent elsewhere.
#[tokio::test]
async fn a_challenge_is_sent_whatever_form_events_have() {
    let installation = Installation::with(&[50], ORIGIN).await;
    for form in ["slack", "teams", "pagerduty"] {
        let receiver = Receiver::answering(consenting).await;
        let draft = json!({
            "url": receiver.url("/"), "topics": ["t"], "verification": "challenge",
            "template": {"receiver": form}, "auth_token": "a-routing-key",
        });
        let id = installation.subscribe(draft).await.subscription.id;
        let answer = asked(&installation, id).await;
        assert_eq!(answer.problem, None, "{form}");
        let request = receiver.requests().remove(0);
        let has_token = request.header("authorization").is_some();
        assert_eq!(has_token, form != "pagerduty", "{form}");
    }
}

/// Goal: an answer to a handshake that repeats a secret is shown without it; a header of the
/// subscription that has the text of the origin is in the way of no consent.
#[tokio::test]
async fn what_an_answer_repeats_of_the_request_is_masked() {
    let installation = Installation::with(&[50], ORIGIN).await;
    let receiver = Receiver::answering(|request| {
        let name = if request.path == "/wrong" { "authorization" } else { "x-sender" };
        let repeated = request.header(name).unwrap_or_default();
        Reply::status(200).header("webhook-allowed-origin", repeated)
    })
    .await;
    let ask = async |path: &str| {
        let draft = json!({
            "url": receiver.url(path), "topics": ["t"], "verification": "handshake",
            "auth_token": "a-bearer-token", "headers": {"x-sender": "hooks.example.com"},
        });
        let id = installation.subscribe(draft).await.subscription.id;
        asked(&installation, id).await
    };
    let problem = ask("/wrong").await.problem.expect("it allows another origin");
    assert!(problem.contains("****") && !problem.contains("a-bearer-token"), "{problem}");
    assert_eq!(ask("/right").await.problem, None);
}

/// Goal: the rules for deliveries hold: a private address that no setting allows is not asked.
#[tokio::test]
async fn an_endpoint_that_may_not_be_called_is_not_asked() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::answering(consenting).await;
    let draft = json!({"url": receiver.url("/"), "topics": ["t"], "verification": "challenge"});
    let id = installation.subscribe(draft).await.subscription.id;
    let mut settings = installation.settings.endpoint.clone();
    settings.allow_networks.clear();
    let endpoints = Endpoints::new(&settings).expect("they can be called");
    let answer = verify(&endpoints, &installation.parts.registry, id).await.expect("it is tried");
    let problem = answer.problem.expect("it is not called");
    assert!(problem.contains("unreachable address_not_allowed"), "{problem}");
    assert_eq!((answer.verified, receiver.count()), (false, 0));
}

/// Goal: the rate that an endpoint allows is kept. Method: 120 a minute are two a second, and the
/// first comes at once.
#[tokio::test]
async fn the_rate_that_an_endpoint_allows_is_kept() {
    let installation = Installation::with(&[50], ORIGIN).await;
    let receiver =
        Receiver::answering(|request| consenting(request).header("webhook-allowed-rate", "120"))
            .await;
    let draft = json!({"url": receiver.url("/"), "topics": ["t"], "verification": "handshake"});
    let id = installation.subscribe(draft).await.subscription.id;
    assert!(asked(&installation, id).await.verified);
    let running = installation.start();
    for number in 0..5 {
        publish(&installation, number).await;
    }
    let requests = receiver.wait_for(6).await;
    running.stop().await;
    let took = requests[5].at - requests[1].at;
    assert!(took.as_millis() >= 1_900, "five events came within {took:?}");
}

/// The command says what is missing and how it ends, lists name what is not verified, and the audit
/// has the consent.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_verifies_and_lists_say_what_is_not_verified() {
    let site = Site::new(&[50], "endpoint.allow_networks = [\"127.0.0.0/8\"]");
    let receiver = Receiver::answering(consenting).await;
    let id = site.subscribe(&receiver.url("/"), "t", &["--verification", "challenge"]);
    let listed = site.command(&["subscriptions", "list"]).output().expect("it can be run");
    let notes = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(notes.contains(&format!("homing subscriptions verify {id}")), "{notes}");
    let verified = site.run(&["subscriptions", "verify", &id]);
    assert!(verified.contains("outcome     accepted 200"), "{verified}");
    let listed = site.command(&["subscriptions", "list"]).output().expect("it can be run");
    let notes = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(!notes.contains("not verified"), "{notes}");
    let shown = site.run(&["subscriptions", "get", &id]);
    assert!(shown.contains("(by challenge)"), "{shown}");
    let audit = site.run(&["audit", "--object", &id]);
    assert!(audit.contains("challenge, verified at"), "{audit}");

    let moved = ["subscriptions", "update", &id, "--url", &receiver.url("/moved")];
    let moved = site.command(&moved).output().expect("it can be run");
    let notes = String::from_utf8_lossy(&moved.stderr).into_owned();
    assert!(notes.contains(&format!("homing subscriptions verify {id}")), "{notes}");

    let file = tempfile::NamedTempFile::new().expect("a file");
    let url = receiver.url("/applied");
    let text = format!("subscriptions: [{{url: '{url}', topics: [t], verification: challenge}}]");
    std::fs::write(file.path(), text).expect("it can be written");
    let path = file.path().to_str().expect("a name");
    let applied = site.command(&["subscriptions", "apply", path, "--yes"]).output();
    let notes = String::from_utf8_lossy(&applied.expect("it can be run").stderr).into_owned();
    assert!(notes.contains("is not verified"), "{notes}");

    let other = site.subscribe(&receiver.url("/plain"), "t", &[]);
    let refused = site.command(&["subscriptions", "verify", &other]).output().expect("it is run");
    assert_eq!(refused.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(errors.contains("`verification`: is not set"), "{errors}");
}
