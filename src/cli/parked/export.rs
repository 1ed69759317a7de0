//! `homing parked export`

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
};

use serde_json::json;

use super::{filters::Filters, write_arriving};
use crate::cli::{
    failure::{Exit, Failure},
    output::Output,
    run::Signals,
};
use homing_delivery::parking::{Bodies, Parking, Selection, Tally, export_line};

const EXAMPLES: &str = "\
Examples:
  homing parked export parked.jsonl
  homing parked export --reason exhausted | jq -r .id
  homing parked export | homing publish --broker amqp://elsewhere

One JSON object a line: topic, id, subscription, content_type, content_encoding, data (body_base64
where the body is not JSON on one line), and its history under `parked`.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// A file that does not exist yet; `-` or nothing: standard output
    #[arg(default_value = "-", hide_default_value = true)]
    file: String,
    #[command(flatten)]
    filters: Filters,
    /// Export this many at most
    #[arg(long)]
    limit: Option<u32>,
}

impl Arguments {
    pub(super) fn check(self) -> Result<Export, Failure> {
        let selection = self.filters.selection()?;
        Ok(Export { file: self.file, selection, limit: self.limit })
    }
}

/// `homing parked export`
pub(super) struct Export {
    file: String,
    selection: Selection,
    limit: Option<u32>,
}

impl Export {
    pub(super) async fn run(
        self,
        parking: &Parking,
        output: &mut Output<'_>,
    ) -> Result<Exit, Failure> {
        if self.file == "-" {
            let ended = self.write(parking, |line| output.bytes(line)).await;
            return match self.report(ended, output)? {
                Some(tally) => {
                    write_arriving(tally.arriving, output);
                    Ok(Exit::Done)
                }
                None => Ok(Exit::Failed),
            };
        }
        let failed = |source| Failure::Write { what: format!("`{}`", self.file), source };
        let mut file = BufWriter::new(File::create_new(&self.file).map_err(failed)?);
        let ended = self.write(parking, |line| file.write_all(line).map_err(failed)).await;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        let Some(Tally { matched, total, arriving, .. }) = self.report(ended, output)? else {
            return Ok(Exit::Failed);
        };
        write_arriving(arriving, output);
        if output.json {
            output.document(&json!({ "exported": matched, "file": self.file }))?;
        } else {
            output.line(format_args!("exported {matched} of {total} parked to {}", self.file))?;
        }
        Ok(Exit::Done)
    }

    /// Reports how far an export came that did not finish; `None`: it was interrupted.
    fn report(
        &self,
        (exported, ended): (u32, Result<Option<Tally>, Failure>),
        output: &mut Output<'_>,
    ) -> Result<Option<Tally>, Failure> {
        let to = if self.file == "-" { "standard output" } else { &self.file };
        match &ended {
            Ok(Some(_)) => {}
            Ok(None) => output.notice(format_args!("interrupted: exported {exported} to {to}")),
            // A reader that has read enough is no failure.
            Err(failure) if failure.exit() == Exit::Done => {}
            Err(_) => output.notice(format_args!("exported {exported} to {to} before it failed")),
        }
        ended
    }

    /// Passes each line to `write` as it comes from the store, so that memory never holds many; ends
    /// at the first that cannot be written. Returns how many were written, and the result.
    async fn write(
        &self,
        parking: &Parking,
        mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> (u32, Result<Option<Tally>, Failure>) {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(failure) => return (0, Err(failure)),
        };
        let (mut written, mut count) = (Ok(()), 0_u32);
        let visiting = parking.scan_each(&self.selection, self.limit, Bodies::Included, |entry| {
            written = write(&export_line(&entry));
            if written.is_err() {
                return ControlFlow::Break(());
            }
            count = count.saturating_add(1);
            ControlFlow::Continue(())
        });
        // Reading changes nothing, so the scan can be dropped at once.
        let visited = tokio::select! {
            visited = visiting => Some(visited),
            () = signals.next() => None,
        };
        let ended = match (written, visited) {
            (Err(failure), _) => Err(failure),
            (Ok(()), None) => Ok(None),
            (Ok(()), Some(visited)) => visited.map(Some).map_err(Failure::Parking),
        };
        (count, ended)
    }
}
