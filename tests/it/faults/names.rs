//! Name resolution that fails for a while delays deliveries and loses none.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use tokio::{net::UdpSocket, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{
    account::{Recipient, account},
    broker::{self, Corner},
    eventually, holds,
    installation::millis,
    load::{Load, Pace},
    process::Site,
    rogue::{Manner, Rogue},
};

const WAITS: [u64; 6] = [200, 400, 800, 1_600, 3_200, 6_400];

/// Goal: what could not be resolved is tried again, and delivered once the name has an address.
/// Method: a worker with a hosts file of its own, in which the endpoint's name comes and goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_fails_and_recovers_loses_nothing() {
    // It closes every connection, so that the name is asked for every time.
    let receiver = Rogue::behaving(|_| Manner::Accepts).await;
    let (server, _answering) = knows_no_name().await;
    let settings = format!("endpoint.dns_servers = [\"{server}\"]");
    let site = Site::at(Corner::at(broker::url(), &millis(&WAITS)), &WAITS, &settings);
    site.run(&["topology", "apply"]);
    let url = receiver.url().replace("127.0.0.1", "endpoint.test");
    let subscription = site.subscribe(&url, "#", &[]);
    let recipient = Recipient { path: "/", subscription, wants: |_| true };

    let hosts = site.folder.path().join("hosts");
    let (known, unknown) = ("127.0.0.1 localhost endpoint.test\n", "127.0.0.1 localhost\n");
    fs::write(&hosts, known).expect("written");
    let worker = site.spawn(site.isolated("mount --bind hosts /etc/hosts"));
    let load = Load::start(&site.corner, Pace::steady(300), 0);
    wait_for(&receiver, 200).await;

    let failed = Instant::now();
    fs::write(&hosts, unknown).expect("written");
    wait_for_failures(&site, 150).await;
    fs::write(&hosts, known).expect("written");
    let published = load.finish().await;
    wait_for(&receiver, published.confirmed.len()).await;
    let within = failed.elapsed();
    let mut worker = worker;
    worker.terminate();
    worker.ended().await;
    let requests = receiver.seen();
    let late = requests.iter().filter(|request| request.attempt > 1).count();
    assert!(late > 100, "the name was missing for {late} deliveries only");
    let account = account(&site, &published, &[recipient], &requests).await;
    account.assert_whole("endpoint's name without an address", within, 0);
}

/// Waits until the worker has logged so many attempts at a name without an address.
async fn wait_for_failures(site: &Site, count: usize) {
    let failures = || {
        let log = fs::read_to_string(site.log()).expect("there is a log");
        log.lines().filter(|line| line.contains("unreachable dns")).count()
    };
    eventually(async || {
        let failures = failures();
        holds(failures >= count, format!("{failures} of {count} attempts failed"))
    })
    .await;
}

/// A name server that answers every question with: there is no such name. Until dropped.
async fn knows_no_name() -> (SocketAddr, AbortOnDropHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    let address = socket.local_addr().expect("it has an address");
    let answering = async move {
        let mut question = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut question).await {
            let Some(answer) = question.get(..length).and_then(no_such_name) else { continue };
            let _sent = socket.send_to(&answer, asker).await;
        }
    };
    #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
    let answering = AbortOnDropHandle::new(tokio::spawn(answering));
    (address, answering)
}

/// The answer to a question. Source: RFC 1035, 4.1.
fn no_such_name(question: &[u8]) -> Option<Vec<u8>> {
    /// A response, recursion available, NXDOMAIN; one question, and no records.
    const HEADER: [u8; 10] = [0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0];
    let (header, asked) = question.split_at_checked(12)?;
    // A name, which ends with an empty label, type and class.
    let end = asked.iter().position(|byte| *byte == 0)? + 5;
    Some([header.get(..2)?, &HEADER, asked.get(..end)?].concat())
}

/// Waits until so many different events have arrived.
async fn wait_for(receiver: &Rogue, events: usize) {
    eventually(async || {
        let arrived: BTreeSet<_> = receiver.seen().into_iter().map(|seen| seen.body).collect();
        holds(arrived.len() >= events, format!("{} of {events} events arrived", arrived.len()))
    })
    .await;
}
