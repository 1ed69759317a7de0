//! Name resolution that fails for a while delays deliveries and loses none.

use std::{collections::BTreeSet, fs, time::Duration};

use crate::support::{
    account::{Owed, Request, account},
    broker::{self, Corner},
    installation::millis,
    load::{Load, Pace, number_in},
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
    let site = Site::at(Corner::at(broker::url(), &millis(&WAITS)), &WAITS, "");
    site.run(&["topology", "apply"]);
    let url = receiver.url().replace("127.0.0.1", "endpoint.test");
    let subscription = site.subscribe(&url, "#", &[]);
    let owed = Owed { path: "/", subscription, wants: |_| true };

    let hosts = site.folder.path().join("hosts");
    // Without a server to ask, a name that is not in the file fails at once.
    fs::write(site.folder.path().join("resolv.conf"), "nameserver 127.0.0.1\n").expect("written");
    let (known, unknown) = ("127.0.0.1 localhost endpoint.test\n", "127.0.0.1 localhost\n");
    fs::write(&hosts, known).expect("written");
    let prepare = "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf";
    let worker = site.spawn(site.isolated(prepare));
    let load = Load::start(&site.corner, Pace::steady(300), 0);
    wait_for(&receiver, 200).await;

    let failed = tokio::time::Instant::now();
    fs::write(&hosts, unknown).expect("written");
    tokio::time::sleep(Duration::from_secs(4)).await;
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
    let requests: Vec<_> = requests
        .iter()
        .map(|request| Request {
            path: "/".to_owned(),
            number: number_in(&request.body).expect("it is the load's"),
            attempt: request.attempt,
            accepted: true,
        })
        .collect();
    let account = account(&site.corner, &published, &[owed], &requests).await;
    account.assert_whole("endpoint's name without an address for 4 s", within, 0);
}

/// Waits until so many different events have arrived.
async fn wait_for(receiver: &Rogue, events: usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let arrived: BTreeSet<_> = receiver.seen().into_iter().map(|seen| seen.body).collect();
        if arrived.len() >= events {
            return;
        }
        let now = tokio::time::Instant::now();
        assert!(now < deadline, "{} of {events} events arrived", arrived.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
