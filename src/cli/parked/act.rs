//! `homing parked replay` and `drop`

use serde_json::json;

use super::filters::Filters;
use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
        progress::Progress,
    },
    parking::{Action, Parking, Selection, Tally},
};

const REPLAY_EXAMPLES: &str = "\
Examples:
  homing parked replay --reason circuit_open --dry-run      how many
  homing parked replay --reason circuit_open
  homing parked replay --event o-7
  homing parked replay --reason exhausted --limit 10        a few, to see whether they arrive now
  homing parked replay --all

A message is removed from the parking queue once the broker has confirmed its copy.";

const DROP_EXAMPLES: &str = "\
Examples:
  homing parked drop --reason subscription_deleted
  homing parked drop --parked-before 30d --yes
  homing parked drop --all --yes

What is dropped is gone; `homing parked export` keeps a copy.";

#[derive(clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    filters: Filters,
    /// Everything that is parked
    #[arg(long)]
    all: bool,
    /// How many of them at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Only count
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(in crate::cli) struct ReplayArguments {
    #[command(flatten)]
    common: Common,
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
        self.common.check(Action::Replay, false)
    }
}

impl DropArguments {
    pub(super) fn check(self, output: &Output<'_>) -> Result<Act, Failure> {
        if !self.yes && !self.common.dry_run && !output.can_ask() {
            let text = "nobody can be asked here whether to drop; say --yes, or --dry-run to count";
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

impl Act {
    pub(super) async fn run(
        self,
        parking: &Parking,
        output: &mut Output<'_>,
    ) -> Result<Exit, Failure> {
        if self.asks && !self.dry_run {
            let counted = self.walk(parking, Action::Count, output).await?;
            let (matched, total) = (counted.matched, counted.total);
            if matched > 0 && !output.ask(format_args!("Drop {matched} of {total} for ever?"))? {
                output.line("Nothing was dropped.")?;
                return Ok(Exit::Failed);
            }
        }
        let action = if self.dry_run { Action::Count } else { self.action };
        let tally = self.walk(parking, action, output).await?;
        self.write(tally, output)?;
        Ok(Exit::Done)
    }

    async fn walk(
        &self,
        parking: &Parking,
        action: Action,
        output: &Output<'_>,
    ) -> Result<Tally, Failure> {
        let progress = Progress::walking(output, "looked at");
        let walked = parking.act(action, &self.selection, self.limit, |tally| {
            let message = format!("{} match", tally.matched);
            progress.at(tally.scanned, tally.total, &message);
        });
        let tally = walked.await;
        progress.end();
        tally.map_err(Failure::Broker)
    }

    fn write(&self, tally: Tally, output: &mut Output<'_>) -> Result<(), Failure> {
        let (infinitive, past) = match self.action {
            Action::Replay => ("replay", "replayed"),
            Action::Drop => ("drop", "dropped"),
            Action::Count => ("count", "counted"),
        };
        let Tally { scanned, total, matched } = tally;
        if output.json {
            return output.document(&json!({
                "action": infinitive,
                "dry_run": self.dry_run,
                "matched": matched,
                "scanned": scanned,
                "total": total,
            }));
        }
        if self.dry_run {
            output.line(format_args!("would {infinitive} {matched} of {total} parked"))
        } else {
            output.line(format_args!("{past} {matched} of {total} parked"))
        }
    }
}
