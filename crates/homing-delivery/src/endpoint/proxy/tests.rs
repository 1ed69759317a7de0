//! Proxies that misbehave as no real one does on request.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::endpoint::{
    Attempted, Endpoints, RequestError,
    tests::{
        samples::{delivery, event, local_settings, subscription},
        server::Server,
    },
};
use homing_domain::{
    outcome::{Obstacle, Outcome, Phase},
    report::Chain,
    time::UnixMillis,
};

fn settings(proxy: &str) -> EndpointSettings {
    EndpointSettings {
        proxy: proxy.to_owned(),
        deadline: Duration::from_secs(2),
        connect_deadline: Duration::from_millis(800),
        ..local_settings()
    }
}

async fn attempt(server: &Server, url: &str) -> Result<Attempted, RequestError> {
    let endpoints = Endpoints::new(&settings(&format!("http://{}", server.address))).unwrap();
    let subscription = subscription(url, &json!({}));
    let delivery = delivery(event(), &subscription);
    endpoints.attempt(&delivery, &subscription, UnixMillis::new(0)).await
}

/// The head of a request.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// A proxy that answers CONNECT with `connect` and everything else with 400; empty: never.
async fn answering(connect: &'static str, others: &'static str) -> Server {
    Server::start(move |mut stream| async move {
        let Some(head) = head(&mut stream).await else { return };
        let answer = if head.starts_with("CONNECT") { connect } else { others };
        if answer.is_empty() {
            return std::future::pending().await;
        }
        let _sent = stream.write_all(answer.as_bytes()).await;
    })
    .await
}

const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_host_that_the_proxy_does_not_reach_in_time_is_charged() {
    let proxy = Server::start(|mut stream| async move {
        let Some(head) = head(&mut stream).await else { return };
        if head.starts_with("CONNECT 127.0.0.1:7 ") {
            return std::future::pending().await;
        }
        let _sent = stream.write_all(BAD_REQUEST.as_bytes()).await;
    })
    .await;
    let attempted = attempt(&proxy, "http://127.0.0.1:7/").await.unwrap();
    assert_eq!(attempted.outcome, Outcome::TimedOut { phase: Phase::Connect });
}

#[tokio::test]
async fn a_proxy_that_answers_nothing_is_not_the_endpoints_fault() {
    let proxy = answering("", "").await;
    let error = attempt(&proxy, "http://127.0.0.1:9/").await.unwrap_err();
    assert!(matches!(error, RequestError::Proxy(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_no_proxy_is_recognised() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "as a web server"),
        ("+OK POP3 ready\r\n\r\n", "does not speak HTTP"),
        ("HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n", "user and password (407 No)"),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "fails: 503 Busy"),
    ] {
        let proxy = answering(answer, BAD_REQUEST).await;
        let error = attempt(&proxy, "http://127.0.0.1:9/").await.unwrap_err();
        assert!(error.may_pass(), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Goal: an endpoint that speaks first, in the packet in which the proxy says that there is a tunnel,
/// is charged for that, and the others are called on: any tenant may have one, such as a mail server.
#[tokio::test]
async fn an_endpoint_that_speaks_first_stops_no_others() {
    let proxy = answering("HTTP/1.1 200 OK\r\n\r\n220 mail ready\r\n", BAD_REQUEST).await;
    let endpoints = Endpoints::new(&settings(&format!("http://{}", proxy.address))).unwrap();
    for url in ["http://127.0.0.1:9/", "https://127.0.0.1:9/"] {
        let subscription = subscription(url, &json!({}));
        let delivery = delivery(event(), &subscription);
        let attempted = endpoints.attempt(&delivery, &subscription, UnixMillis::new(0)).await;
        let attempted = attempted.unwrap();
        assert_eq!(attempted.outcome, Outcome::Unreachable { kind: Obstacle::NotHttp });
        let cause = attempted.cause.unwrap();
        assert!(cause.contains("before it is asked"), "{cause}");
        assert_eq!(endpoints.proxy_problem(), None);
    }
}

/// Goal: while the proxy fails, what is not to be called takes no turn to ask it from others.
#[tokio::test]
async fn a_host_that_is_not_called_takes_no_turn_of_a_proxy_that_fails() {
    let server = answering("HTTP/1.1 200 OK\r\n\r\n", BAD_REQUEST).await;
    let settings = EndpointSettings {
        allow_networks: Vec::new(),
        proxy_dns: ProxyDns::Proxy,
        ..settings(&format!("http://{}", server.address))
    };
    let resolver = Resolver::anywhere(names(&settings).unwrap());
    let proxy = Proxy::of(&settings, &resolver).unwrap().unwrap();
    proxy.health.failed(&ProxyError::Silent);
    // Until it may be asked again.
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let connect = async |uri: &str| proxy.connect(uri.parse().unwrap()).await;
    let error = connect("http://a.localhost/").await.err().unwrap();
    assert!(error.is::<ResolveError>(), "{error:?}");
    assert!(connect("http://example.com/").await.is_ok());
    assert_eq!(proxy.problem(), None);
}

/// Goal: a request whose tunnel ends is sent again once, because the proxy may have ended it; then it
/// is the endpoint's if the proxy answers.
#[tokio::test]
async fn a_tunnel_that_ends_is_opened_once_more() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let proxy = Server::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let Some(asked) = head(&mut stream).await else { return };
            if !asked.starts_with("CONNECT") {
                let _sent = stream.write_all(BAD_REQUEST.as_bytes()).await;
                return;
            }
            let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            if head(&mut stream).await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let attempted = attempt(&proxy, "http://127.0.0.1:9/").await.unwrap();
    let lost = Outcome::Unreachable { kind: Obstacle::ConnectionLost };
    assert_eq!((attempted.outcome, requests.load(Ordering::SeqCst)), (lost, 2));
}

#[tokio::test]
async fn hosts_are_called_without_it_as_listed() {
    let no_proxy = ["example.com", ".internal", "10.0.0.0/8", "fd00::1"];
    let no_proxy = no_proxy.map(str::to_owned).into();
    let settings = EndpointSettings { no_proxy, ..settings("http://proxy:3128") };
    let resolver = Resolver::anywhere(names(&settings).unwrap());
    let proxy = Proxy::of(&settings, &resolver).unwrap().unwrap();
    let served = |uri: &str| proxy.serves(&uri.parse().unwrap());
    for direct in [
        "https://example.com/",
        "http://a.example.com:8080/",
        "https://example.com./",
        "https://a.internal/",
        "https://10.1.2.3/",
        "https://[fd00::1]/",
    ] {
        assert!(!served(direct), "{direct}");
    }
    for proxied in ["https://example.org/", "https://notexample.com/", "http://11.0.0.1/"] {
        assert!(served(proxied), "{proxied}");
    }
}

#[test]
fn a_file_with_the_login_is_read_or_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let refusal = |path: &str| {
        let proxy_login_file = path.to_owned();
        let settings = EndpointSettings { proxy_login_file, ..settings("http://proxy") };
        let resolver = Resolver::anywhere(names(&settings).unwrap());
        Proxy::of(&settings, &resolver).err().map(|error| Chain(&error).to_string())
    };
    let missing = refusal("/nowhere/login").unwrap();
    assert!(missing.starts_with("`endpoint.proxy_login_file`: cannot read"), "{missing}");
    assert!(refusal(&path).unwrap().contains("USER:PASSWORD"));
    file.write_all(b"user:pass:word\n").unwrap();
    assert_eq!(refusal(&path), None);
    assert_eq!(login(&path).unwrap(), ("user".to_owned(), "pass:word".to_owned()));
}
