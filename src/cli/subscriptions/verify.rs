//! `homing subscriptions verify`

use clap_complete::ArgValueCandidates;
use serde_json::json;

use crate::{
    cli::{
        complete,
        failure::{Exit, Failure},
        output::Output,
        target::Target,
    },
    registry::{VerificationView, View},
    verification::VerificationResponse,
};
use homing_domain::id::SubscriptionId;

const EXAMPLES: &str = "\
Examples:
  homing subscriptions verify 01931f5a-9c4e-7000-8000-0123456789ab

Asks the endpoint whether it wants to be called, as the field verification says: handshake (OPTIONS,
CloudEvents' web hooks) or challenge (a POST whose text the answer repeats). Until it consents, and
again after a change of the URL, its events are parked (unverified). Exit code 1: it did not consent.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Id of the subscription
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    id: SubscriptionId,
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let answer = target.verify_subscription(arguments.id).await?;
    write(arguments.id, &answer, output)?;
    Ok(if answer.verified { Exit::Done } else { Exit::Failed })
}

fn write(
    id: SubscriptionId,
    answer: &VerificationResponse,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if output.json {
        return output.document(&json!(answer));
    }
    let fields = [
        ("asked", answer.url.clone()),
        ("outcome", answer.outcome.clone()),
        ("took", format!("{} ms", answer.duration_ms)),
        ("verified", answer.verification.as_ref().map(state).unwrap_or_default()),
        ("problem", answer.problem.clone().unwrap_or_default()),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        output.line(format_args!("{name:<12}{value}"))?;
    }
    if answer.verified {
        output.aside(format_args!(
            "What was parked meanwhile: homing parked replay --reason unverified --subscription {id}"
        ));
    }
    Ok(())
}

/// The state of a verification.
pub(super) fn state(verification: &VerificationView) -> String {
    let VerificationView { method, verified, allowed_rate } = verification;
    let Some(verified) = verified else {
        return format!("not yet (by {method}): its events are parked");
    };
    let rate = allowed_rate.map(|rate| format!(", {rate} requests a minute"));
    format!("{verified} (by {method}{})", rate.unwrap_or_default())
}

/// Says what to do about a subscription that gets nothing, because its endpoint is not verified.
pub(super) fn advise(view: &View, output: &mut Output<'_>) {
    if view.verification.as_ref().is_some_and(|it| it.verified.is_none()) {
        output.notice(format_args!(
            "subscription {0} is not verified: its events are parked; homing subscriptions verify {0}",
            view.id
        ));
    }
}
