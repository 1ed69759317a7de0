//! `homing subscriptions delete`

use serde_json::json;

use crate::{
    cli::{
        failure::{Exit, Failure},
        globals,
        output::Output,
    },
    services::Services,
};
use homing_domain::id::SubscriptionId;

const EXAMPLES: &str = "\
Examples:
  homing subscriptions delete 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions delete $(homing subscriptions list --json | jq -r '.subscriptions[].id')

Pending deliveries of a deleted subscription are parked (subscription_deleted) when they come due.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Ids of the subscriptions
    #[arg(required = true, value_name = "ID")]
    ids: Vec<SubscriptionId>,
}

/// A subscription that does not exist keeps none of the others from being deleted.
pub(super) async fn run(
    services: &Services,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    globals::remember_queues(services).await.map_err(Failure::Store)?;
    let mut deleted = Vec::new();
    let mut exit = Exit::Done;
    for id in &arguments.ids {
        match services.registry.delete(*id).await.map_err(Failure::Registry) {
            Ok(()) => deleted.push(*id),
            Err(failure) => {
                output.notice(failure.report());
                exit = Exit::Failed;
            }
        }
    }
    if output.json {
        output.document(&json!({ "deleted": deleted }))?;
    } else {
        for id in deleted {
            output.line(format_args!("deleted {id}"))?;
        }
    }
    Ok(exit)
}
