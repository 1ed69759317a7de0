//! Both versions of HTTP are spoken; a stop is polite to those who are answered soon, and ends in
//! any case.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{Answer, Running, client, start};

const HEAD: &str =
    "POST /v1/events?topic=t&id=e1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n";

/// A connection on which `text` was sent.
async fn connect(running: &Running, text: &str) -> TcpStream {
    let address = running.base_url.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(text.as_bytes()).await.expect("it reads");
    sleep(Duration::from_millis(100)).await;
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
    let mut stream = connect(&running, HEAD).await;
    let mut idle = connect(&running, "").await;
    running.stop.cancel();
    sleep(Duration::from_millis(100)).await;
    let address = running.base_url.strip_prefix("http://").expect("a URL").to_owned();
    assert!(TcpStream::connect(address).await.is_err(), "new connections are refused");

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
    let mut stream = connect(&running, HEAD).await;
    let took = running.stopped().await;
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
    let read = stream.read(&mut [0]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}
