//! Endpoints are called through a proxy, and are not to blame for it.

use std::{fs, net::TcpListener, process::Stdio, time::Duration};

use homing::test_event::{self, TestEvent, TestEventError, TestEventResponse};
use homing_delivery::{
    endpoint::{Endpoints, RequestError},
    settings::EndpointSettings,
};
use homing_domain::{
    clock,
    id::SubscriptionId,
    subscription::{Draft, Subscription},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    secrets::{address, get},
    support::{
        account::{Recipient, account},
        broker::{self, Corner},
        egress::{Egress, Kind, LOGIN, over_tls},
        eventually, holds,
        installation::millis,
        load::{Load, Pace},
        nginx::Nginx,
        process::Site,
        receiver::{Receiver, Reply},
    },
};

const LOCAL: &str = "allow_networks = [\"127.0.0.0/8\"]\n";

fn endpoints(settings: &str) -> Endpoints {
    let settings = EndpointSettings::from_toml(settings).expect("settings");
    Endpoints::new(&settings).expect("they can be called")
}

fn subscription(url: &str, changes: &Value) -> Subscription {
    let mut draft = json!({"url": url, "topics": ["t"]});
    for (field, value) in changes.as_object().expect("an object") {
        draft.as_object_mut().expect("an object").insert(field.clone(), value.clone());
    }
    let draft: Draft = serde_json::from_value(draft).expect("a draft");
    let (id, now) = (SubscriptionId::new(clock::new_id()), clock::now());
    let spec = draft.build(&[]).expect("the subscription is sound");
    Subscription { id, spec, created: now, updated: now }
}

async fn try_send(endpoints: &Endpoints, url: &str) -> Result<TestEventResponse, TestEventError> {
    test_event::send(endpoints, &subscription(url, &json!({})), TestEvent::default()).await
}

async fn sent(endpoints: &Endpoints, url: &str) -> TestEventResponse {
    try_send(endpoints, url).await.expect("an attempt is made")
}

/// The error of an attempt that was not made.
async fn failed(endpoints: &Endpoints, url: &str) -> RequestError {
    match try_send(endpoints, url).await {
        Err(TestEventError::Request(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A port on which nothing listens.
fn closed() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// Goal: HTTP and SOCKS5, with and without a login, for endpoints with and without TLS; the proxy is
/// asked for the address that was checked, not for the name.
#[tokio::test]
async fn requests_go_through_a_proxy_of_each_kind() {
    let plain = Receiver::accepting().await;
    let nginx = Nginx::start("$uri $connection", "", &[]).await;
    let trusted = format!("{LOCAL}ca_file = \"{}\"\n", nginx.certificate().display());
    for kind in [Kind::Tinyproxy, Kind::Microsocks] {
        for (login, user_info) in [(false, ""), (true, "homing:password@")] {
            let proxy = Egress::start(kind, login, "").await;
            let settings = format!("{trusted}proxy = \"{}\"", proxy.url(user_info));
            let through = endpoints(&settings);
            let port = plain.url("/").rsplit_once(':').expect("a port").1.replace('/', "");
            let by_name = format!("http://localhost:{port}/");
            for url in [&plain.url("/"), &by_name, &nginx.url("/hook"), &nginx.url("/again")] {
                let answer = sent(&through, url).await;
                assert!(answer.accepted, "{kind:?} {login} {url}: {answer:?}");
            }
            for port in [&port, &nginx.port.to_string()] {
                let host = format!("127.0.0.1:{port}");
                assert!(proxy.was_asked_for(&host), "{host}: {}", proxy.log());
            }
            assert!(!proxy.was_asked_for(&format!("localhost:{port}")), "{}", proxy.log());
        }
    }
    // Each tunnel carries more than one request.
    let connections: Vec<_> = nginx.requests();
    assert_eq!(connections.len(), 8);
    assert_eq!(connection(&connections[0]), connection(&connections[1]), "{connections:?}");
}

fn connection(line: &str) -> &str {
    line.rsplit(' ').next().expect("a number")
}

/// Goal: a proxy that is itself called over TLS, with a login from a file.
#[tokio::test]
async fn a_proxy_over_tls_takes_a_login_from_a_file() {
    let proxy = Egress::start(Kind::Tinyproxy, true, "").await;
    let (address, certificate, _serving) = over_tls(proxy.port).await;
    let nginx = Nginx::start("$uri", "", &[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    };
    let both = fs::read_to_string(nginx.certificate()).expect("it is there") + &certificate;
    let (authorities, login) = (file("ca.pem", &both), file("login", &format!("{LOGIN}\n")));
    let settings = format!(
        "{LOCAL}ca_file = \"{authorities}\"\nproxy = \"https://localhost:{}\"\n\
         proxy_login_file = \"{login}\"",
        address.port()
    );
    let answer = sent(&endpoints(&settings), &nginx.url("/hook")).await;
    assert!(answer.accepted, "{answer:?}");
    assert!(proxy.was_asked_for(&format!("127.0.0.1:{}", nginx.port)), "{}", proxy.log());
    // Its certificate is checked, too.
    let unknown = settings.replace(&authorities, &nginx.certificate().display().to_string());
    let error = failed(&endpoints(&unknown), &nginx.url("/hook")).await;
    assert!(matches!(error, RequestError::Proxy(_)), "{error:?}");
    assert!(error.to_string().contains("its certificate"), "{error}");
}

/// Goal: what may not be called is not asked for either, by whatever spelling; hosts of `no_proxy` are
/// called directly.
#[tokio::test]
async fn addresses_are_checked_before_the_proxy_is_asked() {
    let receiver = Receiver::accepting().await;
    let url = receiver.url("/");
    let port = url.rsplit_once(':').expect("a port").1;
    for kind in [Kind::Tinyproxy, Kind::Microsocks] {
        let proxy = Egress::start(kind, false, "").await;
        for dns in ["homing", "proxy"] {
            let settings = format!("proxy = \"{}\"\nproxy_dns = \"{dns}\"\n", proxy.url(""));
            let strict = endpoints(&settings);
            for host in [
                "127.0.0.1",
                "127.1",
                "localhost",
                "localhost.",
                "a.localhost",
                "[::ffff:127.0.0.1]",
            ] {
                let answer = sent(&strict, &format!("http://{host}:{port}")).await;
                assert_eq!(answer.outcome, "unreachable address_not_allowed", "{host} {answer:?}");
            }
            let beside = endpoints(&format!("{LOCAL}{settings}no_proxy = [\"127.0.0.0/8\"]"));
            assert!(sent(&beside, &url).await.accepted);
        }
        assert!(!proxy.was_asked_for(&format!("127.0.0.1:{}", port.replace('/', ""))));
        // A name that is allowed, as the proxy resolves it.
        let settings = format!("{LOCAL}proxy = \"{}\"\nproxy_dns = \"proxy\"\n", proxy.url(""));
        let named = endpoints(&settings);
        assert!(sent(&named, &format!("http://localhost:{port}")).await.accepted);
        assert!(proxy.log().contains("localhost"), "{}", proxy.log());
    }
}

/// Goal: each failure is charged to the one at fault, and says what it is.
#[tokio::test]
async fn only_what_the_endpoint_did_is_charged_to_it() {
    let receiver = Receiver::accepting().await;
    let through = |proxy: &str| endpoints(&format!("{LOCAL}proxy = \"{proxy}\""));
    for kind in [Kind::Tinyproxy, Kind::Microsocks] {
        let proxy = Egress::start(kind, true, "").await;
        let right = through(&proxy.url("homing:password@"));
        let answer = sent(&right, &format!("http://127.0.0.1:{}/", closed())).await;
        let expected = match kind {
            // It does not say why.
            Kind::Tinyproxy => "unreachable connection_lost",
            Kind::Microsocks => "unreachable connection_refused",
        };
        assert_eq!(answer.outcome, expected, "{answer:?}");
        assert_eq!(right.proxy_problem(), None, "it answered");
        assert!(sent(&right, &receiver.url("/")).await.accepted);

        for wrong in ["", "homing:wrong@"] {
            let error = failed(&through(&proxy.url(wrong)), &receiver.url("/")).await;
            assert!(matches!(error, RequestError::Proxy(_)), "{kind:?} {error:?}");
            assert!(error.to_string().contains("user and password"), "{error}");
        }
        proxy.kill_9();
        let error = failed(&right, &receiver.url("/")).await;
        assert!(matches!(error, RequestError::Proxy(_)), "{kind:?} {error:?}");
        let problem = right.proxy_problem().expect("it is known");
        assert!(problem.why.to_lowercase().contains("connection refused"), "{problem:?}");
        proxy.start_again().await;
        eventually(async || match try_send(&right, &receiver.url("/")).await {
            Ok(answer) => holds(answer.accepted, format!("{answer:?}")),
            Err(error) => Err(error.to_string()),
        })
        .await;
        assert_eq!(right.proxy_problem(), None);
    }
    // A rule of the proxy: no attempt, and others go on.
    let proxy = Egress::start(Kind::Tinyproxy, false, "ConnectPort 443\n").await;
    let ruled = through(&proxy.url(""));
    let error = failed(&ruled, &receiver.url("/")).await;
    assert!(matches!(error, RequestError::ProxyRefuses(_)), "{error:?}");
    assert!(error.to_string().contains("403"), "{error}");
    assert_eq!(ruled.proxy_problem(), None);
    // No proxy at all: the receiver answers CONNECT as a web server does.
    let no_proxy = receiver.url("").replace("http://", "socks5://");
    let error = failed(&through(&no_proxy), &receiver.url("/")).await;
    assert!(error.to_string().contains("SOCKS5"), "{error}");
}

/// Goal: silence is the endpoint's where the proxy answers, and the proxy's where it does not.
#[tokio::test]
async fn silence_is_charged_to_the_one_that_is_silent() {
    let silent = Receiver::answering(|_| Reply::status(200).after(Duration::from_secs(60))).await;
    for kind in [Kind::Tinyproxy, Kind::Microsocks] {
        let proxy = Egress::start(kind, false, "").await;
        let settings = format!(
            "{LOCAL}proxy = \"{}\"\ndeadline = \"2s\"\nconnect_deadline = \"1s\"",
            proxy.url("")
        );
        let through = endpoints(&settings);
        let answer = sent(&through, &silent.url("/")).await;
        assert_eq!(answer.outcome, "timed_out headers", "{kind:?} {answer:?}");

        let hanging = async {
            let began = Instant::now();
            let error = failed(&through, &silent.url("/")).await;
            (error, began.elapsed())
        };
        let paused = async {
            // The request is under way.
            sleep(Duration::from_millis(500)).await;
            proxy.pause();
        };
        let ((error, took), ()) = tokio::join!(hanging, paused);
        assert!(matches!(error, RequestError::Proxy(_)), "{kind:?} {error:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
        let began = Instant::now();
        let error = failed(&through, &silent.url("/")).await;
        assert!(matches!(error, RequestError::Proxy(_)), "{error:?}");
        assert!(began.elapsed() < Duration::from_millis(600), "known: {:?}", began.elapsed());
        proxy.resume();
    }
}

/// Goal: a proxy that is overloaded, and silent only when it is asked for a connection, charges no
/// endpoint; one that is silent about one host alone does. Method: servers that say nothing to
/// `CONNECT`, or nothing to that for an endpoint, and answer everything else.
#[tokio::test]
async fn a_proxy_that_is_silent_only_to_connect_charges_no_endpoint() {
    let silent = || Reply::status(200).after(Duration::from_secs(60));
    let overloaded = Receiver::answering(move |request| {
        if request.method == "CONNECT" { silent() } else { Reply::status(200) }
    })
    .await;
    let picky = Receiver::answering(move |request| {
        let is_its_own = request.header("host") == Some("127.0.0.1:9");
        if is_its_own { Reply::status(403) } else { silent() }
    })
    .await;
    let endpoint = Receiver::accepting().await;
    let through = |proxy: &Receiver| {
        let proxy = proxy.url("");
        endpoints(&format!(
            "{LOCAL}proxy = \"{proxy}\"\ndeadline = \"2s\"\nconnect_deadline = \"1s\""
        ))
    };
    let error = failed(&through(&overloaded), &endpoint.url("/")).await;
    assert!(matches!(error, RequestError::Proxy(_)), "{error:?}");
    assert!(error.to_string().contains("does not answer"), "{error}");
    let answer = sent(&through(&picky), &endpoint.url("/")).await;
    assert_eq!(answer.outcome, "timed_out connect", "{answer:?}");
    assert_eq!(endpoint.count(), 0);
}

/// The kinds of outages.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Killed,
    Hanging,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_proxy_that_is_killed_under_load_costs_nothing() {
    outage(Kind::Tinyproxy, Outage::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socks_proxy_that_is_killed_under_load_costs_nothing() {
    outage(Kind::Microsocks, Outage::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_hangs_under_load_costs_nothing() {
    outage(Kind::Tinyproxy, Outage::Hanging).await;
}

/// Goal: nothing is lost, nothing charged, no circuit opens, the reason is shown everywhere, and all
/// is delivered after the proxy is back. Method: a steady load at a worker of its own.
async fn outage(kind: Kind, outage: Outage) {
    // Some are under way at any time.
    let receiver =
        Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(20))).await;
    let proxy = Egress::start(kind, false, "").await;
    let settings = format!(
        "endpoint.proxy = \"{}\"\nendpoint.deadline = \"6s\"\nendpoint.connect_deadline = \"4s\"\n\
         endpoint.max_concurrency = 16\ncircuit.open_above_attempts = 10\n",
        proxy.url("")
    );
    let waits = [200, 400];
    let site = Site::at(Corner::at(broker::url(), &millis(&waits)), &waits, &settings);
    site.run(&["topology", "apply"]);
    let subscription = site.subscribe(&receiver.url("/"), "#", &[]);
    let recipient = Recipient { path: "/", subscription, wants: |_| true };
    let log = fs::File::create(site.log()).expect("a log can be written");
    let mut worker = site.start_as(&["run"], Stdio::null(), log.into());
    site.wait_for_consumers(1).await;
    let load = Load::start(&site.corner, Pace::steady(100), 0);
    receiver.wait_for(200).await;
    match outage {
        Outage::Killed => proxy.kill_9(),
        Outage::Hanging => proxy.pause(),
    }
    let address = address(site.folder.path()).await;
    eventually(async || {
        let ready = get(&address, "/readyz", "").await;
        holds(ready.contains("`endpoint.proxy` fails since"), ready)
    })
    .await;
    let metrics = get(&address, "/metrics", "").await;
    assert!(metrics.contains("\nhoming_proxy_up 0"), "{metrics}");
    let in_status = "no attempts are made through the proxy: the proxy";
    for (command, text) in [("status", in_status), ("attempts", "`endpoint.proxy`")] {
        eventually(async || {
            let shown = site.run(&[command]);
            holds(shown.contains(text), shown)
        })
        .await;
    }
    // The outage lasts.
    sleep(Duration::from_secs(3)).await;
    let back = Instant::now();
    match outage {
        Outage::Killed => proxy.start_again().await,
        Outage::Hanging => proxy.resume(),
    }
    let before = receiver.count();
    eventually(async || holds(receiver.count() > before, "nothing comes")).await;
    let resumed = back.elapsed();
    let published = load.finish().await;
    site.wait_until_settled().await;
    let listed = site.run(&["endpoints", "list"]);
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(0));
    let requests = receiver.requests();
    let account = account(&site, &published, &[recipient], &requests).await;
    let fault = format!("{kind:?} {outage:?}");
    // Those that were under way are sent again.
    account.assert_whole(&fault, resumed, 64);
    assert!(site.parked().is_empty());
    let log = fs::read_to_string(site.log()).expect("there is a log");
    let failed = |line: &&str| line.contains("delivery.attempted") && !line.contains("accepted");
    let charged: Vec<_> = log.lines().filter(failed).collect();
    assert!(charged.is_empty(), "{} attempts were charged: {charged:#?}", charged.len());
    assert!(requests.iter().all(|request| request.attempt() == 1), "some were charged");
    assert!(!listed.contains("open"), "{listed}");
    let lines = |event: &str| log.lines().filter(|line| line.contains(event)).count();
    let (failures, recoveries) = (lines("proxy.failed"), lines("proxy.recovered"));
    let are_few = (1..=10).contains(&failures) && (1..=10).contains(&recoveries);
    assert!(are_few, "{failures} lines of failures, {recoveries} of recoveries");
}
