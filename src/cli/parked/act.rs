//! `homing parked replay` and `drop`

use std::ops::ControlFlow;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{filters::Filters, write_arriving, write_without_error};
use crate::cli::{
    failure::{Exit, Failure},
    output::Output,
    progress::Progress,
    remote::Remote,
    run::Signals,
    target::selection_of,
    words,
};
use crate::{api::forms::StoppedEndpoint, services::Services};
use homing_delivery::{
    circuits::{CircuitBreakers, Stopped},
    parking::{Action, Parking, Selection, Tally},
};
use homing_domain::circuit::StateName;

const REPLAY_EXAMPLES: &str = "\
Examples:
  homing parked replay --reason circuit_open --dry-run      how many
  homing parked replay --reason circuit_open
  homing parked replay --event o-7
  homing parked replay --reason exhausted --limit 10        a few, to see whether they arrive now
  homing parked replay --all

A delivery is removed from the store once the broker has confirmed its message. Messages for
endpoints that are open or frozen are announced first. Ctrl-C ends it after the current ones and
reports what was done so far, which stays done.";

const DROP_EXAMPLES: &str = "\
Examples:
  homing parked drop --reason subscription_deleted
  homing parked drop --parked-before 30d --yes
  homing parked drop --all --yes

Dropped messages cannot be restored; `homing parked export` writes a copy.";

#[derive(clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    filters: Filters,
    /// All parked messages
    #[arg(long)]
    all: bool,
    /// Take this many at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Only count, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(in crate::cli) struct ReplayArguments {
    #[command(flatten)]
    common: Common,
    /// Do not ask if some go to an endpoint that is open or frozen
    #[arg(long, short)]
    yes: bool,
}

#[derive(clap::Args)]
#[command(after_help = DROP_EXAMPLES)]
pub(in crate::cli) struct DropArguments {
    #[command(flatten)]
    common: Common,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl ReplayArguments {
    pub(super) fn check(self) -> Result<Act, Failure> {
        self.common.check(Action::Replay, !self.yes)
    }
}

impl DropArguments {
    pub(super) fn check(self, output: &Output<'_>) -> Result<Act, Failure> {
        if !self.yes && !self.common.dry_run && !output.can_ask() {
            let text = "there is no terminal to confirm the drop; say --yes, or --dry-run to count";
            return Err(Failure::Usage(text.to_owned()));
        }
        self.common.check(Action::Drop, !self.yes)
    }
}

impl Common {
    fn check(self, action: Action, asks: bool) -> Result<Act, Failure> {
        let selection = self.filters.selection()?;
        match (selection.is_everything(), self.all) {
            (true, false) => {
                let text = "which ones? Give a filter such as --reason, or --all for everything";
                Err(Failure::Usage(text.to_owned()))
            }
            (false, true) => {
                let text = "--all means everything and takes no filter beside it";
                Err(Failure::Usage(text.to_owned()))
            }
            (true, true) | (false, false) => {
                Ok(Act { action, selection, limit: self.limit, dry_run: self.dry_run, asks })
            }
        }
    }
}

/// `homing parked replay` or `drop`
pub(super) struct Act {
    action: Action,
    selection: Selection,
    limit: Option<u32>,
    dry_run: bool,
    asks: bool,
}

/// The end of a scan.
struct Ended {
    tally: Tally,
    is_interrupted: bool,
}

impl Act {
    /// Counts where it only counts.
    pub(super) fn action(&self) -> Action {
        if self.dry_run { Action::Count } else { self.action }
    }

    pub(super) async fn run(
        self,
        services: &Services,
        output: &mut Output<'_>,
    ) -> Result<Exit, Failure> {
        let parking = &services.parking;
        let mut signals = Signals::listen()?;
        let goes_on = match self.action {
            Action::Replay => self.may_replay(services, output).await?,
            Action::Drop if self.asks && !self.dry_run => {
                self.may_drop(parking, &mut signals, output).await?
            }
            Action::Drop | Action::Count => true,
        };
        if !goes_on {
            output.line(format_args!("Nothing was {}.", self.past()))?;
            return Ok(Exit::Failed);
        }
        let ended = self.scan(parking, self.action(), &mut signals, output).await?;
        self.write(&ended, output)?;
        Ok(if ended.is_interrupted { Exit::Failed } else { Exit::Done })
    }

    /// By a running homing. Ctrl-C disconnects, which ends it there; what was done stays done.
    pub(super) async fn run_there(
        self,
        api: &Remote,
        output: &mut Output<'_>,
    ) -> Result<Exit, Failure> {
        let document = selection_of(&self.selection, self.limit);
        let counted = api.act_on_parked(self.action, document.clone(), true).await?;
        let Tally { matched, total, .. } = counted.tally;
        let goes_on = match self.action {
            Action::Replay => self.goes_on(&counted.stopped, output)?,
            Action::Drop if self.asks && !self.dry_run && matched > 0 => {
                output.ask(format_args!("Drop {matched} of {total} for ever?"))?
            }
            Action::Drop | Action::Count => true,
        };
        if !goes_on {
            output.line(format_args!("Nothing was {}.", self.past()))?;
            return Ok(Exit::Failed);
        }
        if self.dry_run {
            let ended = Ended { tally: counted.tally, is_interrupted: false };
            return self.write(&ended, output).map(|()| Exit::Done);
        }
        let mut signals = Signals::listen()?;
        let acted = tokio::select! {
            acted = api.act_on_parked(self.action, document, false) => acted?,
            () = signals.next() => {
                let past = self.past();
                output.notice(format_args!(
                    "interrupted: how many were {past} until then, `homing audit --kind parked` shows"
                ));
                return Ok(Exit::Failed);
            }
        };
        let ended = Ended { tally: acted.tally, is_interrupted: false };
        self.write(&ended, output)?;
        Ok(Exit::Done)
    }

    /// Announces the messages for endpoints to which nothing is sent now, and asks whether to go
    /// on.
    async fn may_replay(
        &self,
        services: &Services,
        output: &mut Output<'_>,
    ) -> Result<bool, Failure> {
        let stopped = services.circuits.stopped().await.map_err(Failure::Store)?;
        let parking = &services.parking;
        let (selection, limit) = (&self.selection, self.limit);
        let counted = CircuitBreakers::stopped_among(stopped, parking, selection, limit).await;
        let counted = counted.map_err(Failure::Parking)?.into_iter();
        let stopped = counted.map(|(Stopped { url, state, .. }, messages)| StoppedEndpoint {
            url,
            state: state.as_str(),
            messages,
        });
        self.goes_on(&stopped.collect::<Vec<_>>(), output)
    }

    /// Announces what goes to endpoints that are stopped, and asks whether to go on.
    fn goes_on(
        &self,
        stopped: &[StoppedEndpoint],
        output: &mut Output<'_>,
    ) -> Result<bool, Failure> {
        for StoppedEndpoint { url, state, messages } in stopped {
            let go = if *messages == 1 { "goes" } else { "go" };
            let enable = format!("`homing endpoints enable {}`", words::quoted(url));
            let why = if *state == StateName::Open.as_str() {
                "whose circuit is open: no attempt is made until a probe succeeds"
            } else {
                "which is frozen: they are held until it is enabled"
            };
            output.notice(format_args!("{messages} {go} to {url}, {why}; run {enable} first"));
        }
        let asks =
            !stopped.is_empty() && self.asks && !self.dry_run && !output.json && output.can_ask();
        if asks { output.ask("Replay nevertheless?") } else { Ok(true) }
    }

    async fn may_drop(
        &self,
        parking: &Parking,
        signals: &mut Signals,
        output: &mut Output<'_>,
    ) -> Result<bool, Failure> {
        let counted = self.scan(parking, Action::Count, signals, output).await?;
        let Tally { matched, total, .. } = counted.tally;
        if counted.is_interrupted {
            return Ok(false);
        }
        Ok(matched == 0 || output.ask(format_args!("Drop {matched} of {total} for ever?"))?)
    }

    /// Ctrl-C ends it between two batches, a second Ctrl-C at once.
    async fn scan(
        &self,
        parking: &Parking,
        action: Action,
        signals: &mut Signals,
        output: &mut Output<'_>,
    ) -> Result<Ended, Failure> {
        let progress = Progress::counting(output, self.past());
        let (stop, mut so_far) = (CancellationToken::new(), Tally::default());
        let scan = parking.act_while(action, &self.selection, self.limit, |tally| {
            so_far = tally;
            progress.at(tally.matched);
            if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let ended = signals.bound(&stop, scan).await;
        progress.end();
        match ended {
            Some(Ok(tally)) => Ok(Ended { tally, is_interrupted: stop.is_cancelled() }),
            None => Ok(Ended { tally: so_far, is_interrupted: true }),
            Some(Err(error)) => {
                if action != Action::Count && so_far.matched > 0 {
                    let Tally { matched, total, .. } = so_far;
                    let past = self.past();
                    output.notice(format_args!(
                        "{past} {matched} of {total} parked before it failed"
                    ));
                }
                Err(Failure::Parking(error))
            }
        }
    }

    fn past(&self) -> &'static str {
        match self.action {
            Action::Replay => "replayed",
            Action::Drop => "dropped",
            Action::Count => "counted",
        }
    }

    fn write(&self, ended: &Ended, output: &mut Output<'_>) -> Result<(), Failure> {
        let infinitive = match self.action {
            Action::Replay => "replay",
            Action::Drop => "drop",
            Action::Count => "count",
        };
        let Tally { matched, total, arriving, claimed } = ended.tally;
        write_arriving(arriving, output);
        if matched == 0 && claimed.is_none() && arriving.is_nothing() {
            write_without_error(&self.selection, output);
        }
        if let Some(claimed) = claimed {
            output.notice(claimed.note());
        }
        if output.json {
            return output.document(&json!({
                "action": infinitive,
                "dry_run": self.dry_run,
                "interrupted": ended.is_interrupted,
                "matched": matched,
                "total": total,
                "arriving": arriving,
                "claimed": claimed,
            }));
        }
        let past = self.past();
        match (ended.is_interrupted, self.dry_run) {
            (true, true) => output
                .line(format_args!("interrupted: would {infinitive} {matched} of {total} parked")),
            (true, false) => output.line(format_args!(
                "interrupted: {past} {matched} of {total} parked; the others are still parked"
            )),
            (false, true) => {
                output.line(format_args!("would {infinitive} {matched} of {total} parked"))
            }
            (false, false) => output.line(format_args!("{past} {matched} of {total} parked")),
        }
    }
}
