//! `homing endpoints enable`, `disable` and `probe`

use std::ops::ControlFlow;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        failure::{Exit, Failure},
        globals,
        output::Output,
        output::fields_of,
        parked::write_arriving,
        progress::Progress,
        run::Signals,
        words,
    },
    services::Services,
};
use homing_delivery::circuits::{SetError, View};
use homing_domain::{circuit::StateName, url::EndpointUrl};
use homing_store::Intervention;

const ENABLE_EXAMPLES: &str = "\
Examples:
  homing endpoints enable https://example.com/hook
  homing endpoints enable https://example.com/hook --replay

With --replay, what was parked because the URL was open or frozen is sent again from attempt 1, 100
a second; other parked messages stay. Works also on a URL that is already enabled.";

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
#[command(after_help = ENABLE_EXAMPLES)]
pub(in crate::cli) struct EnableArguments {
    /// URL of the endpoint
    url: EndpointUrl,
    /// Also replay what the circuit had parked
    #[arg(long)]
    replay: bool,
    /// Also if no subscription sends to it
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args)]
#[command(after_help = DISABLE_EXAMPLES)]
pub(in crate::cli) struct DisableArguments {
    /// URL of the endpoint
    url: EndpointUrl,
    /// Also if no subscription sends to it
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args)]
#[command(after_help = PROBE_EXAMPLES)]
pub(in crate::cli) struct ProbeArguments {
    /// URL of the endpoint
    url: EndpointUrl,
}

/// The deliveries that the circuit had parked.
#[derive(Clone, Copy)]
enum ParkedByCircuit {
    Counted(u32),
    /// The broker does not answer, so that more may be on their way into the store.
    Unknown,
    Replayed(u32),
    /// Ctrl-C ended it.
    Interrupted(u32),
}

pub(super) async fn enable(
    services: &Services,
    arguments: &EnableArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let url = &arguments.url;
    let view = set(services, url, Intervention::Enable, arguments.force).await?;
    if !output.json {
        output.line(format_args!("enabled {}", view.url))?;
    }
    let parked_by_circuit = if arguments.replay {
        replay(services, url, output).await
    } else {
        let counted = services.circuits.count_parked_by_circuit(&services.parking, url).await;
        counted.map_err(Failure::ParkedByCircuit).map(|tally| {
            write_arriving(tally.arriving, output);
            let messages = tally.arriving.messages;
            messages.map_or(ParkedByCircuit::Unknown, |_| ParkedByCircuit::Counted(tally.matched))
        })
    };
    if output.json {
        output.document(&document(&view, parked_by_circuit.as_ref().ok()))?;
    } else if let Ok(parked_by_circuit) = parked_by_circuit {
        write(url, parked_by_circuit, output)?;
    }
    Ok(if matches!(parked_by_circuit?, ParkedByCircuit::Interrupted(_)) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

async fn set(
    services: &Services,
    url: &EndpointUrl,
    intervention: Intervention,
    is_forced: bool,
) -> Result<View, Failure> {
    globals::remember_queues(services).await.map_err(Failure::Store)?;
    let set = if is_forced {
        services.circuits.set(url, intervention).await.map_err(SetError::Store)
    } else {
        services.circuits.set_known(url, intervention).await
    };
    let circuit = set.map_err(|error| match error {
        SetError::Store(error) => Failure::Store(error),
        unknown @ SetError::Unknown { .. } => {
            Failure::NotFound(format!("{unknown}; --force sets it nevertheless"))
        }
    })?;
    Ok(View::of(url, &circuit))
}

/// Ctrl-C ends it between two batches, a second Ctrl-C at once.
async fn replay(
    services: &Services,
    url: &EndpointUrl,
    output: &mut Output<'_>,
) -> Result<ParkedByCircuit, Failure> {
    let mut signals = Signals::listen()?;
    let progress = Progress::counting(output, "replayed");
    let (stop, mut so_far) = (CancellationToken::new(), 0);
    let replayed =
        services.circuits.replay_parked_by_circuit_while(&services.parking, url, |tally| {
            so_far = tally.matched;
            progress.at(tally.matched);
            if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    let ended = signals.bound(&stop, replayed).await;
    progress.end();
    match ended {
        Some(Ok(tally)) if !stop.is_cancelled() => {
            write_arriving(tally.arriving, output);
            if let Some(claimed) = tally.claimed {
                output.notice(claimed.note());
            }
            Ok(ParkedByCircuit::Replayed(tally.matched))
        }
        Some(Ok(_)) | None => Ok(ParkedByCircuit::Interrupted(so_far)),
        Some(Err(error)) => {
            if so_far > 0 {
                output.notice(format_args!(
                    "{} replayed before it failed",
                    words::deliveries(so_far)
                ));
            }
            Err(Failure::ParkedByCircuit(error))
        }
    }
}

/// `None`: it is enabled, and the rest failed.
fn document(
    view: &View,
    parked_by_circuit: Option<&ParkedByCircuit>,
) -> serde_json::Map<String, Value> {
    let mut document = fields_of(view);
    let (parked_by_circuit, replayed) = match parked_by_circuit.copied() {
        Some(ParkedByCircuit::Counted(count)) => (count.into(), None),
        Some(ParkedByCircuit::Replayed(count)) => (count.into(), Some(count)),
        Some(ParkedByCircuit::Interrupted(count)) => (Value::Null, Some(count)),
        Some(ParkedByCircuit::Unknown) | None => (Value::Null, None),
    };
    document.insert("parked_by_circuit".to_owned(), parked_by_circuit);
    document.extend(replayed.map(|count| ("replayed".to_owned(), count.into())));
    document
}

fn write(
    url: &EndpointUrl,
    parked_by_circuit: ParkedByCircuit,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match parked_by_circuit {
        // A notice has said so.
        ParkedByCircuit::Unknown => Ok(()),
        ParkedByCircuit::Counted(0) | ParkedByCircuit::Replayed(0) => {
            output.line("no delivery was parked by its circuit")
        }
        ParkedByCircuit::Counted(count) => {
            let parked = words::deliveries(count);
            let again = words::with_operand("homing endpoints enable --replay", url.as_str());
            output
                .line(format_args!("{parked} parked by its circuit; to replay exactly those:"))?;
            output.line(format_args!("  {again}"))
        }
        ParkedByCircuit::Replayed(count) => {
            output.line(format_args!("{} replayed", words::deliveries(count)))
        }
        ParkedByCircuit::Interrupted(count) => output.line(format_args!(
            "interrupted: {} replayed, the others are still parked",
            words::deliveries(count)
        )),
    }
}

pub(super) async fn disable(
    services: &Services,
    arguments: &DisableArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let view = set(services, &arguments.url, Intervention::Disable, arguments.force).await?;
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
    services: &Services,
    arguments: &ProbeArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let view = set(services, &arguments.url, Intervention::Probe, false).await?;
    if output.json {
        output.document(&view)?;
    } else if view.state == StateName::Open.as_str() {
        output.line(format_args!("a probe of {} is due now", view.url))?;
    } else {
        output.line(format_args!("{} is {}: nothing to probe", view.url, view.state))?;
    }
    Ok(Exit::Done)
}
