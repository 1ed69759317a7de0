//! `homing subscriptions delete`

use clap_complete::ArgValueCandidates;
use serde_json::json;

use crate::cli::{
    complete,
    failure::{Exit, Failure},
    output::Output,
    target::Target,
};
use homing_domain::id::SubscriptionId;

const EXAMPLES: &str = "\
Examples:
  homing subscriptions delete 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions delete $(homing subscriptions list --json | jq -r '.subscriptions[].id')

Pending deliveries of a deleted subscription are parked (subscription_deleted) when they come due.
At a terminal it asks first; --yes does not.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Ids of the subscriptions
    #[arg(required = true, value_name = "ID")]
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    ids: Vec<SubscriptionId>,
    /// Only show which would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Shows the subscriptions that would be deleted. Exit code 1: one of them does not exist.
async fn rehearse(
    target: Target<'_>,
    ids: &[SubscriptionId],
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (mut views, mut exit) = (Vec::new(), Exit::Done);
    for id in ids {
        match target.subscription(*id).await {
            Ok(view) => views.push(view),
            Err(failure) => {
                output.notice(failure.report());
                exit = Exit::Failed;
            }
        }
    }
    if output.json {
        output.document(&json!({ "dry_run": true, "would_delete": views }))?;
    } else {
        for view in views {
            output.line(format_args!("would delete {}  {}", view.id, view.url))?;
        }
    }
    Ok(exit)
}

/// Asks at a terminal only: scripts that delete go on as before.
async fn goes_on(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<bool, Failure> {
    if arguments.yes || output.json || !output.can_ask() {
        return Ok(true);
    }
    match arguments.ids.as_slice() {
        [id] => {
            let view = target.subscription(*id).await?;
            output.ask(format_args!("Delete subscription {id} to {}?", view.url))
        }
        ids => output.ask(format_args!("Delete {} subscriptions?", ids.len())),
    }
}

/// A subscription that does not exist keeps none of the others from being deleted.
pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    if arguments.dry_run {
        return rehearse(target, &arguments.ids, output).await;
    }
    if !goes_on(target, arguments, output).await? {
        output.line("Nothing was deleted.")?;
        return Ok(Exit::Failed);
    }
    let mut deleted = Vec::new();
    let mut exit = Exit::Done;
    for id in &arguments.ids {
        match target.delete_subscription(*id).await {
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
