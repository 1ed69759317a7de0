//! `homing subscriptions remove`

use serde_json::json;

use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
        globals,
    },
    service::Parts,
};
use homing_domain::id::SubscriptionId;

const EXAMPLES: &str = "\
Examples:
  homing subscriptions remove 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions remove $(homing subscriptions list --json | jq -r '.subscriptions[].id')

What is owed to a subscription that is gone is parked (subscription_deleted) when it comes due.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Which ones
    #[arg(required = true, value_name = "ID")]
    ids: Vec<SubscriptionId>,
}

/// One that is not there keeps none of the others from being removed.
pub(super) async fn run(
    parts: &Parts,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    globals::remember_queues(parts).await.map_err(Failure::Store)?;
    let mut removed = Vec::new();
    let mut exit = Exit::Done;
    for id in &arguments.ids {
        match parts.registry.delete(*id).await.map_err(Failure::Registry) {
            Ok(()) => removed.push(*id),
            Err(failure) => {
                output.tell(failure.report());
                exit = Exit::Failed;
            }
        }
    }
    if output.json {
        output.document(&json!({ "removed": removed }))?;
    } else {
        for id in removed {
            output.line(format_args!("removed {id}"))?;
        }
    }
    Ok(exit)
}
