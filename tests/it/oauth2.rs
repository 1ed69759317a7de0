//! homing authenticates itself to endpoints by OAuth 2.0; oidc-provider issues and checks tokens.

use std::time::Duration;

use homing::{
    registry::TokenView,
    test_event::{self, TestEvent, TestEventError},
};
use homing_delivery::{endpoint::Endpoints, settings::EndpointSettings};
use homing_domain::{
    circuit::StateName,
    clock,
    id::SubscriptionId,
    subscription::{Draft, Subscription},
};
use homing_store::Intervention;
use serde_json::{Value, json};

use crate::{
    circuits::{CIRCUIT, wait_for_state},
    held::{Endpoint, numbers, publish, set},
    support::{
        broker::Raw,
        egress::{Egress, Kind},
        eventually, holds,
        installation::Installation,
        oauth_server::OAuthServer,
        process::Site,
        receiver::{Receiver, Reply},
    },
};

fn subscription(url: &str, authentication: &Value) -> Subscription {
    let draft = json!({"url": url, "topics": ["t"], "authentication": authentication});
    let draft: Draft = serde_json::from_value(draft).expect("a draft");
    let (id, now) = (SubscriptionId::new(clock::new_id()), clock::now());
    let spec = draft.build(&[]).expect("the subscription is sound");
    Subscription { id, spec, created: now, updated: now }
}

fn endpoints(further: &str) -> Endpoints {
    let settings = format!("allow_networks = [\"127.0.0.0/8\"]\n{further}");
    let settings = EndpointSettings::from_toml(&settings).expect("settings");
    Endpoints::new(&settings).expect("they can be called")
}

/// Sends a test event; the outcome, or the reason for making no request.
async fn sent(endpoints: &Endpoints, subscription: &Subscription) -> Result<String, String> {
    match test_event::send(endpoints, subscription, TestEvent::default()).await {
        Ok(sent) => Ok(sent.outcome),
        Err(TestEventError::Request(error)) => {
            Err(homing_domain::report::Chain(&error).to_string())
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_client_gets_a_token_by_header_or_body_and_a_wrong_one_is_named() {
    let server = OAuthServer::start(300).await;
    let endpoints = endpoints("");
    for client in ["by-header", "by-body"] {
        let right = subscription(&server.url("/hook"), &server.credentials(client));
        assert_eq!(sent(&endpoints, &right).await.as_deref(), Ok("accepted 200"), "{client}");
        assert_eq!(sent(&endpoints, &right).await.as_deref(), Ok("accepted 200"));
    }
    assert_eq!(server.token_requests().len(), 2, "each once");

    for (field, value, expected) in [
        ("client_secret", "wrong", "it answered 401 `invalid_client`"),
        ("client_id", "stranger", "it answered 401 `invalid_client`"),
        ("scope", "others", "it answered 400 `invalid_scope`"),
        ("token_url", &*server.url("/elsewhere"), "it answered 404"),
    ] {
        let mut wrong = server.credentials("by-body");
        wrong["oauth2"][field] = json!(value);
        let wrong = subscription(&server.url("/hook"), &wrong);
        let error = sent(&endpoints, &wrong).await.expect_err("there is no token");
        assert!(error.contains(expected) && error.contains("check `"), "{error}");
    }
}

/// Goal: tokens are fetched through the proxy, too, and where it fails, that is said of the proxy.
#[tokio::test]
async fn a_token_is_fetched_through_a_proxy() {
    let server = OAuthServer::start(300).await;
    for kind in [Kind::Tinyproxy, Kind::Microsocks] {
        let proxy = Egress::start(kind, false, "").await;
        let through = endpoints(&format!("proxy = \"{}\"", proxy.url("")));
        let one = subscription(&server.url("/hook"), &server.credentials("by-header"));
        assert_eq!(sent(&through, &one).await.as_deref(), Ok("accepted 200"), "{kind:?}");
        let host = server.url("").replace("http://", "");
        assert!(proxy.was_asked_for(&host), "{host}: {}", proxy.log());

        proxy.kill_9();
        let other = subscription(&server.url("/hook"), &server.credentials("by-body"));
        let error = sent(&through, &other).await.expect_err("there is no token");
        assert!(error.contains("no OAuth 2.0 token") && error.contains("the proxy"), "{error}");
    }
}

/// Goal: what is no token holds deliveries, says what is wrong, and shows nothing that came.
#[tokio::test]
async fn a_token_endpoint_that_answers_nonsense_is_described() {
    let receiver = Receiver::answering(|request| match request.path.as_str() {
        "/html" => Reply::status(200).saying("<p>secret</p>"),
        "/none" => Reply::status(200).saying("{\"token_type\":\"Bearer\"}"),
        "/mac" => Reply::status(200).saying("{\"access_token\":\"secret\",\"token_type\":\"mac\"}"),
        "/endless" => Reply::status(200).endless(),
        "/elsewhere" => Reply::status(307).header("location", "/token"),
        "/busy" => Reply::status(429).header("retry-after", "60"),
        "/slow" => Reply::status(200).after(Duration::from_secs(60)),
        path => panic!("{path} is called"),
    })
    .await;
    let endpoints = endpoints("deadline = \"2s\"");
    let mut said = Vec::new();
    for path in ["/html", "/none", "/mac", "/endless", "/elsewhere", "/busy", "/slow"] {
        let authentication = json!({"oauth2": {
            "token_url": receiver.url(path), "client_id": "c", "client_secret": "s3cret",
        }});
        let one = subscription(&receiver.url("/hook"), &authentication);
        let error = sent(&endpoints, &one).await.expect_err("there is no token");
        said.push(error.replace(&receiver.url(""), ""));
    }
    let said = said.join("\n");
    assert!(!said.contains("secret"), "{said}");
    insta::assert_snapshot!(said, @"
    no OAuth 2.0 token: /html: it answered 200 with something else than a JSON object with a token
    no OAuth 2.0 token: /none: it answered 200 without an `access_token`
    no OAuth 2.0 token: /mac: it answered 200 with a `token_type` other than `Bearer`
    no OAuth 2.0 token: /endless: the answer is too long
    no OAuth 2.0 token: /elsewhere: it answered 307; redirects are not followed; `token_url` has to be the URL that it ends at
    no OAuth 2.0 token: /busy: it answered 429
    no OAuth 2.0 token: /slow: there was no answer yet
    ");
    assert_eq!(receiver.count(), 7, "each is asked once");
}

/// Goal: the address of a token endpoint is checked as that of an endpoint.
#[tokio::test]
async fn a_token_endpoint_at_a_private_address_is_not_called() {
    let receiver = Receiver::accepting().await;
    let settings = EndpointSettings::from_toml("").expect("settings");
    let endpoints = Endpoints::new(&settings).expect("they can be called");
    for host in ["127.0.0.1", "localhost"] {
        let token_url = receiver.url("/token").replace("127.0.0.1", host);
        let authentication = json!({"oauth2": {
            "token_url": token_url, "client_id": "c", "client_secret": "s",
        }});
        let one = subscription("https://example.com/", &authentication);
        let error = sent(&endpoints, &one).await.expect_err("there is no token");
        assert!(error.contains("is not called (endpoint.allow_networks)"), "{error}");
    }
    assert_eq!(receiver.count(), 0);
}

/// Goal: what the settings allow to call holds for a token endpoint, too.
#[tokio::test]
async fn a_token_endpoint_at_a_port_that_is_refused_is_not_called() {
    let receiver = Receiver::accepting().await;
    let url = receiver.url("");
    let port = url.rsplit_once(':').expect("a port").1;
    let endpoints = endpoints(&format!("refuse_ports = [\"{port}\"]"));
    let authentication = json!({"oauth2": {
        "token_url": receiver.url("/token"), "client_id": "c", "client_secret": "s",
    }});
    let one = subscription("https://example.com/", &authentication);
    let error = sent(&endpoints, &one).await.expect_err("there is no token");
    assert!(error.contains("is not called (endpoint.refuse_ports)"), "{error}");
    assert_eq!(receiver.count(), 0);
}

/// Goal: one token request in a lifetime for all workers. Method: four processes, which deliver all
/// the time; first a long lifetime, then a short one.
#[tokio::test(flavor = "multi_thread")]
async fn four_workers_ask_once_in_a_lifetime() {
    const EVENTS: usize = 200;
    for (lifetime, rounds, requests) in [(3_600, 1, 1..=1), (5, 3, 2..=5)] {
        let server = OAuthServer::start(lifetime).await;
        let site = Site::new(&[200, 400, 800, 1_600], "");
        let secret = site.folder.path().join("secret");
        std::fs::write(&secret, "s3cret: 100%\n").expect("it can be written");
        let (token_url, secret) = (server.url("/token"), secret.display().to_string());
        let client = ["--oauth2-token-url", &token_url, "--oauth2-client-id", "by-header"];
        let more = ["--oauth2-client-secret-file", &secret, "--oauth2-scope", "hooks"];
        site.subscribe(&server.url("/hook"), "#", &[client, more].concat());
        let workers: Vec<_> = (0..4).map(|_| site.start()).collect();
        site.wait_for_consumers(4).await;
        let publisher = site.publisher().await;
        for round in 0..rounds {
            for number in 0..EVENTS {
                let id = format!("event-{round}-{number}");
                publisher.publish(Raw::new("t", &id, "{}")).await;
            }
            server.wait_for_accepted((round + 1) * EVENTS).await;
            let pause = Duration::from_secs(if rounds > 1 { 5 } else { 0 });
            // The token of this round is to expire.
            tokio::time::sleep(pause).await;
        }
        site.wait_until_settled().await;
        let asked = server.token_requests();
        assert!(requests.contains(&asked.len()), "{} requests: {asked:?}", asked.len());
        let refused = server.hooks().into_iter().filter(|hook| hook.status != 200).count();
        assert_eq!(refused, 0, "an expired token was sent");
        drop(workers);
    }
}

/// Goal: a token that is revoked is renewed at once, and no attempt fails because of that; a young one
/// is not. Method: the database says that the token is older than it is.
#[tokio::test]
async fn a_token_that_is_revoked_is_renewed_at_once() {
    let server = OAuthServer::start(3_600).await;
    let installation = Installation::new(&[100, 200]).await;
    let authentication = server.credentials("by-body");
    let draft =
        json!({"url": server.url("/hook"), "topics": ["#"], "authentication": authentication});
    let id = installation.subscribe(draft).await.subscription.id;
    let deliver = async |event: &str, accepted: usize| {
        let running = installation.start();
        installation.publisher.publish(Raw::new("t", event, "{}")).await;
        let hooks = server.wait_for_accepted(accepted).await;
        running.stop().await;
        hooks
    };
    let first = deliver("first", 1).await.remove(0).token.expect("a token");
    let again = deliver("again", 2).await;
    assert_eq!(again[1].token.as_deref(), Some(&*first), "it is read from the store");

    server.revoke(&first).await;
    installation.shell("UPDATE oauth2_tokens SET obtained_ms = obtained_ms - 61000").await;
    let statuses: Vec<_> = deliver("revoked", 3).await.iter().map(|hook| hook.status).collect();
    assert_eq!(statuses, [200, 200, 401, 200]);
    assert_eq!(server.token_requests().len(), 2);
    let hooks = server.hooks();
    let (refused, accepted) = (&hooks[2], &hooks[3]);
    assert!(refused.id == accepted.id && refused.token != accepted.token, "{hooks:?}");
    installation.assert_nothing_waits().await;

    server.revoke(accepted.token.as_deref().expect("a token")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "too-young", "{}")).await;
    let parked = installation.wait_for_parked(1).await;
    assert_eq!(parked[0].attempts, 3, "as its schedule says");
    assert_eq!(server.token_requests().len(), 2, "the endpoint refuses a token just obtained");
    running.stop().await;
    let view = installation.parts.registry.view(id).await.expect("it is there");
    let Some(TokenView { obtained: Some(_), error: None, .. }) = view.oauth2_token else {
        panic!("{:?}", view.oauth2_token);
    };
}

/// Goal: while there is no token, deliveries wait uncharged, and say why wherever one looks; a token
/// that is there is sent meanwhile. Method: the server is started only afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_deliveries_wait_uncharged_and_say_why() {
    let mut server = OAuthServer::stopped(3_600);
    let site = Site::new(&[100, 200], "");
    let secret = site.folder.path().join("secret");
    std::fs::write(&secret, "s3cret: 100%").expect("it can be written");
    let (token_url, secret) = (server.url("/token"), secret.display().to_string());
    let client = ["--oauth2-token-url", &token_url, "--oauth2-client-id", "by-header"];
    let more = ["--oauth2-client-secret-file", &secret, "--oauth2-scope", "hooks"];
    let id = site.subscribe(&server.url("/hook"), "#", &[client, more].concat());
    let worker = site.start();
    site.wait_for_consumers(1).await;
    site.publisher().await.publish(Raw::new("t", "e1", "{}")).await;

    let why = format!("no OAuth 2.0 token: {token_url}: ");
    eventually(async || {
        // It fails while nothing is known.
        let explained = site.command(&["explain", "e1"]).output().expect("the program can be run");
        let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
        let says = explained.contains("throttled since") && explained.contains(&why);
        holds(says, explained)
    })
    .await;
    let listed = site.run(&["deliveries", "--state", "throttled", "--json"]);
    assert!(listed.contains("\"e1\""), "{listed}");
    let shown = site.run(&["subscriptions", "get", &id]);
    assert!(shown.contains("none yet; not renewed since") && !shown.contains("s3cret"), "{shown}");
    assert_eq!(site.run(&["endpoints", "list", "--json"]).matches("\"url\"").count(), 0);
    let log = std::fs::read_to_string(site.log()).expect("there is a log");
    assert!(log.contains("oauth2_token.not_obtained"), "{log}");
    eventually(async || {
        let log = std::fs::read_to_string(site.log()).expect("there is a log");
        holds(log.contains("deliveries.deferred"), log)
    })
    .await;

    server.begin().await;
    let hooks = server.wait_for_accepted(1).await;
    assert_eq!(hooks.len(), 1);
    site.wait_until_settled().await;
    eventually(async || {
        let attempts = site.run(&["attempts", "--json"]);
        holds(attempts.replace(' ', "").contains("\"attempt\":1"), attempts)
    })
    .await;
    let shown = site.run(&["subscriptions", "get", &id]);
    assert!(shown.contains("its token    until ") && !shown.contains("not renewed"), "{shown}");
    drop(worker);
}

/// Goal: a store that is away stops no delivery that has a token. Method: its lock for writers is held
/// while the token is due to be renewed.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_stops_no_delivery_with_a_token() {
    let server = OAuthServer::start(12).await;
    let installation = Installation::new(&[100, 200]).await;
    let authentication = server.credentials("by-header");
    let draft =
        json!({"url": server.url("/hook"), "topics": ["#"], "authentication": authentication});
    installation.subscribe(draft).await;
    let running = installation.start();
    let publish = async |event: &str| {
        installation.publisher.publish(Raw::new("t", event, "{}")).await;
    };
    publish("first").await;
    server.wait_for_accepted(1).await;
    let lock = installation.lock_store().await;
    for number in 0..30 {
        publish(&format!("event-{number}")).await;
        server.wait_for_accepted(2 + number).await;
        // Over more than the lifetime of a token.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    drop(lock);
    assert!(server.token_requests().len() >= 2, "it was renewed without the store");
    assert!(server.hooks().iter().all(|hook| hook.status == 200));
    running.stop().await;
}

/// Goal: what is held for an endpoint that is down stays held while homing has no token for it, or
/// probes would take all of it out of its queue, one after the other, as fast as they can.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_probes_leave_what_is_held() {
    const HELD: u32 = 60;
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let installation = Installation::with(&[60_000], &settings).await;
    let endpoint = Endpoint::answering(503).await;
    let url = endpoint.receiver.url("/hook");
    let id = installation.subscribe_all(&url).await;
    let running = installation.start();
    publish(&installation, &numbers(1_000..1_024)).await;
    wait_for_state(&installation, &url, StateName::Open).await;
    let held = numbers(0..HELD);
    publish(&installation, &held).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    let queue = installation.names().held(0);
    let depth = async || installation.publisher.depth(&queue).await;
    eventually(async || holds(depth().await >= HELD, "not all are held")).await;

    // It answers 503 as well.
    let credentials = json!({"oauth2": {
        "token_url": endpoint.receiver.url("/token"), "client_id": "c", "client_secret": "s",
    }});
    let change = |authentication: Value| {
        json!({"authentication": authentication}).as_object().cloned().expect("an object")
    };
    let registry = &installation.parts.registry;
    registry.update(id, change(credentials)).await.expect("it can be changed");
    let before = depth().await;
    eventually(async || {
        // The worker may not know of the change at the first one.
        set(&installation, &url, Intervention::Probe).await;
        holds(endpoint.receiver.count_at("/token") > 0, "no token is asked for")
    })
    .await;
    // Time for many probes, if nothing kept them apart.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let taken = before.saturating_sub(depth().await);
    assert!(taken <= 3, "{taken} of {before} were taken out of the queue");

    registry.update(id, change(Value::Null)).await.expect("it can be changed");
    endpoint.now_answers(200);
    set(&installation, &url, Intervention::Enable).await;
    endpoint.wait_for(&held).await;
    running.stop().await;
}
