//! Sources can be seen, paused, resumed and reset.

use serde_json::{Value, json};

use super::start_with;

const SETTINGS: &str = "source.livestream.main.url = \"https://stream.example.com/s\"\n\
                        source.livestream.main.client_id = \"id\"\n\
                        source.livestream.main.client_secret = \"hidden\"\n\
                        source.livestream.main.max_connections = 2\n";

#[tokio::test]
async fn sources_are_listed_shown_paused_reset_and_resumed() {
    let api = start_with(SETTINGS).await;
    let listed = api.get("/v1/sources").await.expect(200).body;
    let source = &listed["sources"][0];
    assert_eq!((&source["name"], &source["state"]), (&json!("main"), &json!("running")));
    assert_eq!(source["slots"].as_array().map(Vec::len), Some(2));
    assert_eq!(source["slots"][1]["phase"], "free");
    assert!(!listed.to_string().contains("hidden"), "{listed}");

    let paused = api.post("/v1/sources/main/pause", &json!({})).await.expect(200).body;
    assert_eq!(paused["state"], "paused");
    let wanted = json!({"to": "largest"});
    let reset = api.post("/v1/sources/main/reset", &wanted).await.expect(200).body;
    assert_eq!((&reset["state"], &reset["reset"]), (&json!("paused"), &json!("largest")));
    let resumed = api.post("/v1/sources/main/resume", &json!({})).await.expect(200).body;
    assert_eq!(resumed["state"], "running");
    assert_eq!(api.get("/v1/sources/main").await.expect(200).body, resumed);

    let wrong = api.post("/v1/sources/main/reset", &json!({"to": "x"})).await.expect(400).body;
    assert_eq!(wrong["errors"][0]["field"], "to");
    for path in ["/v1/sources/other/pause", "/v1/sources/other/resume"] {
        let unknown: Value = api.post(path, &json!({})).await.expect(404).body;
        let detail = "there is no source `other` in the settings; there are: main";
        assert_eq!(unknown["detail"], detail);
    }
}
