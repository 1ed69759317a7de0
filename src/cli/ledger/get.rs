//! `homing ledger get`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use crate::cli::{
    complete,
    failure::{Exit, Failure},
    output::Output,
    range::Period,
    table::Rows,
    target::Target,
    words,
};
use homing_domain::{clock, id::SubscriptionId, ledger::View};

/// The time before now that is shown by default.
const DEFAULT: Duration = Duration::from_hours(24);

const EXAMPLES: &str = "\
Examples:
  homing ledger get 01931f5a-9c4e-7000-8000-0123456789ab              the last day
  homing ledger get 01931f5a-9c4e-7000-8000-0123456789ab --since 7d --json

An hour is that of `webhook-timestamp`. XOR and SUM are of the last eight bytes of each webhook-id.
`open`: a worker is still counting. `not provable`: a worker was killed before it had written all.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Id of the subscription
    #[arg(value_name = "ID")]
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    subscription: SubscriptionId,
    #[command(flatten)]
    hours: Period,
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let now = clock::now();
    let until = arguments.hours.until(now)?.unwrap_or(now);
    let since = arguments.hours.since(now)?.unwrap_or_else(|| until.minus(DEFAULT));
    let ledger = target.ledger(arguments.subscription, since, until).await?;
    if output.json {
        output.document(&ledger)?;
        return Ok(Exit::Done);
    }
    let hours = ledger.hours;
    if hours.is_empty() {
        output.aside("No worker ran in that time, or it is not kept any more (`ledger.keep`).");
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(output, &["HOUR", "DELIVERED", "XOR", "SUM", "STATE"]);
    for View { hour, number, xor, sum, state } in hours {
        let state = state.as_str().replace('_', " ");
        rows.add([words::to_seconds(&hour), number.to_string(), xor, sum, state]);
    }
    rows.write(output, &[1])?;
    Ok(Exit::Done)
}
