//! `homing errors`

use clap_complete::ArgValueCandidates;

use super::{
    complete,
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    table::Rows,
    target::Needs,
    words,
};
use crate::history::ErrorsView;
use homing_domain::{clock, url::EndpointUrl};
use homing_store::ErrorFilter;

const EXAMPLES: &str = "\
Examples:
  homing errors
  homing errors --url https://example.com/hook
  homing errors --since 1h --json | jq -r '.errors[] | [.count, .url, .text] | @tsv'

Failed attempts are one error if they have the URL, the outcome and the text of the answer in common;
# stands for numbers, ids and addresses. The latest first. An error is forgotten after
`attempts.keep` without an attempt. `homing attempts EXAMPLE` shows the last attempt of an error, and
`homing parked replay --error ID` sends again what was parked for it. Errors without an ID are those
of a URL that has too many to count them apart: --url URL selects what was parked there. What a
circuit parked, or what was parked without an attempt, has no error: --url URL --reason circuit_open
(or frozen, endpoint_slow).";

/// In place of the id of errors that are too many to be counted apart.
const TOGETHER: &str = "none: counted together";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// At this URL
    #[arg(long, value_name = "URL")]
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: Option<EndpointUrl>,
    /// With an attempt begun at or after: 2026-01-31T12:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Show this many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let since = words::instant_of_flag("--since", arguments.since.as_deref(), clock::now())?;
    let url = arguments.url.as_ref().map(|url| url.as_str().to_owned());
    let filter = ErrorFilter { url, since, limit: arguments.limit };
    let view =
        globals.with_target(Needs::Passive, async |target| target.errors(&filter).await).await?;
    if output.json {
        output.document(&view)?;
    } else {
        write(&view, output)?;
    }
    Ok(Exit::Done)
}

fn write(view: &ErrorsView, output: &mut Output<'_>) -> Result<(), Failure> {
    if view.errors.is_empty() {
        output.aside("No attempt failed.");
        return Ok(());
    }
    let mut rows =
        Rows::new(output, &["COUNT", "FIRST", "LAST", "OUTCOME", "TEXT", "URL", "ID", "EXAMPLE"]);
    for error in &view.errors {
        rows.add([
            error.count.to_string(),
            words::to_seconds(&error.first),
            words::to_seconds(&error.last),
            error.outcome.clone(),
            error.text.clone(),
            error.url.clone(),
            error.id.map_or_else(|| TOGETHER.to_owned(), |id| id.to_string()),
            error.example.to_string(),
        ]);
    }
    rows.write(output, &[0])?;
    if view.more {
        output.aside("There are more: --limit");
    }
    Ok(())
}
