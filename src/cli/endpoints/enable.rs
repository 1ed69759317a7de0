//! `homing endpoints enable`

use std::ops::ControlFlow;

use clap_complete::ArgValueCandidates;
use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    api::forms::EndpointSet,
    cli::{
        complete,
        failure::{Exit, Failure},
        output::Output,
        parked::write_arriving,
        progress::Progress,
        remote::{Parameters, Remote},
        run::Signals,
        target::{Target, set},
        words,
    },
    services::Services,
};
use homing_delivery::parking::Tally;
use homing_domain::url::EndpointUrl;
use homing_store::Intervention;

const EXAMPLES: &str = "\
Examples:
  homing endpoints enable https://example.com/hook
  homing endpoints enable https://example.com/hook --replay

With --replay, what was parked because the URL was open or frozen is sent again from attempt 1, 100
a second; other parked messages stay. Works also on a URL that is already enabled.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// URL of the endpoint
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: EndpointUrl,
    /// Also replay what the circuit had parked
    #[arg(long)]
    replay: bool,
    /// Also if no subscription sends to it
    #[arg(long)]
    force: bool,
}

/// The end of what follows once the URL is enabled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    /// Ctrl-C ended the replay.
    Interrupted,
}

/// The endpoint, which is enabled, and the end of counting or replaying what was parked.
type Enabled = (EndpointSet, Result<Ended, Failure>);

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (set, ended) = match target {
        Target::Here(services) => here(services, arguments, output).await?,
        Target::There(api) => there(api, arguments, output).await?,
    };
    if let Some(arriving) = set.arriving {
        write_arriving(arriving, output);
    }
    if let Some(claimed) = set.claimed {
        output.notice(claimed.note());
    }
    if output.json {
        output.document(&set)?;
    } else if let Ok(ended) = ended {
        write(&arguments.url, &set, ended, output)?;
    }
    Ok(if ended? == Ended::Whole { Exit::Done } else { Exit::Failed })
}

/// Counts or replays after the URL is enabled, which stays so if that fails.
async fn here(
    services: &Services,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Enabled, Failure> {
    let url = &arguments.url;
    let view = set(services, url, Intervention::Enable, arguments.force).await?;
    enabled(&view.url, output)?;
    let mut set = EndpointSet {
        view,
        parked_by_circuit: None,
        replayed: None,
        arriving: None,
        claimed: None,
    };
    let ended = if arguments.replay {
        replay(services, url, &mut set, output).await
    } else {
        let counted = services.circuits.count_parked_by_circuit(&services.parking, url).await;
        counted.map_err(Failure::ParkedByCircuit).map(|tally| {
            set.parked_by_circuit = known(&tally);
            set.arriving = Some(tally.arriving);
            Ended::Whole
        })
    };
    Ok((set, ended))
}

async fn there(
    api: &Remote,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Enabled, Failure> {
    let Arguments { url, replay, force } = arguments;
    let document = json!({ "url": url, "replay": replay, "force": force });
    let request = (Method::POST, &["v1", "endpoints", "enable"][..]);
    let set: EndpointSet = api.submit(request, Parameters::default(), &document).await?;
    enabled(&set.view.url, output)?;
    Ok((set, Ok(Ended::Whole)))
}

fn enabled(url: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.json { Ok(()) } else { output.line(format_args!("enabled {url}")) }
}

/// `None`: the broker does not answer, so that more may be on their way into the store.
fn known(tally: &Tally) -> Option<u32> {
    tally.arriving.messages.map(|_| tally.matched)
}

/// Ctrl-C ends it between two batches, a second Ctrl-C at once.
async fn replay(
    services: &Services,
    url: &EndpointUrl,
    set: &mut EndpointSet,
    output: &mut Output<'_>,
) -> Result<Ended, Failure> {
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
            set.arriving = Some(tally.arriving);
            set.claimed = tally.claimed;
            set.parked_by_circuit = Some(tally.matched);
            set.replayed = Some(tally.matched);
            Ok(Ended::Whole)
        }
        Some(Ok(_)) | None => {
            set.replayed = Some(so_far);
            Ok(Ended::Interrupted)
        }
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

fn write(
    url: &EndpointUrl,
    set: &EndpointSet,
    ended: Ended,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match (set.replayed, set.parked_by_circuit, ended) {
        (Some(count), _, Ended::Interrupted) => output.line(format_args!(
            "interrupted: {} replayed, the others are still parked",
            words::deliveries(count)
        )),
        (Some(0), _, _) | (None, Some(0), _) => {
            output.line("what is held for it is sent; no delivery was parked by its circuit")
        }
        (Some(count), _, Ended::Whole) => {
            output.line(format_args!("{} replayed", words::deliveries(count)))
        }
        (None, Some(count), _) => {
            let parked = words::deliveries(count);
            let again = words::with_operand("homing endpoints enable --replay", url.as_str());
            output
                .line(format_args!("{parked} parked by its circuit; to replay exactly those:"))?;
            output.line(format_args!("  {again}"))
        }
        // A notice has said so.
        (None, None, _) => Ok(()),
    }
}
