//! `homing endpoints disable` and `probe`

use clap_complete::ArgValueCandidates;

use crate::cli::{
    complete,
    failure::{Exit, Failure},
    output::Output,
    target::Target,
    words,
};
use homing_domain::{circuit::StateName, url::EndpointUrl};

const DISABLE_EXAMPLES: &str = "\
Examples:
  homing endpoints disable https://example.com/hook
  homing endpoints disable 'https://example.com/hook?tenant=7&v=2'

Nothing is lost: what comes due is held for as long as its schedule is long, at least an
hour (`held.min_hold`), and sent once the URL is enabled. After that time it is parked as `frozen`,
as is what comes due while no held queue is free.";

const PROBE_EXAMPLES: &str = "\
Examples:
  homing endpoints probe https://example.com/hook

The oldest delivery that is held for the URL is attempted now, or the next one that comes due. If the
URL accepts it, the circuit closes. Has no effect on a circuit that is not open.";

#[derive(clap::Args)]
#[command(after_help = DISABLE_EXAMPLES)]
pub(in crate::cli) struct DisableArguments {
    /// URL of the endpoint
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: EndpointUrl,
    /// Also if no subscription sends to it
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args)]
#[command(after_help = PROBE_EXAMPLES)]
pub(in crate::cli) struct ProbeArguments {
    /// URL of the endpoint
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: EndpointUrl,
}

pub(super) async fn disable(
    target: Target<'_>,
    arguments: &DisableArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let view = target.disable(&arguments.url, arguments.force).await?;
    if output.json {
        output.document(&view)?;
        return Ok(Exit::Done);
    }
    output.line(format_args!("disabled {}", view.url))?;
    let enable = words::with_operand("homing endpoints enable", &view.url);
    output.aside(format_args!("What comes due for it is held; `{enable}` sends it."));
    Ok(Exit::Done)
}

pub(super) async fn probe(
    target: Target<'_>,
    arguments: &ProbeArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let view = target.probe(&arguments.url).await?;
    if output.json {
        output.document(&view)?;
    } else if view.state == StateName::Open.as_str() {
        output.line(format_args!("a probe of {} is due now", view.url))?;
    } else {
        output.line(format_args!("{} is {}: nothing to probe", view.url, view.state))?;
    }
    Ok(Exit::Done)
}
