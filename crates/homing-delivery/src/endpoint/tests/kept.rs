//! Kept connections, and that no delivery pays for another one's failure on them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio_rustls::server::TlsStream;

use super::{
    attempt, endpoints,
    samples::local_settings,
    server::{Server, read_request},
    tls::{attempt_by_name, secured},
    unreachable,
};
use crate::endpoint::Endpoints;
use homing_domain::outcome::{Obstacle, Outcome};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers 204 with `head` in it, and sends a body that such an answer does not have, late.
async fn answer_with_late_body(mut stream: TcpStream, head: &'static str) {
    while read_request(&mut stream).await.is_some() {
        let answer = format!("HTTP/1.1 204 No Content\r\n{head}\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        if stream.write_all(b"hello").await.is_err() {
            break;
        }
    }
}

/// Goal: an endpoint that breaks the framing fails no other request. Method: fifteen to its host,
/// each sent before the late body of the previous one arrives.
#[tokio::test]
async fn a_late_body_fails_none_of_fifteen_neighbours() {
    for head in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n", ""] {
        let server = Server::start(move |stream| answer_with_late_body(stream, head)).await;
        let endpoints = endpoints();
        for _ in 0..15 {
            let attempted = attempt(&endpoints, &server.url()).await;
            assert_eq!(attempted.outcome, Outcome::Accepted { status: 204 }, "{attempted:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Goal: a server that closes an idle connection just when a request arrives costs no attempt.
/// Method: each connection ends with its second request, unanswered.
#[tokio::test]
async fn a_connection_that_ends_while_idle_costs_no_attempt() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        read_request(&mut stream).await;
    })
    .await;
    let endpoints = endpoints();
    for _ in 0..12 {
        let attempted = attempt(&endpoints, &server.url()).await;
        assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 }, "{attempted:?}");
    }
    assert_eq!(server.connections(), 12);
}

/// Answers the very first request of all connections, and counts the others.
async fn answer_first(mut stream: TcpStream, requests: Arc<AtomicUsize>) {
    while read_request(&mut stream).await.is_some() {
        if requests.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        stream.write_all(OK).await.unwrap();
    }
}

/// Goal: what may have been processed is repeated once, not for ever. Method: a server that answers
/// the very first request only, and counts.
#[tokio::test]
async fn a_request_lost_on_a_reused_connection_is_resent_once() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let server = Server::start(move |stream| answer_first(stream, Arc::clone(&counter))).await;
    let endpoints = endpoints();
    assert!(attempt(&endpoints, &server.url()).await.outcome.is_accepted());
    let lost = attempt(&endpoints, &server.url()).await.outcome;
    assert_eq!(lost, unreachable(Obstacle::ConnectionLost));
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_connection_is_used_as_long_as_its_endpoint_says() {
    let says = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n";
    let server = Server::answering(says).await;
    let endpoints = endpoints();
    for _ in 0..3 {
        assert!(attempt(&endpoints, &server.url()).await.outcome.is_accepted());
    }
    assert_eq!(server.connections(), 3);
}

/// Goal: a name that moves is noticed under steady traffic, too. Method: consecutive requests for
/// three times the maximum age of a connection.
#[tokio::test]
async fn a_connection_ends_at_its_age_however_busy_it_is() {
    let server = Server::answering(OK).await;
    let mut settings = local_settings();
    settings.max_connection_age = Duration::from_millis(100);
    let endpoints = Endpoints::new(&settings).unwrap();
    let started = Instant::now();
    for _ in 0..30 {
        assert!(attempt(&endpoints, &server.url()).await.outcome.is_accepted());
        sleep(Duration::from_millis(10)).await;
    }
    let ages = started.elapsed().as_millis() / 100;
    let connections = u128::try_from(server.connections()).unwrap();
    assert!((3..=ages + 1).contains(&connections), "{connections} in {ages} ages");
}

#[tokio::test]
async fn idle_connections_end_by_themselves() {
    let (ended, mut noticed) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let ended = ended.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                let says = b"HTTP/1.1 204 Done\r\nkeep-alive: timeout=2\r\n\r\n";
                stream.write_all(says).await.unwrap();
            }
            ended.send(()).await.unwrap();
        }
    })
    .await;
    let endpoints = endpoints();
    assert!(attempt(&endpoints, &server.url()).await.outcome.is_accepted());
    let noticed = tokio::time::timeout(Duration::from_secs(5), noticed.recv()).await;
    assert_eq!(noticed, Ok(Some(())));
}

/// Answers so many requests of a connection with 200, then ignores the rest: GOAWAY, as nginx sends
/// it after `keepalive_requests`. Source: RFC 9113, 4.1, 6; RFC 7541, appendix A (8: 200).
async fn answer_http2(mut stream: TlsStream<TcpStream>, max_requests: usize) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTINGS_ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(&SETTINGS).await.unwrap();
    let (mut answered, mut head) = (0, [0; 9]);
    while stream.read_exact(&mut head).await.is_ok() {
        let [high, middle, low, kind, flags, id @ ..] = head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        let mut said = Vec::new();
        if kind == 4 && flags == 0 {
            said.extend_from_slice(&SETTINGS_ACK);
        } else if kind == 1 && answered < max_requests {
            answered += 1;
            said.extend_from_slice(&[0, 0, 1, 1, 5]);
            said.extend_from_slice(&id);
            said.push(0x88);
            if answered == max_requests {
                said.extend_from_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0]);
                said.extend_from_slice(&id);
                said.extend_from_slice(&[0; 4]);
            }
        }
        if stream.write_all(&said).await.is_err() || stream.flush().await.is_err() {
            break;
        }
    }
}

/// Goal: the end of an HTTP/2 connection costs no attempt. Method: more requests at once than the
/// server takes of a connection.
#[tokio::test]
async fn requests_beyond_a_goaway_are_sent_again_and_no_attempts() {
    let (server, trusting) = secured(b"h2", |stream| answer_http2(stream, 10)).await;
    let outcomes = join_all((0..50).map(|_| attempt_by_name(&trusting, &server))).await;
    for attempted in outcomes {
        assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 }, "{attempted:?}");
    }
    assert!(server.connections() >= 5, "{}", server.connections());
}

/// Refuses the first streams of all connections, and counts all.
async fn refuse(stream: TlsStream<TcpStream>, refusals: usize, seen: Arc<AtomicUsize>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        if seen.fetch_add(1, Ordering::SeqCst) < refusals {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        } else {
            respond.send_response(hyper::Response::new(()), true).unwrap();
        }
    }
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_once() {
    for (refusals, accepted) in [(1, true), (2, false)] {
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        let (server, trusting) =
            secured(b"h2", move |stream| refuse(stream, refusals, Arc::clone(&counter))).await;
        let attempted = attempt_by_name(&trusting, &server).await;
        assert_eq!(attempted.outcome.is_accepted(), accepted, "{attempted:?}");
        assert_eq!(seen.load(Ordering::SeqCst), 2);
    }
}

/// Goal: many first requests at once are no flood of handshakes. Method: as many as a URL may have.
#[tokio::test]
async fn an_http2_endpoint_sees_one_connection_however_many_requests_begin() {
    let (server, trusting) = secured(b"h2", |stream| answer_http2(stream, usize::MAX)).await;
    let outcomes = join_all((0..64).map(|_| attempt_by_name(&trusting, &server))).await;
    assert!(outcomes.iter().all(|attempted| attempted.outcome.is_accepted()));
    assert_eq!(server.connections(), 1);
}
