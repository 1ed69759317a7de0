//! The overview, for programs.

use super::start;

#[tokio::test]
async fn the_overview_shows_broker_store_queues_and_the_last_hour() {
    let api = start().await;
    let status = api.get("/v1/status").await.expect(200).body;
    assert_eq!(status["broker"]["reachable"], true, "{status}");
    assert_eq!(status["store"]["reachable"], true, "{status}");
    assert!(status["broker"].get("location").is_none(), "addresses are for operators only");
    assert_eq!(status["subscriptions"], 0);
    assert_eq!(status["minutes"].as_array().map(Vec::len), Some(60));
    assert_eq!(status["queues"][0]["kind"], "primary");
    assert_eq!(status["queues"][0]["messages"], 0);
    assert_eq!(api.get("/v1/status?x=1").await.field(), "x");
}
