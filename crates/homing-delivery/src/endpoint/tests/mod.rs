//! The behaviour of endpoints and the resulting outcomes, over real sockets.

use std::time::Duration;

use serde_json::json;
use tokio::{io::AsyncWriteExt, sync::mpsc, time::Instant};

use super::*;
use homing_domain::clock;

pub(crate) mod samples;
mod identities;
mod kept;
mod lenient;
mod names;
pub(crate) mod server;
mod tls;

use samples::{delivery, endpoints, event, impatient, local_settings, settings, subscription};
use server::{Server, header, read_request};

async fn attempt(endpoints: &Endpoints, url: &str) -> Attempted {
    let subscription = subscription(url, &json!({}));
    let delivery = delivery(event(), &subscription);
    endpoints.attempt(&delivery, &subscription, clock::now()).await.unwrap()
}

const DEADLINE: Duration = Duration::from_millis(400);

fn hasty() -> Endpoints {
    impatient(DEADLINE, Duration::from_secs(4))
}

async fn outcome_of(answer: &str) -> String {
    let server = Server::answering(answer).await;
    attempt(&endpoints(), &server.url()).await.outcome.to_string()
}

fn unreachable(kind: Obstacle) -> Outcome {
    Outcome::Unreachable { kind }
}

fn timed_out(phase: Phase) -> Outcome {
    Outcome::TimedOut { phase }
}

#[tokio::test]
async fn a_2xx_answer_accepts_and_its_body_is_kept() {
    let server =
        Server::answering("HTTP/1.1 202 Accepted\r\ncontent-length: 6\r\n\r\nthanks").await;
    let attempted = attempt(&endpoints(), &server.url()).await;
    assert_eq!(
        attempted,
        Attempted {
            outcome: Outcome::Accepted { status: 202 },
            status: Some(202),
            response: Bytes::from_static(b"thanks"),
            cause: None,
            control: None,
            permission: None,
            payload: None,
        }
    );
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let server = Server::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let endpoints = endpoints();
    for _ in 0..3 {
        assert!(attempt(&endpoints, &server.url()).await.outcome.is_accepted());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let elsewhere = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let redirect = format!(
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        elsewhere.url()
    );
    assert_eq!(outcome_of(&redirect).await, "refused 308");
    assert_eq!(elsewhere.connections(), 0);

    let location = "https://user:secret@new.example/hook?key=secret";
    let redirect =
        format!("HTTP/1.1 301 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let server = Server::answering(redirect).await;
    let cause = attempt(&endpoints(), &server.url()).await.cause.unwrap();
    insta::assert_snapshot!(cause, @"it redirects to https://new.example/hook?…, which is not followed; change the subscription's URL to the one that it ends at");
}

#[tokio::test]
async fn gone_is_refused_410() {
    assert_eq!(outcome_of("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await, "refused 410");
}

#[tokio::test]
async fn too_many_requests_says_when_to_retry() {
    let answer = "HTTP/1.1 429 Too Many\r\nretry-after: 120\r\ncontent-length: 4\r\n\r\nslow";
    let server = Server::answering(answer).await;
    let attempted = attempt(&endpoints(), &server.url()).await;
    let retry_after = Some(Duration::from_mins(2));
    assert_eq!(attempted.outcome, Outcome::Refused { status: 429, retry_after });
    assert_eq!(attempted.response, "slow");
}

#[tokio::test]
async fn a_port_without_listener_refuses_the_connection() {
    let server = Server::answering("").await;
    let url = server.url();
    drop(server);
    tokio::task::yield_now().await;
    let attempted = attempt(&endpoints(), &url).await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::ConnectionRefused));
    let cause = attempted.cause.unwrap();
    assert!(cause.contains("refused") && !cause.contains("hook"), "{cause}");
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let server = Server::answering("").await;
    let start = Instant::now();
    let attempted = attempt(&hasty(), &server.url()).await;
    assert_eq!(attempted.outcome, timed_out(Phase::Headers));
    assert!((DEADLINE..DEADLINE * 5).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_body_that_stalls_takes_the_acceptance_back() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let attempted = attempt(&hasty(), &server.url()).await;
    assert_eq!(attempted.outcome, timed_out(Phase::Body));
    assert_eq!(attempted.response, "half");
}

#[tokio::test]
async fn a_body_that_drips_gains_no_time() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".as_slice();
        let mut sent = stream.write_all(head).await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            sent = stream.write_all(b".").await;
        }
    })
    .await;
    let start = Instant::now();
    let attempted = attempt(&hasty(), &server.url()).await;
    assert_eq!((attempted.outcome, attempted.status), (timed_out(Phase::Body), Some(200)));
    assert!(start.elapsed() < DEADLINE * 5, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_refusal_counts_whatever_happens_to_its_body() {
    let stalls = "HTTP/1.1 503 Busy\r\nretry-after: 5\r\ncontent-length: 9\r\n\r\nhalf";
    let server = Server::answering(stalls).await;
    let attempted = attempt(&hasty(), &server.url()).await;
    let retry_after = Some(Duration::from_secs(5));
    assert_eq!(attempted.outcome, Outcome::Refused { status: 503, retry_after });
    assert_eq!(attempted.response, "half");
}

/// Goal: an endless body costs no more than a short one. Method: the server writes until it notices
/// that the client has closed.
#[tokio::test]
async fn an_endless_body_is_read_to_the_bound_and_dropped() {
    let (closed, mut noticed) = mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while sent.is_ok() {
                sent = stream.write_all(&[b'x'; 4_096]).await;
            }
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let attempted = attempt(&endpoints(), &server.url()).await;
    assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 });
    assert_eq!(attempted.response.len(), local_settings().max_response_bytes);
    let waited = tokio::time::timeout(Duration::from_secs(5), noticed.recv()).await;
    assert_eq!(waited, Ok(Some(())));
}

/// Goal: only what goes on behind the bound, or may do so, is called cut. Method: answers that are as
/// long as the bound, one of which ends with its connection, and one that is longer.
#[tokio::test]
async fn an_answer_as_long_as_the_bound_is_whole() {
    let max = local_settings().max_response_bytes;
    let known = |length: usize| format!("content-length: {length}\r\n");
    for (head, length, cut) in
        [(known(max), max, false), (known(max + 1), max + 1, true), (String::new(), max, true)]
    {
        let answer = format!("HTTP/1.1 503 Busy\r\n{head}\r\n{}", "x".repeat(length));
        let server = Server::answering(answer).await;
        let rule = PayloadRule { failed: true, accepted_percent: 0, max_body_bytes: max };
        let attempted = attempt(&endpoints().with_payloads(rule), &server.url()).await;
        let response = attempted.payload.as_ref().and_then(|payload| payload.response.as_ref());
        assert_eq!(response.map(|part| (part.body.len(), part.cut)), Some((max, cut)), "{head}");
    }
}

/// Goal: a secret that the bound divides is masked. Method: it is echoed so that its last part is
/// behind the bound, in one write with the rest.
#[tokio::test]
async fn a_secret_that_the_bound_divides_is_masked() {
    let max = local_settings().max_response_bytes;
    let (token, before) = ("a-token-that-is-long", "x ".repeat(max / 2 - 5));
    let body = format!("{before}{token}, and more");
    let answer = format!("HTTP/1.1 503 Busy\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let server = Server::answering(answer).await;
    let subscription = subscription(&server.url(), &json!({"auth_token": token}));
    let delivery = delivery(event(), &subscription);
    let attempted = endpoints().attempt(&delivery, &subscription, clock::now()).await.unwrap();
    assert!(attempted.response.ends_with(b"x ****"), "{:?}", attempted.response.last_chunk::<24>());
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_reported_as_such() {
    assert_eq!(outcome_of("SSH-2.0-OpenSSH_9.9\r\n").await, "unreachable not_http");
    assert_eq!(outcome_of("HTTP/1.1 2x0 OK\r\n\r\n").await, "unreachable not_http");
}

#[tokio::test]
async fn a_connection_that_ends_early_is_lost() {
    for answer in ["", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nconte"] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let attempted = attempt(&endpoints(), &server.url()).await;
        assert_eq!(attempted.outcome, unreachable(Obstacle::ConnectionLost), "{answer:?}");
    }
}

#[tokio::test]
async fn a_name_without_address_is_a_dns_failure() {
    let attempted = attempt(&endpoints(), "https://nothing.invalid/").await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::Dns));
}

#[tokio::test]
async fn addresses_that_may_not_be_called_see_no_connection() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let endpoints = Endpoints::new(&settings()).unwrap();
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "0", "[::ffff:127.0.0.1]"] {
        let attempted = attempt(&endpoints, &format!("http://{host}:{port}/")).await;
        assert_eq!(attempted.outcome, unreachable(Obstacle::AddressNotAllowed), "{host}");
        assert!(attempted.cause.unwrap().contains("endpoint.allow_networks"));
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_may_be_called_is_called() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = format!("http://localhost:{}/", server.address.port());
    assert_eq!(attempt(&endpoints(), &url).await.outcome, Outcome::Accepted { status: 200 });
}

/// Goal: receivers can verify what arrives. Method: the specification's own library verifies the
/// request as it came over the wire.
#[tokio::test]
async fn the_official_library_accepts_what_arrives() {
    let (arrived, mut requests) = mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            arrived.send(read_request(&mut stream).await.unwrap()).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    let subscription = subscription(&server.url(), &json!({"secrets": [secret]}));
    let delivery = delivery(event(), &subscription);
    endpoints().attempt(&delivery, &subscription, clock::now()).await.unwrap();

    let (head, body) = requests.recv().await.unwrap();
    let mut headers = hyper::header::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, header(&head, name).unwrap().parse().unwrap());
    }
    standardwebhooks::Webhook::new(secret).unwrap().verify(&body, &headers).unwrap();
    assert_eq!(body, event().body);
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "x-homing-attempt").as_deref(), Some("3"));
}
