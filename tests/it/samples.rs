//! Real payloads flow through, and the published filters select the right ones.

use serde_json::{Value, json};

use crate::support::{broker::Raw, installation::Installation, receiver::Receiver};

const SAMPLES: [(&str, &[u8]); 4] = [
    ("PROJ.CREATE", include_bytes!("../samples/workfront-create.json")),
    ("PROJ.UPDATE", include_bytes!("../samples/workfront-update.json")),
    ("USER.UPDATE", include_bytes!("../samples/workfront-user-update.json")),
    ("hits.examplecomprod", include_bytes!("../samples/livestream-hit.json")),
];

fn filter(name: &str, comparison: &str, value: impl Into<Value>) -> Value {
    json!({"fieldName": name, "fieldValue": value.into(), "comparison": comparison})
}

fn old(name: &str, comparison: &str, value: &str) -> Value {
    json!({
        "fieldName": name, "fieldValue": value, "comparison": comparison, "state": "oldState",
    })
}

/// A path for each subscription, its topics, its filters, and the samples that it must get.
fn subscriptions() -> Vec<(&'static str, &'static str, Value, &'static [&'static str])> {
    let either = json!({"type": "group", "connector": "OR", "filters": [
        filter("status", "eq", "PLN"), filter("referenceNumber", "gte", "1894"),
    ]});
    let team_or_number = json!({"type": "group", "connector": "OR", "filters": [
        filter("homeTeamID", "changed", ""), filter("referenceNumber", "eq", 1_750),
    ]});
    let date = "2017-09-26T08:00:00.000-0600";
    let member = "544820df0000142362741fc0c368de19";
    let id = 4_948_646_782_672_799_561_u64;
    vec![
        ("/renamed", "PROJ.UPDATE", json!([filter("name", "changed", "")]), &["PROJ.UPDATE"]),
        ("/same", "PROJ.UPDATE", json!([filter("priority", "changed", "")]), &[]),
        ("/named", "PROJ.*", json!([filter("name", "contains", "updated")]), &["PROJ.UPDATE"]),
        ("/was", "PROJ.UPDATE", json!([old("name", "contains", "180fd595")]), &["PROJ.UPDATE"]),
        ("/both", "PROJ.#", json!([filter("status", "eq", "CUR"), either]), &["PROJ.UPDATE"]),
        ("/either", "#", json!([team_or_number]), &["PROJ.CREATE", "USER.UPDATE"]),
        (
            "/later",
            "PROJ.*",
            json!([filter("plannedCompletionDate", "gt", date)]),
            &["PROJ.CREATE", "PROJ.UPDATE"],
        ),
        (
            "/member",
            "PROJ.CREATE",
            json!([filter("accessorIDs", "containsOnly", member)]),
            &["PROJ.CREATE"],
        ),
        (
            "/hit",
            "hits.*",
            json!([filter("geoCity", "eq", "paris"), filter("hitIdLow", "eq", id)]),
            &["hits.examplecomprod"],
        ),
        ("/no-hit", "hits.*", json!([filter("hitIdLow", "eq", id - 1)]), &[]),
    ]
}

#[tokio::test]
async fn filters_select_the_right_samples_and_bodies_stay_as_they_are() {
    let installation = Installation::new(&[1_000]).await;
    let receiver = Receiver::accepting().await;
    for (path, topic, filters, _) in subscriptions() {
        let draft = json!({"url": receiver.url(path), "topics": [topic], "filters": filters});
        installation.subscribe(draft).await;
    }
    let running = installation.start();

    for (topic, body) in SAMPLES {
        installation.publisher.publish(Raw::new(topic, topic, body)).await;
    }

    receiver.wait_for(subscriptions().iter().map(|(.., samples)| samples.len()).sum()).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    for (path, _, _, expected) in subscriptions() {
        let requests = receiver.requests_at(path);
        let topic = |request| crate::support::receiver::Recorded::header(request, "x-homing-topic");
        let mut topics: Vec<_> = requests.iter().filter_map(topic).collect();
        topics.sort_unstable();
        assert_eq!(topics, expected, "{path}");
    }
    for request in receiver.requests() {
        let topic = request.header("x-homing-topic").expect("a topic");
        let (_, body) = SAMPLES.iter().find(|(sample, _)| *sample == topic).expect("a sample");
        assert_eq!(request.body, *body, "{topic} arrives byte for byte");
    }
}
