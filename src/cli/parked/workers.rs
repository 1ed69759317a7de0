//! Finds out that the workers of the broker use another store than a command.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    cli::{failure::Failure, output::Output},
    services::Services,
};
use homing_broker::Broker;
use homing_domain::{activity::KEPT, clock};

/// A worker that has just started is about to report.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Says so if workers consume at the broker and none of them reports to this store: what they park is
/// in another one.
pub(super) async fn use_another_store(
    services: &Services,
    output: &mut Output<'_>,
) -> Result<bool, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let workers = services.store.workers().await.map_err(Failure::Store)?;
        let now = clock::now();
        if workers.iter().any(|worker| now.since(worker.seen_ms) < KEPT)
            || !consume(&services.broker).await
        {
            return Ok(false);
        }
        if Instant::now() >= until {
            output.notice(format_args!(
                "workers run at this broker, and none of them reports to this store ({}): what they \
                 park is in another one, which `store.url`, or --store, must name",
                homing_store::location(&services.settings.store)
            ));
            return Ok(true);
        }
        // Until a worker reports or the patience ends.
        sleep(LOOK_INTERVAL).await;
    }
}

/// True if workers consume events; false if that cannot be known.
async fn consume(broker: &Broker) -> bool {
    for queue in broker.topology().names().primary_queues() {
        if let Ok(Some(depth)) = broker.depth(&queue).await
            && depth.consumers > 0
        {
            return true;
        }
    }
    false
}
