//! A cluster that was upgraded may lack what retries rely on; homing refuses to lose any.

use homing::config::Settings;
use homing_broker::Broker;

use crate::support::{broker::Corner, node::Node};

/// Those of RabbitMQ 3.9, without streams: as a cluster that was upgraded from there has them.
const WITHOUT_STREAMS: &str = "quorum_queue,implicit_default_bindings,virtual_host_metadata,\
                               maintenance_mode_status,user_limits";

fn broker(corner: &Corner) -> Broker {
    let text = format!("[broker]\nurl = \"{}\"\nnew_queue_wait = \"0s\"", corner.url);
    let settings = Settings::from_toml(&text).expect("the settings make sense");
    Broker::new(&settings.broker, corner.topology.clone()).expect("the settings make sense")
}

/// Goal: without the feature flag `stream_queue`, at-least-once dead-lettering silently is at-most-once:
/// refused with the command that enables it, and right once it was run. Method: a new node with the
/// flags of the version before. Newer versions cannot be without it.
#[tokio::test]
async fn a_broker_that_would_lose_retries_is_refused_with_the_command_that_mends_it() {
    let flags = WITHOUT_STREAMS.to_owned();
    let node = Node::start_with("flags", vec![("HOMING_BROKER_FEATURE_FLAGS", flags)]).await;
    let corner = Corner::at(node.url.clone(), &[]);
    let listed = node.ctl(&["-q", "list_feature_flags", "name", "state"]).await;
    if listed.contains("stream_queue\tdisabled") {
        let broker = broker(&corner);
        let refused = broker.connect().await.expect_err("retries could be lost").report();
        assert!(refused.contains("rabbitmqctl enable_feature_flag stream_queue"), "{refused}");
        assert_eq!(node.ctl(&["-q", "list_queues", "name", "--no-table-headers"]).await, "");
        broker.close().await;
        node.ctl(&["enable_feature_flag", "stream_queue"]).await;
    }

    let broker = broker(&corner);
    broker.connect().await.expect("nothing can be lost");

    let queues = node.ctl(&["-q", "list_queues", "name", "--no-table-headers"]).await;
    assert!(queues.contains("v1.primary") && !queues.contains("probe"), "{queues}");
    broker.close().await;
}
