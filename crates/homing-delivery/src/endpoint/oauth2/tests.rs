//! Tokens in memory: asked for once, renewed in time, and no oftener than a token endpoint takes.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;
use tokio::{io::AsyncWriteExt, time::sleep};

use super::*;
use crate::endpoint::{
    dns::Dns,
    resolve::Resolver,
    tests::{
        samples::local_settings,
        server::{Server, read_request},
    },
};

const PATIENCE: Duration = Duration::from_secs(10);

fn tokens() -> Arc<Tokens> {
    let settings = local_settings();
    let networks: Arc<[IpNet]> = settings.networks().unwrap().into();
    let dns = Dns::new(Vec::new(), Duration::from_secs(1));
    let resolver = Resolver::new(Arc::clone(&networks), dns);
    let client = Client::new(&settings, resolver, None).unwrap();
    Tokens::new(client, Permitted::new(&settings, networks).unwrap(), None)
}

fn credentials(server: &Server) -> OAuth2Credentials {
    let url = format!("http://{}/token", server.address);
    let credentials = json!({"token_url": url, "client_id": "c", "client_secret": "s"});
    serde_json::from_value(credentials).unwrap()
}

/// A token endpoint whose tokens last for `lifetime` seconds; each connection is one request, which
/// is answered after `pause`.
async fn issuing(lifetime: u32, pause: Duration) -> Server {
    Server::start(move |mut stream| async move {
        let number = fastrand::u64(..);
        while read_request(&mut stream).await.is_some() {
            sleep(pause).await;
            let body = format!(
                r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":{lifetime}}}"#
            );
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}", body.len());
            let answer = format!("{head}\r\n\r\n{body}");
            let _sent = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn all_that_wait_for_a_token_get_the_same_one() {
    let server = issuing(3_600, Duration::from_millis(100)).await;
    let (tokens, credentials) = (tokens(), credentials(&server));
    let get = || tokens.get(&credentials, PATIENCE);
    let got = futures_util::future::join_all((0..100).map(|_| get())).await;
    let first = got[0].as_ref().ok().unwrap();
    assert!(got.iter().all(|one| Arc::ptr_eq(one.as_ref().ok().unwrap(), first)));
    assert_eq!(server.connections(), 1);
    let other = OAuth2Credentials { client_id: "d".to_owned(), ..credentials.clone() };
    assert_ne!(tokens.get(&other, PATIENCE).await.ok().unwrap().reveal(), first.reveal());
}

#[tokio::test]
async fn a_slow_token_endpoint_keeps_no_delivery_waiting_for_longer_than_it_may() {
    let server = issuing(3_600, Duration::from_millis(600)).await;
    let (tokens, credentials) = (tokens(), credentials(&server));
    let error = tokens.get(&credentials, Duration::from_millis(50)).await.err().unwrap();
    assert!(error.to_string().ends_with("there was no answer yet"), "{error}");
    // The request that was begun goes on.
    assert!(tokens.get(&credentials, PATIENCE).await.is_ok());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_in_the_background_before_it_expires() {
    let server = issuing(4, Duration::ZERO).await;
    let (tokens, credentials) = (tokens(), credentials(&server));
    let get = async || tokens.get(&credentials, PATIENCE).await.ok().unwrap();
    let first = get().await;
    sleep(Duration::from_millis(2_750)).await;
    let still = get().await;
    assert!(Arc::ptr_eq(&first, &still), "it is sent while the next one is asked for");
    let mut next = get().await;
    while Arc::ptr_eq(&first, &next) {
        sleep(Duration::from_millis(10)).await;
        next = get().await;
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_refused_token_is_renewed_unless_it_is_young() {
    let server = issuing(3_600, Duration::ZERO).await;
    let (tokens, credentials) = (tokens(), credentials(&server));
    let renewed = async |token: &Arc<Token>| {
        tokens.renewed(&credentials, token, Instant::now() + PATIENCE).await
    };
    let young = tokens.get(&credentials, PATIENCE).await.ok().unwrap();
    assert!(renewed(&young).await.is_none());
    assert_eq!(server.connections(), 1);

    let old = Token::new("old".to_owned(), 0, MIN_AGE, Duration::from_hours(1));
    tokens.entry(&credentials).state.send_replace(State::of(old));
    let old = tokens.get(&credentials, PATIENCE).await.ok().unwrap();
    let new = renewed(&old).await.expect("it is old enough");
    assert_ne!(new.reveal(), old.reveal());
    assert!(Arc::ptr_eq(&renewed(&old).await.unwrap(), &new), "it was renewed already");
    assert_eq!(server.connections(), 2);
}

/// Goal: an endpoint that refuses a good token delays no other one that gets it.
#[tokio::test]
async fn a_refused_token_is_sent_to_others_until_the_next_one_is_there() {
    let server = issuing(3_600, Duration::from_millis(300)).await;
    let (tokens, credentials) = (tokens(), credentials(&server));
    let old = Token::new("old".to_owned(), 0, MIN_AGE, Duration::from_hours(1));
    tokens.entry(&credentials).state.send_replace(State::of(old));
    let old = tokens.get(&credentials, PATIENCE).await.ok().unwrap();
    let renewed = tokens.renewed(&credentials, &old, Instant::now() + PATIENCE);
    let beside = async {
        while server.connections() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        tokens.get(&credentials, Duration::ZERO).await.expect("it need not wait")
    };
    let (renewed, beside) = tokio::join!(renewed, beside);
    let renewed = renewed.expect("it is old enough");
    assert!(Arc::ptr_eq(&beside, &old) && !Arc::ptr_eq(&renewed, &old));
    assert!(Arc::ptr_eq(&tokens.get(&credentials, PATIENCE).await.ok().unwrap(), &renewed));
    assert_eq!(server.connections(), 1);
}

/// Goal: a token endpoint that fails is asked ever more seldom, and not by each delivery.
#[tokio::test]
async fn a_failure_is_waited_out() {
    let server = Server::answering("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n").await;
    let (tokens, credentials) = (tokens(), credentials(&server));
    let failure = || tokens.entry(&credentials).state.borrow().failure.clone().unwrap();
    for count in 1..=3 {
        for _ in 0..20 {
            let error = tokens.get(&credentials, PATIENCE).await.err().unwrap();
            assert!(error.to_string().ends_with("it answered 503"), "{error}");
        }
        assert_eq!(failure().count, count);
        let pause = failure().until.duration_since(Instant::now());
        assert!(pause <= Duration::from_secs(1 << (count - 1)), "{pause:?}");
        tokens.entry(&credentials).state.send_modify(|state| {
            state.failure.as_mut().unwrap().until = Instant::now();
        });
    }
}
