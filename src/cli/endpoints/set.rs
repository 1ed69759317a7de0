//! `homing endpoints enable` and `disable`

use std::ops::ControlFlow;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
        globals,
        output::fields_of,
        progress::Progress,
        run::Signals,
        words,
    },
    domain::url::EndpointUrl,
    service::Parts,
    store::Intervention,
    switchboard::{SetError, View},
};

const ENABLE_EXAMPLES: &str = "\
Examples:
  homing endpoints enable https://example.com/hook
  homing endpoints enable https://example.com/hook --replay

With --replay, what was parked because the URL was open or frozen is sent again from attempt 1, 100
a second, and nothing else that is parked. Where the URL is enabled already, only that is done.";

const DISABLE_EXAMPLES: &str = "\
Examples:
  homing endpoints disable https://example.com/hook
  homing endpoints disable 'https://example.com/hook?tenant=7&v=2'

Nothing is lost: what comes due is parked as `frozen`, and `homing endpoints enable URL --replay`
sends it again.";

#[derive(clap::Args)]
#[command(after_help = ENABLE_EXAMPLES)]
pub(in crate::cli) struct EnableArguments {
    /// Which one
    url: EndpointUrl,
    /// Also replay what was parked because its circuit spared it
    #[arg(long)]
    replay: bool,
    /// Also where no subscription sends there
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args)]
#[command(after_help = DISABLE_EXAMPLES)]
pub(in crate::cli) struct DisableArguments {
    /// Which one
    url: EndpointUrl,
    /// Also where no subscription sends there
    #[arg(long)]
    force: bool,
}

/// What became of the deliveries that were parked.
#[derive(Clone, Copy)]
enum Spared {
    Counted(u32),
    Replayed(u32),
    /// Ctrl-C ended it.
    Interrupted(u32),
}

pub(super) async fn enable(
    parts: &Parts,
    arguments: &EnableArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let url = &arguments.url;
    let view = set(parts, url, Intervention::Enable, arguments.force).await?;
    if !output.json {
        output.line(format_args!("enabled {}", view.url))?;
    }
    let spared = if arguments.replay {
        replay(parts, url, output).await
    } else {
        let counted = parts.switchboard.count_spared(&parts.parking, url).await;
        counted.map_err(Failure::Spared).map(Spared::Counted)
    };
    if output.json {
        output.document(&document(&view, spared.as_ref().ok()))?;
    } else if let Ok(spared) = spared {
        write(url, spared, output)?;
    }
    Ok(if matches!(spared?, Spared::Interrupted(_)) { Exit::Failed } else { Exit::Done })
}

async fn set(
    parts: &Parts,
    url: &EndpointUrl,
    intervention: Intervention,
    is_forced: bool,
) -> Result<View, Failure> {
    globals::remember_queues(parts).await.map_err(Failure::Store)?;
    let set = if is_forced {
        parts.switchboard.set(url, intervention).await.map_err(SetError::Store)
    } else {
        parts.switchboard.set_known(url, intervention).await
    };
    let circuit = set.map_err(|error| match error {
        SetError::Store(error) => Failure::Store(error),
        unknown @ SetError::Unknown { .. } => {
            Failure::NotFound(format!("{unknown}; with --force it is set all the same"))
        }
    })?;
    Ok(View::of(url, &circuit))
}

/// Ctrl-C ends it between two messages, a second one at once.
async fn replay(
    parts: &Parts,
    url: &EndpointUrl,
    output: &mut Output<'_>,
) -> Result<Spared, Failure> {
    let mut signals = Signals::listen()?;
    let progress = Progress::walking(output, "looked at");
    let (stop, mut so_far) = (CancellationToken::new(), 0);
    let replayed = parts.switchboard.replay_spared_while(&parts.parking, url, |tally| {
        so_far = tally.matched;
        progress.at(tally.scanned, tally.total, &format!("{} replayed", tally.matched));
        if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let ended = signals.bound(&stop, replayed).await;
    progress.end();
    match ended {
        Some(Ok(tally)) if !stop.is_cancelled() => Ok(Spared::Replayed(tally.matched)),
        Some(Ok(_)) | None => Ok(Spared::Interrupted(so_far)),
        Some(Err(error)) => {
            if so_far > 0 {
                output.tell(format_args!(
                    "{} replayed, and then it failed",
                    words::deliveries(so_far)
                ));
            }
            Err(Failure::Spared(error))
        }
    }
}

/// `None`: it is enabled, and the rest failed.
fn document(view: &View, spared: Option<&Spared>) -> serde_json::Map<String, Value> {
    let mut document = fields_of(view);
    let (spared, replayed) = match spared.copied() {
        Some(Spared::Counted(count)) => (count.into(), None),
        Some(Spared::Replayed(count)) => (count.into(), Some(count)),
        Some(Spared::Interrupted(count)) => (Value::Null, Some(count)),
        None => (Value::Null, None),
    };
    document.insert("spared".to_owned(), spared);
    document.extend(replayed.map(|count| ("replayed".to_owned(), count.into())));
    document
}

fn write(url: &EndpointUrl, spared: Spared, output: &mut Output<'_>) -> Result<(), Failure> {
    match spared {
        Spared::Counted(0) | Spared::Replayed(0) => output.line("nothing was parked to spare it"),
        Spared::Counted(count) => {
            let parked = words::deliveries(count);
            let again = words::with_operand("homing endpoints enable --replay", url.as_str());
            output.line(format_args!("{parked} parked to spare it; to replay exactly those:"))?;
            output.line(format_args!("  {again}"))
        }
        Spared::Replayed(count) => {
            output.line(format_args!("{} replayed", words::deliveries(count)))
        }
        Spared::Interrupted(count) => output.line(format_args!(
            "interrupted: {} replayed, the others are parked still",
            words::deliveries(count)
        )),
    }
}

pub(super) async fn disable(
    parts: &Parts,
    arguments: &DisableArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let view = set(parts, &arguments.url, Intervention::Disable, arguments.force).await?;
    if output.json {
        output.document(&view)?;
        return Ok(Exit::Done);
    }
    output.line(format_args!("disabled {}", view.url))?;
    let enable = words::with_operand("homing endpoints enable --replay", &view.url);
    output.aside(format_args!("What comes due for it is parked; `{enable}` sends it again."));
    Ok(Exit::Done)
}
