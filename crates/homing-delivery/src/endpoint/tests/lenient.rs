//! Odd answers, whose status counts.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{
    attempt, endpoints,
    server::{Server, read_request},
    tls::{attempt_by_name, secured},
    unreachable,
};
use homing_domain::outcome::{Obstacle, Outcome};

const ACCEPTED: Outcome = Outcome::Accepted { status: 200 };

#[tokio::test]
async fn an_answer_with_odd_lines_counts_by_its_status() {
    let many = |count| "x: y\r\n".repeat(count);
    for (what, lines, is_read) in [
        ("folded", "x: a\r\n b\r\n".to_owned(), true),
        ("blank before the colon", "Server : x\r\n".to_owned(), true),
        ("control characters", "x: a\x01b\x7f\r\n".to_owned(), true),
        ("no colon", "nonsense\r\n".to_owned(), true),
        ("odd name", "x y: z\r\n".to_owned(), true),
        ("100 headers", many(99), true),
        ("101 headers", many(100), false),
        ("1,000 headers", many(1_000), false),
        ("a zero byte", "x: a\0b\r\n".to_owned(), false),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok");
        let server = Server::answering(answer).await;
        let attempted = attempt(&endpoints(), &server.url()).await;
        assert_eq!((attempted.outcome, attempted.status), (ACCEPTED, Some(200)), "{what}");
        assert_eq!(attempted.response == "ok", is_read, "{what}: {:?}", attempted.cause);
        assert_eq!(attempted.cause.is_none(), is_read, "{what}");
    }
}

#[tokio::test]
async fn the_retry_after_of_an_odd_answer_counts() {
    let answer = "HTTP/1.1 503 Busy\r\nServer : x\r\nx: a\r\n\tb\r\nRetry-After: 7\r\n\
                  content-length: 0\r\n\r\n";
    let server = Server::answering(answer).await;
    let retry_after = Some(Duration::from_secs(7));
    let expected = Outcome::Refused { status: 503, retry_after };
    assert_eq!(attempt(&endpoints(), &server.url()).await.outcome, expected);
}

/// Goal: an endpoint cannot take the threads of all others. Method: endless interim answers, as
/// fast as they are read.
#[tokio::test]
async fn interim_answers_are_passed_over_and_end() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let answer = interim.repeat(20) + "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let server = Server::answering(answer).await;
    let attempted = attempt(&endpoints(), &server.url()).await;
    assert_eq!((attempted.outcome, &attempted.response[..]), (ACCEPTED, &b"ok"[..]));

    // A long body is no interim answer.
    let body = "x".repeat(200_000);
    let answer = format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n{body}");
    let server = Server::answering(answer).await;
    let attempted = attempt(&endpoints(), &server.url()).await;
    assert_eq!((attempted.outcome, attempted.cause), (ACCEPTED, None));

    let server = Server::start(move |mut stream| async move {
        read_request(&mut stream).await;
        let many = interim.repeat(10_000);
        while stream.write_all(many.as_bytes()).await.is_ok() {}
    })
    .await;
    let begun = tokio::time::Instant::now();
    let attempted = attempt(&endpoints(), &server.url()).await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::NotHttp));
    let cause = attempted.cause.unwrap();
    assert!(cause.contains("interim answers (1xx) without an end"), "{cause}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// The endpoint accepted the event; a broken rest of its answer does not change that.
#[tokio::test]
async fn a_2xx_whose_body_breaks_off_accepts() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let attempted = attempt(&endpoints(), &server.url()).await;
        assert_eq!((attempted.outcome, attempted.status), (ACCEPTED, Some(200)), "{answer:?}");
        let cause = attempted.cause.unwrap();
        assert!(cause.starts_with("the answer broke off: "), "{cause}");
    }
}

#[tokio::test]
async fn twenty_kilobytes_of_http2_headers_are_read() {
    let (server, trusting) = secured(b"h2", |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut response = hyper::Response::new(());
            response.headers_mut().insert("x-policy", "y".repeat(20_000).parse().unwrap());
            respond.send_response(response, true).unwrap();
        }
    })
    .await;
    let attempted = attempt_by_name(&trusting, &server).await;
    assert_eq!(attempted.outcome, ACCEPTED, "{:?}", attempted.cause);
}
