//! Names that are never answered do not take lookups from other names.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{net::UdpSocket, task::JoinSet, time::Instant};

use super::{
    samples::{delivery, event, local_settings, subscription},
    server::Server,
};
use crate::endpoint::{Attempted, Endpoints, RequestError};
use homing_domain::{
    clock,
    outcome::{Obstacle, Outcome},
};

/// A name server: names that contain `hang` get no answer, `none` no address, all others 127.0.0.1.
struct NameServer {
    address: SocketAddr,
    _running: JoinSet<()>,
}

impl NameServer {
    async fn start() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                if let Some(answer) = answer(&query[..length]) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address, _running: running }
    }
}

/// Source: RFC 1035, 4.1.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while query[end] != 0 {
        end += usize::from(query[end]) + 1;
    }
    let question = &query[12..end + 5];
    let name = String::from_utf8_lossy(question).into_owned();
    if name.contains("hang") {
        return None;
    }
    let is_v4 = question[question.len() - 4..] == [0, 1, 0, 1];
    let (code, count) = if name.contains("none") { (3, 0) } else { (0, u8::from(is_v4)) };
    let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    answer.extend_from_slice(question);
    if count == 1 {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

fn asking(server: SocketAddr) -> Endpoints {
    let mut settings = local_settings();
    settings.dns_servers = vec![server.to_string()];
    Endpoints::new(&settings).unwrap()
}

async fn attempt(endpoints: &Endpoints, url: &str) -> Result<Attempted, RequestError> {
    let subscription = subscription(url, &json!({}));
    let delivery = delivery(event(), &subscription);
    endpoints.attempt(&delivery, &subscription, clock::now()).await
}

#[tokio::test]
async fn a_name_leads_where_the_name_servers_say() {
    let names = NameServer::start().await;
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let endpoints = asking(names.address);
    let url = format!("http://hooks.well.example:{}/", server.address.port());
    let attempted = attempt(&endpoints, &url).await.unwrap();
    assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 }, "{attempted:?}");

    let attempted = attempt(&endpoints, "http://hooks.none.example/").await.unwrap();
    assert_eq!(attempted.outcome, Outcome::Unreachable { kind: Obstacle::Dns });
    assert_eq!(attempted.cause.as_deref(), Some("the name has no address"));
}

/// Goal: names that are never answered delay no other name and count against no endpoint. Method:
/// 600 of them, half of one domain; meanwhile known names, new ones, and those that hang.
#[tokio::test(flavor = "multi_thread")]
async fn six_hundred_names_that_hang_delay_no_other_name() {
    let names = NameServer::start().await;
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let endpoints = asking(names.address);
    let port = server.address.port();
    let known = format!("http://hooks.known.example:{port}/");
    attempt(&endpoints, &known).await.unwrap();

    let mut hanging = JoinSet::new();
    for number in 0..600 {
        let of_one = format!("http://n{number}.hang.example/");
        let of_many = format!("http://n.hang{number}.example/");
        let (url, endpoints) = (if number % 2 == 0 { of_one } else { of_many }, endpoints.clone());
        hanging.spawn(async move { attempt(&endpoints, &url).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 0..20 {
        // Another port, so that no connection is reused.
        let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let started = Instant::now();
        let url = format!("http://hooks.known.example:{}/", server.address.port());
        let attempted = attempt(&endpoints, &url).await.unwrap();
        assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 }, "{number}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    let new = attempt(&endpoints, &format!("http://hooks.new.example:{port}/")).await;
    assert!(
        matches!(&new, Err(RequestError::Lookup(_)))
            || new.as_ref().is_ok_and(|attempted| attempted.outcome.is_accepted()),
        "it is delivered, or was not tried: {new:?}"
    );

    let (mut silent, mut not_tried) = (0, 0);
    while let Some(ended) = hanging.join_next().await {
        match ended.unwrap() {
            Ok(attempted) => {
                assert_eq!(attempted.outcome, Outcome::Unreachable { kind: Obstacle::Dns });
                assert_eq!(attempted.cause.as_deref(), Some("the name servers do not answer"));
                silent += 1;
            }
            Err(error) => {
                assert!(error.may_pass(), "{error}");
                not_tried += 1;
            }
        }
    }
    assert!(silent > 0 && not_tried > 0, "{silent}, {not_tried}");
}

#[tokio::test]
async fn names_of_this_machine_need_no_name_server() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let endpoints = asking("127.0.0.1:9".parse().unwrap());
    for name in ["localhost", "hooks.localhost"] {
        let url = format!("http://{name}:{}/", server.address.port());
        let attempted = attempt(&endpoints, &url).await.unwrap();
        assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 }, "{name}");
    }
}

/// Goal: without name servers, no endpoint is charged. Method: one that nothing listens at.
#[tokio::test]
async fn without_name_servers_there_is_no_outcome() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoints = asking(socket.local_addr().unwrap());
    drop(socket);
    let error = attempt(&endpoints, "http://hooks.well.example/").await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert!(error.to_string().starts_with("the name was not looked up"), "{error}");
}
