//! homing identifies itself to endpoints that ask for a client certificate; nginx is one.

use homing::{
    registry::RegistryError,
    test_event::{self, TestEvent, TestEventResponse},
};
use homing_delivery::{endpoint::Endpoints, settings::EndpointSettings};
use homing_domain::{
    clock,
    id::SubscriptionId,
    subscription::{Draft, FieldError, Subscription},
};
use serde_json::{Value, json};

use crate::support::{
    authority::Authority, broker::Raw, eventually, holds, installation::Installation, nginx::Nginx,
};

/// It writes the path and the name of the client.
const LOG: &str = "$uri $ssl_client_s_dn $connection";

/// An nginx that takes certificates of `authority` alone, and none of those in the list `revoked`.
async fn asking(authority: &Authority, revoked: &str) -> Nginx {
    let directives = "ssl_client_certificate {folder}/ca.pem; ssl_verify_client on; \
                      ssl_crl {folder}/revoked.pem;";
    Nginx::start(LOG, directives, &[("ca.pem", &authority.pem), ("revoked.pem", revoked)]).await
}

fn pem((certificate, key): &(String, String)) -> Value {
    json!({ "certificate": certificate, "key": key })
}

fn trusting(nginx: &Nginx) -> String {
    format!("ca_file = \"{}\"\nallow_networks = [\"127.0.0.0/8\"]", nginx.certificate().display())
}

fn subscription(nginx: &Nginx, certificate: Option<&(String, String)>) -> Subscription {
    let draft = json!({
        "url": nginx.url("/hook"), "topics": ["t"], "client_certificate": certificate.map(pem),
    });
    let draft: Draft = serde_json::from_value(draft).expect("a draft");
    let (id, now) = (SubscriptionId::new(clock::new_id()), clock::now());
    let spec = draft.build(&[]).expect("the subscription is sound");
    Subscription { id, spec, created: now, updated: now }
}

async fn sent(endpoints: &Endpoints, subscription: &Subscription) -> TestEventResponse {
    let sent = test_event::send(endpoints, subscription, TestEvent::default()).await;
    sent.expect("the request can be made")
}

/// Goal: the right certificate is accepted, and of every other one the attempt says what is wrong and
/// what to do.
#[tokio::test]
async fn an_endpoint_that_asks_for_a_certificate_gets_the_right_one() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let (revoked, list) = ours.issue_revoked("homing");
    let nginx = asking(&ours, &list).await;
    let settings = EndpointSettings::from_toml(&trusting(&nginx)).expect("settings");
    let endpoints = Endpoints::new(&settings).expect("they can be called");

    let right = ours.issue("homing");
    let accepted = sent(&endpoints, &subscription(&nginx, Some(&right))).await;
    assert!(accepted.accepted, "{accepted:?}");
    let log = nginx.requests();
    assert!(log.iter().any(|line| line.starts_with("/hook CN=homing ")), "{log:?}");

    let (expired, stranger) = (ours.issue_expired("homing"), others.issue("homing"));
    let no = "does not accept the client certificate";
    for (certificate, expected) in [
        (None, "wants a client certificate"),
        (Some(&expired), no),
        (Some(&stranger), no),
        (Some(&revoked), no),
    ] {
        let refused = sent(&endpoints, &subscription(&nginx, certificate)).await;
        assert_eq!(refused.outcome, "refused 400", "{refused:?}");
        let cause = refused.cause.expect("a cause");
        assert!(cause.contains(expected) && cause.contains("`client_certificate`"), "{cause}");
    }
    let still = sent(&endpoints, &subscription(&nginx, Some(&right))).await;
    assert!(still.accepted, "no other one took its connection: {still:?}");
}

/// Goal: one certificate for all subscriptions, and a subscription's own one before it.
#[tokio::test]
async fn the_certificate_of_the_settings_is_for_subscriptions_without_their_own() {
    let ours = Authority::new("ours");
    let (_, list) = ours.issue_revoked("revoked");
    let nginx = asking(&ours, &list).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = ours.issue("for-all");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    };
    let (certificate, key) = (file("c.pem", &certificate), file("k.pem", &key));
    let settings = format!(
        "{}\nclient_certificate_file = \"{certificate}\"\nclient_key_file = \"{key}\"",
        trusting(&nginx)
    );
    let read = |settings: &str| EndpointSettings::from_toml(settings).expect("settings");
    let endpoints = Endpoints::new(&read(&settings)).expect("they can be called");
    assert!(endpoints.certificate_expires().is_some());
    assert!(sent(&endpoints, &subscription(&nginx, None)).await.accepted);
    assert!(sent(&endpoints, &subscription(&nginx, Some(&ours.issue("own")))).await.accepted);
    assert!(sent(&endpoints, &subscription(&nginx, None)).await.accepted);
    let names: Vec<_> = nginx.requests().iter().map(|line| client(line)).collect();
    assert_eq!(names, ["CN=for-all", "CN=own", "CN=for-all"]);

    let alone = format!("{}\nclient_key_file = \"{key}\"", trusting(&nginx));
    let error = Endpoints::new(&read(&alone)).err().expect("the certificate is missing");
    assert!(error.to_string().contains("`endpoint.client_certificate_file`"), "{error}");
    let other = file("other.pem", &ours.issue("other").1);
    let error = Endpoints::new(&read(&settings.replace(&key, &other))).err();
    let error = error.expect("the key is another one's").to_string();
    assert!(error.contains("`endpoint.client_key_file`: the key in "), "{error}");
}

/// The name in a line of the log.
fn client(line: &str) -> String {
    line.split(' ').nth(1).expect("a name").to_owned()
}

/// Goal: connections belong to one certificate, and a new one is presented at once. Method: two
/// subscriptions at one host get the same events from a running worker, and one of them gets another
/// certificate meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_do_not_mix_and_are_replaced_while_a_worker_runs() {
    const EVENTS: usize = 60;
    let ours = Authority::new("ours");
    let (_, list) = ours.issue_revoked("revoked");
    let nginx = asking(&ours, &list).await;
    let ca_file = format!("endpoint.ca_file = \"{}\"", nginx.certificate().display());
    let installation = Installation::with(&[50], &ca_file).await;
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        let draft = json!({
            "url": nginx.url(&format!("/{name}")), "topics": ["#"],
            "client_certificate": pem(&ours.issue(name)),
        });
        ids.push(installation.subscribe(draft).await.subscription.id);
    }
    let running = installation.start();
    let publish = async |begin: usize| {
        for number in begin..begin + EVENTS {
            installation.publisher.publish(Raw::new("t", &format!("event-{number}"), "{}")).await;
        }
        eventually(async || {
            let requests = nginx.requests().len();
            let expected = 2 * (begin + EVENTS);
            holds(requests >= expected, format!("{requests} of {expected} requests"))
        })
        .await;
    };
    publish(0).await;
    for line in nginx.requests() {
        assert!(line.starts_with("/a CN=a ") || line.starts_with("/b CN=b "), "{line}");
    }

    let registry = &installation.parts.registry;
    let change = |issued: &(String, String)| {
        serde_json::Map::from_iter([("client_certificate".to_owned(), pem(issued))])
    };
    let expired = registry.update(ids[0], change(&ours.issue_expired("a"))).await;
    let Err(RegistryError::Field(FieldError { field, message })) = expired else {
        panic!("an expired certificate is taken: {expired:?}");
    };
    assert_eq!(field, "client_certificate.certificate");
    assert!(message.starts_with("it expired at 2020-01-01"), "{message}");
    registry.update(ids[0], change(&ours.issue("a-renewed"))).await.expect("it is taken");
    eventually(async || {
        let begin = nginx.requests().len() / 2;
        publish(begin).await;
        let newest: Vec<_> = nginx.requests().into_iter().skip(2 * begin).collect();
        let is_new = newest.iter().filter(|line| line.starts_with("/a CN=a-renewed ")).count();
        holds(is_new == EVENTS, format!("{is_new} of {EVENTS} with the new one: {newest:?}"))
    })
    .await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert!(installation.wait_for_parked(0).await.is_empty());
}
