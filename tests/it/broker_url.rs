//! A connection leads where the URL says, and nowhere else; one that does not come about leaves nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use homing::config::Settings;
use homing_broker::Broker;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

use crate::support::broker::{Corner, url};

/// A broker that is connected to as `setting` says, in `corner`.
fn broker(corner: &Corner, setting: &str) -> Broker {
    let text = format!("[broker]\nconnect_deadline = \"2s\"\n{setting}");
    let settings = Settings::from_toml(&text).expect("the settings make sense");
    Broker::passive(&settings.broker, corner.topology.clone()).expect("the settings make sense")
}

fn test_port() -> u16 {
    let url: url::Url = url().parse().expect("a URL");
    url.port().expect("test brokers have a port of their own")
}

/// Goal: an address in brackets is that address. Method: the broker's port at an address that leads
/// nowhere; a client that reads no brackets tries that port of this machine.
#[tokio::test]
async fn an_ipv6_address_is_never_taken_for_this_machine() {
    let corner = Corner::new(&[]);
    let broker =
        broker(&corner, &format!("url = \"amqp://guest:guest@[2001:db8::1]:{}/\"", test_port()));
    let error = broker.connect_to_publish().await.expect_err("nothing is there").report();
    assert!(error.contains(&format!("[2001:db8::1]:{}", test_port())), "{error}");
}

/// Goal: the way there is taken. Method: a listener on `::1` in front of the broker.
#[tokio::test]
async fn a_broker_behind_an_ipv6_address_is_connected_to() {
    let listener = TcpListener::bind("[::1]:0").await.expect("this machine has IPv6");
    let port = listener.local_addr().expect("it has an address").port();
    let taken = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&taken);
    let relaying = async move {
        let mut relays = tokio::task::JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            relays.spawn(async move {
                let mut broker = TcpStream::connect(("127.0.0.1", test_port())).await?;
                tokio::io::copy_bidirectional(&mut client, &mut broker).await
            });
        }
    };
    #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
    let _relaying = AbortOnDropHandle::new(tokio::spawn(relaying));
    let corner = Corner::new(&[]);
    // A lone slash, as operators on Kubernetes write it.
    let broker = broker(&corner, &format!("url = \"amqp://guest:guest@[::1]:{port}/\""));

    broker.connect_to_publish().await.expect("the broker is there");

    assert_eq!(taken.load(Ordering::Relaxed), 2);
    broker.close().await;
}

/// Goal: a broker that takes connections and is silent keeps none of them open. Method: its side reads on
/// until it is hung up on.
#[tokio::test]
async fn a_handshake_that_is_given_up_is_hung_up_on() {
    const TIMES: usize = 3;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let corner = Corner::new(&[]);
    let url = format!("url = \"amqp://guest:guest@127.0.0.1:{port}\"");
    let broker = broker(&corner, &url);
    let giving_up = async {
        for _ in 0..TIMES {
            let error = broker.connect_to_publish().await.expect_err("it is silent").report();
            assert!(error.contains("within 2s"), "{error}");
        }
    };
    let being_silent = async {
        for _ in 0..TIMES {
            let (mut stream, _) = listener.accept().await.expect("it listens");
            let mut said = Vec::new();
            let reading = stream.read_to_end(&mut said);
            let read = tokio::time::timeout(crate::support::PATIENCE, reading).await;
            read.expect("it hangs up").expect("in order");
            assert_eq!(said, b"AMQP\x00\x00\x09\x01");
        }
    };
    tokio::join!(giving_up, being_silent);
}
