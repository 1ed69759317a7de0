//! `homing parked export`

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
};

use serde_json::json;

use super::filters::Filters;
use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
    },
    parking::{Parking, Selection, Tally, export_line},
};

const EXAMPLES: &str = "\
Examples:
  homing parked export parked.jsonl
  homing parked export --reason exhausted | jq -r .id
  homing parked export | homing publish --broker amqp://elsewhere

One JSON object a line: topic, id, subscription, content_type, content_encoding, data (body_base64
where the body is not JSON on one line), and what is known of its way under `parked`.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Where to; it must not exist yet; `-` or nothing: standard output
    #[arg(default_value = "-", hide_default_value = true)]
    file: String,
    #[command(flatten)]
    filters: Filters,
    /// How many at most
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
            self.write(parking, |line| output.bytes(line)).await?;
            return Ok(Exit::Done);
        }
        let failed = |source| Failure::Write { what: format!("`{}`", self.file), source };
        let mut file = BufWriter::new(File::create_new(&self.file).map_err(failed)?);
        let tally = self.write(parking, |line| file.write_all(line).map_err(failed)).await?;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        let Tally { matched, total, .. } = tally;
        if output.json {
            output.document(&json!({ "exported": matched, "file": self.file }))?;
        } else {
            output.line(format_args!("exported {matched} of {total} parked to {}", self.file))?;
        }
        Ok(Exit::Done)
    }

    /// Gives line after line to `write` as it comes from the broker, so that there is never more
    /// than one in memory; the first that cannot be written is the last.
    async fn write(
        &self,
        parking: &Parking,
        mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Tally, Failure> {
        let mut written = Ok(());
        let visited = parking.visit(&self.selection, self.limit, None, |entry| {
            written = write(&export_line(&entry));
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let visited = visited.await;
        written?;
        visited.map_err(Failure::Broker)
    }
}
