//! `homing subscriptions rotate-secret`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::create;
use crate::cli::{
    complete,
    failure::{Exit, Failure},
    output::Output,
    target::Target,
};
use homing_domain::{id::SubscriptionId, signature::SignatureScheme};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions rotate-secret 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions rotate-secret 01931f5a-9c4e-7000-8000-0123456789ab --overlap 7d
  homing subscriptions rotate-secret 01931f5a-9c4e-7000-8000-0123456789ab --overlap 0s
  homing subscriptions rotate-secret 01931f5a-9c4e-7000-8000-0123456789ab --signature-scheme v1a

Prints the new secret this once. Until the overlap ends requests carry a signature by the new secret
and one by each present secret; receivers accept either. --overlap 0s, after a leak, ends the present
ones at once. Of a key pair (v1a) it prints the public key, with which receivers verify.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Id of the subscription
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    id: SubscriptionId,
    /// Keep signing with the present secrets for this time, 30d at most [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = humantime_serde::re::humantime::parse_duration)]
    overlap: Option<Duration>,
    /// Of the new secret: v1 (shared) or v1a (key pair) [default: that of the newest one]
    #[arg(long, value_name = "SCHEME")]
    signature_scheme: Option<SignatureScheme>,
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let Arguments { id, overlap, signature_scheme } = *arguments;
    let rotated = target.rotate_secret(id, overlap, signature_scheme).await?;
    create::write("updated", &rotated, output)?;
    Ok(Exit::Done)
}
