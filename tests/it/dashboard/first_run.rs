//! The overview of a new installation, and of one that is well.

use serde_json::json;

use super::browser::Browser;
use crate::{
    api::start_with,
    support::{broker::Raw, receiver::Receiver},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_steps_are_ticked_as_they_are_done() {
    let running = Box::pin(start_with("")).await;
    let installation = &running.installation;
    let browser = Browser::open(&running.base_url).await;
    browser.go("/").await;
    browser.see("#first-run li:nth-child(1).done", "RabbitMQ answers").await;
    browser.see("#first-run li:nth-child(2):not(.done)", "homing run").await;
    browser.see("#first-run li:nth-child(3):not(.done)", "homing subscriptions create").await;
    assert!(browser.count("#first-run button.copy").await > 0, "the commands can be copied");
    browser.keep("first-run").await;
    browser.assert_accessible("the first steps").await;

    let receiver = Receiver::accepting().await;
    let worker = installation.start();
    browser.element("#first-run li:nth-child(2).done").await;
    let draft = json!({"url": receiver.url("/hook"), "topics": ["order.*"]});
    installation.subscribe(draft).await;
    browser.element("#first-run li:nth-child(3).done").await;
    installation.publisher.publish(Raw::new("order.paid", "o-1", "{}")).await;
    receiver.wait_for(1).await;
    browser.element("body:not(:has(#first-run))").await;
    browser.see("main", "No open problems").await;
    browser.keep("well").await;
    browser.assert_accessible("no open problems").await;

    // It is said only while it is so. This process does not follow the subscriptions by itself.
    installation.parts.subscriptions.refresh().await.expect("the store answers");
    installation.publisher.publish(Raw::new("orders.paid", "o-2", "{}")).await;
    browser.see(".attention", "1 topic has no subscription").await;
    assert!(!browser.text("main").await.contains("No open problems"));
    worker.stop().await;
}
