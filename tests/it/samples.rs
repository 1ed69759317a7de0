//! Real payloads flow through, and the published filters select the right ones.

use serde_json::json;

use crate::support::{broker::Raw, installation::Installation, receiver::Receiver};

const CREATE: &[u8] = include_bytes!("../samples/workfront-create.json");
const UPDATE: &[u8] = include_bytes!("../samples/workfront-update.json");
const USER_UPDATE: &[u8] = include_bytes!("../samples/workfront-user-update.json");
const HIT: &[u8] = include_bytes!("../samples/livestream-hit.json");

#[tokio::test]
async fn filters_select_the_right_samples_and_bodies_stay_as_they_are() {
    let installation = Installation::new(&[1_000]).await;
    let receiver = Receiver::accepting().await;
    let filter = |name: &str, comparison: &str, value: serde_json::Value| json!({"fieldName": name, "fieldValue": value, "comparison": comparison});
    let old = |name: &str, comparison: &str, value: &str| json!({"fieldName": name, "fieldValue": value, "comparison": comparison, "state": "oldState"});
    let group = json!({"type": "group", "connector": "OR", "filters": [
        filter("status", "eq", json!("PLN")), filter("referenceNumber", "gte", json!("1894")),
    ]});
    let wishes = [
        ("/renamed", "PROJ.UPDATE", json!([filter("name", "changed", json!(""))]), "AND"),
        ("/not-replanned", "PROJ.UPDATE", json!([filter("priority", "changed", json!(""))]), "AND"),
        ("/updated", "PROJ.*", json!([filter("name", "contains", json!("updated"))]), "AND"),
        ("/was-test", "PROJ.UPDATE", json!([old("name", "contains", "180fd595")]), "AND"),
        ("/grouped", "PROJ.#", json!([filter("status", "eq", json!("CUR")), group]), "AND"),
        (
            "/either",
            "#",
            json!([
                filter("homeTeamID", "changed", json!("")),
                filter("referenceNumber", "eq", json!(1750))
            ]),
            "OR",
        ),
        (
            "/planned-later",
            "PROJ.*",
            json!([filter("plannedCompletionDate", "gt", json!("2017-09-26T08:00:00.000-0600"))]),
            "AND",
        ),
        (
            "/member",
            "PROJ.CREATE",
            json!([filter(
                "accessorIDs",
                "containsOnly",
                json!("544820df0000142362741fc0c368de19")
            )]),
            "AND",
        ),
        (
            "/paris",
            "hits.*",
            json!([
                filter("geoCity", "eq", json!("paris")),
                filter("hitIdLow", "eq", json!(4_948_646_782_672_799_561_u64))
            ]),
            "AND",
        ),
        (
            "/no-hit",
            "hits.*",
            json!([filter("hitIdLow", "eq", json!(4_948_646_782_672_799_560_u64))]),
            "AND",
        ),
    ];
    for (path, topic, filters, connector) in wishes {
        let draft = json!({
            "url": receiver.url(path), "topics": [topic],
            "filters": filters, "filter_connector": connector,
        });
        installation.subscribe(draft).await;
    }
    let running = installation.start();

    let samples = [
        ("PROJ.CREATE", CREATE),
        ("PROJ.UPDATE", UPDATE),
        ("USER.UPDATE", USER_UPDATE),
        ("hits.examplecomprod", HIT),
    ];
    for (topic, body) in samples {
        installation.publisher.publish(Raw::new(topic, topic, body)).await;
    }

    receiver.wait_for(10).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let arrived = |path: &str| -> Vec<String> {
        let mut topics: Vec<_> = receiver
            .requests_at(path)
            .iter()
            .map(|request| request.header("x-homing-topic").expect("a topic").to_owned())
            .collect();
        topics.sort_unstable();
        topics
    };
    assert_eq!(arrived("/renamed"), ["PROJ.UPDATE"]);
    assert!(arrived("/not-replanned").is_empty());
    assert_eq!(arrived("/updated"), ["PROJ.UPDATE"]);
    assert_eq!(arrived("/was-test"), ["PROJ.UPDATE"]);
    assert_eq!(arrived("/grouped"), ["PROJ.UPDATE"]);
    assert_eq!(arrived("/either"), ["PROJ.CREATE", "USER.UPDATE"]);
    assert_eq!(arrived("/planned-later"), ["PROJ.CREATE", "PROJ.UPDATE"]);
    assert_eq!(arrived("/member"), ["PROJ.CREATE"]);
    assert_eq!(arrived("/paris"), ["hits.examplecomprod"]);
    assert!(arrived("/no-hit").is_empty());
    for request in receiver.requests() {
        let topic = request.header("x-homing-topic").expect("a topic");
        let (_, body) = samples.iter().find(|(sample, _)| *sample == topic).expect("a sample");
        assert_eq!(request.body, *body, "{topic} arrives byte for byte");
    }
    assert_eq!(receiver.requests().len(), 10);
}
