//! `homing replay`

mod show;

use std::{num::NonZeroU32, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    failure::{Exit, Failure},
    globals::{self, Globals},
    output::Output,
    progress::Progress,
    run::Signals,
    target::{Needs, Target},
    words,
};
use homing_domain::{
    clock,
    id::{EventId, SubscriptionId},
    replay::{DEFAULT_RATE, MAX_RATE, Replay, ReplayId, ReplaySelection, ReplayState},
    time::UnixMillis,
    topic::TopicPattern,
    url::EndpointUrl,
};

/// Interval of looking how far a replay is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  homing replay --since 2h --dry-run                          what was published in two hours
  homing replay --since 2026-01-31T12:00:00Z --until 2026-01-31T13:00:00Z --url https://a.example/hook
  homing replay --since 1d --subscription ID --topic 'order.*'  for a new subscription
  homing replay --event o-7 --subscription ID                 one event, however it was delivered
  homing replay list
  homing replay stop ID

Sends events of the archive again (`archive.enabled`): to all subscriptions that match now, or to the
chosen ones. Workers do that; Ctrl-C ends only the watching. Each delivery has the webhook-id that it
had before, and the header x-homing-replay. A window has whole seconds, by the broker's clock.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    selected: Selected,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the latest replays, newest first
    #[command(after_help = "Example:\n  homing replay list --limit 5")]
    List(ListArguments),
    /// Show one replay
    #[command(after_help = "Example:\n  homing replay get ID")]
    Get(Named),
    /// Stop a replay; it can be resumed
    #[command(after_help = "Example:\n  homing replay stop ID")]
    Stop(Named),
    /// Have a replay that was stopped or failed go on where it ended
    #[command(after_help = "Example:\n  homing replay resume ID")]
    Resume(Named),
}

#[derive(clap::Args)]
struct ListArguments {
    /// Show this many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(clap::Args)]
struct Named {
    /// Its id
    id: ReplayId,
}

#[derive(clap::Args)]
struct Selected {
    /// Archived at or after: 2026-01-31T12:00:00Z, or 2h for two hours ago; needed without --event
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Archived before; without it, until now
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only events with such a topic
    #[arg(long, value_name = "PATTERN")]
    topic: Option<TopicPattern>,
    /// Only the event with this id
    #[arg(long, value_name = "ID", value_parser = EventId::new)]
    event: Option<EventId>,
    /// To this subscription; may be repeated
    #[arg(long, value_name = "ID", conflicts_with = "url")]
    subscription: Vec<SubscriptionId>,
    /// To the subscriptions with this URL
    #[arg(long, value_name = "URL")]
    url: Option<EndpointUrl>,
    /// To the chosen subscriptions whatever their topics and filters say
    #[arg(long)]
    unfiltered: bool,
    /// Deliveries per second at most
    #[arg(long, value_name = "N", default_value_t = NonZeroU32::new(DEFAULT_RATE).unwrap_or(NonZeroU32::MIN))]
    rate: NonZeroU32,
    /// Only show what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Do not watch it
    #[arg(long)]
    detach: bool,
}

impl Selected {
    /// The selection; an event is looked for in everything that may be kept, as far as that is known.
    fn selection(&self, target: Target<'_>) -> Result<ReplaySelection, Failure> {
        let now = clock::now();
        if self.rate.get() > MAX_RATE {
            return Err(Failure::Usage(format!("--rate: {MAX_RATE} at most")));
        }
        let since = words::instant_of_flag("--since", self.since.as_deref(), now)?;
        let kept = target.here().map(|services| 2 * services.settings.archive.keep);
        let oldest = kept.map_or(UnixMillis::new(0), |kept| now.minus(kept));
        let since = since.or_else(|| self.event.is_some().then_some(oldest)).ok_or_else(|| {
            Failure::Usage("give --since, the beginning of the window, or --event".to_owned())
        })?;
        let until = words::instant_of_flag("--until", self.until.as_deref(), now)?;
        Ok(ReplaySelection {
            since_ms: since,
            until_ms: until.unwrap_or(now),
            topic: self.topic.clone(),
            event: self.event.clone(),
            subscriptions: self.subscription.clone(),
            url: self.url.clone(),
            unfiltered: self.unfiltered,
            rate: self.rate,
        })
    }
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    globals
        .with_target(Needs::Services, async |target| match &arguments.command {
            None => begin(target, &arguments.selected, output).await,
            Some(Command::List(ListArguments { limit })) => {
                show::list(&target.replays(*limit).await?, output)
            }
            Some(Command::Get(Named { id })) => show::one(&target.replay(*id).await?, output),
            Some(Command::Stop(Named { id })) => show::one(&target.stop_replay(*id).await?, output),
            Some(Command::Resume(Named { id })) => {
                show::one(&target.resume_replay(*id).await?, output)
            }
        })
        .await
}

async fn begin(
    target: Target<'_>,
    selected: &Selected,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let selection = selected.selection(target)?;
    if let Some(services) = target.here() {
        globals::remember_queues(services).await.map_err(Failure::Store)?;
    }
    if selected.dry_run || !output.json {
        show::preview(&target.preview_replay(selection.clone()).await?, output)?;
    }
    if selected.dry_run {
        return Ok(Exit::Done);
    }
    let replay = target.create_replay(selection).await?;
    if selected.detach {
        return show::one(&replay, output);
    }
    output.aside(format_args!("replay {}; `homing replay stop {0}` stops it", replay.id));
    let replay = watch(target, replay, output).await?;
    show::one(&replay, output)?;
    // A note at the end says what is missing.
    let is_whole = replay.state != ReplayState::Failed && replay.progress.note.is_none();
    Ok(if is_whole || !replay.state.is_over() { Exit::Done } else { Exit::Failed })
}

/// Shows how far a replay is until it is over, or a signal ends the watching.
async fn watch(
    target: Target<'_>,
    replay: Replay,
    output: &mut Output<'_>,
) -> Result<Replay, Failure> {
    let progress = Progress::scanning(output, "events read");
    let (mut signals, stop, id) = (Signals::listen()?, CancellationToken::new(), replay.id);
    let watching = async {
        let mut replay = replay;
        while !replay.state.is_over() && !stop.is_cancelled() {
            // The pause between two looks.
            stop.run_until_cancelled(sleep(LOOK_INTERVAL)).await;
            replay = target.replay(replay.id).await?;
            let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let (read, events) = (replay.progress.read, replay.progress.events.unwrap_or(0));
            let note = replay.progress.note.as_deref().unwrap_or_default();
            progress.at_of(count(read), count(events), note);
        }
        Ok(replay)
    };
    let watched = signals.bound(&stop, watching).await;
    progress.end();
    match watched {
        Some(replay) => replay,
        None => target.replay(id).await,
    }
}
