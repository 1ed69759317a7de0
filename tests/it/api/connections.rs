//! Both versions of HTTP are spoken; a stop is polite to those who are answered soon, and ends in
//! any case.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Answer, Running, client, start};
use crate::support::{eventually, holds};

const IDLE: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// A head whose body is awaited, which the server says. Source: RFC 9110, 10.1.1.
const HEAD: &str = "POST /v1/events?topic=t&id=e1 HTTP/1.1\r\nhost: localhost\r\n\
                    expect: 100-continue\r\ncontent-length: 2\r\n\r\n";

/// A connection on which `request` was sent and answered with `status`.
async fn connect(running: &Running, request: &str, status: &str) -> TcpStream {
    let address = running.base_url.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = [0; 4_096];
    let length = stream.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(answer.get(..length).expect("it was read"));
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    stream
}

#[tokio::test]
async fn http_2_is_spoken_without_tls() {
    let running = start().await;
    let client = client().http2_prior_knowledge().build().expect("a client can be built");
    let request = client.get(format!("{}/v1/queues", running.base_url));
    let response = request.send().await.expect("an answer");
    assert_eq!(format!("{:?}", response.version()), "HTTP/2.0");
    Answer::of(response).await.expect(200);
}

#[tokio::test]
async fn requests_under_way_are_answered_after_the_order_to_stop() {
    let running = start().await;
    let mut stream = connect(&running, HEAD, "100").await;
    let mut idle = connect(&running, IDLE, "200").await;
    running.stop.cancel();
    let address = running.base_url.strip_prefix("http://").expect("a URL").to_owned();
    eventually(async || {
        let connected = TcpStream::connect(&address).await;
        holds(connected.is_err(), "new connections are accepted")
    })
    .await;

    stream.write_all(b"{}").await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer, and the end");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(running.stopped().await < Duration::from_secs(2));
    assert_eq!(idle.read(&mut [0]).await.expect("the end"), 0);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut() {
    let running = start().await;
    let mut stream = connect(&running, HEAD, "100").await;
    let took = running.stopped().await;
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
    let read = stream.read(&mut [0]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}
