//! `homing audit`

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    range::{Period, Records},
    table::Rows,
    target::Needs,
    words,
};
use crate::api::forms::AuditPage;
use homing_domain::{
    audit::{Action, ObjectKind, View},
    clock,
};
use homing_store::{AuditFilter, normalised};

const EXAMPLES: &str = "\
Examples:
  homing audit --since 1d
  homing audit --object https://example.com/hook
  homing audit --kind subscription --action deleted
  homing audit --actor ci --json | jq -r '.records[] | [.at, .action, .object] | @tsv'

Newest first. Every change by API, dashboard or command is there, with the one who made it; secrets
are masked. Records older than `audit.keep`, or beyond `audit.max_rows`, are deleted. `begun`: it is
under way, its process was killed, or it was done and the store did not take its end.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// About objects of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(
        ObjectKind::ALL.iter().map(|kind| kind.as_str())
    ).try_map(|word| word.parse::<ObjectKind>()))]
    kind: Option<ObjectKind>,
    /// About the object with this id, URL or name
    #[arg(long, value_name = "OBJECT")]
    object: Option<String>,
    /// By this actor: the name of a token, or user@host
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// Of this action
    #[arg(long, value_parser = PossibleValuesParser::new(
        Action::ALL.iter().map(|action| action.as_str())
    ).try_map(|word| word.parse::<Action>()))]
    action: Option<Action>,
    #[command(flatten)]
    made: Period,
    #[command(flatten)]
    page: Records,
}

impl Arguments {
    fn page(&self) -> Result<homing_store::AuditPage, Failure> {
        let now = clock::now();
        let filter = AuditFilter {
            kind: self.kind,
            object: self.object.as_deref().map(normalised),
            actor: self.actor.clone(),
            action: self.action,
            since: self.made.since(now)?,
            until: self.made.until(now)?,
        };
        Ok(homing_store::AuditPage { filter, after: self.page.after, limit: self.page.limit })
    }
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let page = arguments.page()?;
    let listing =
        globals.with_target(Needs::Services, async |target| target.audit(&page).await).await?;
    if output.json {
        output.document(&listing)?;
        return Ok(Exit::Done);
    }
    let AuditPage { records, next } = listing;
    if records.is_empty() {
        output.aside("There is no such change on record.");
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(output, &["WHEN", "ACTOR", "VIA", "ACTION", "OBJECT", "CHANGE"]);
    for record in &records {
        rows.add(row(record));
    }
    rows.write(output, &[])?;
    if let Some(next) = next {
        output.aside(format_args!("There are more: --after {next}"));
    }
    Ok(Exit::Done)
}

fn row(record: &View) -> [String; 6] {
    [
        words::to_seconds(&record.at),
        record.actor.clone(),
        record.via.to_string(),
        format!("{} {}", record.kind, record.action),
        record.object.clone(),
        changes(record),
    ]
}

/// The result unless it is done, and the fields, the beginning of each at most.
fn changes(record: &View) -> String {
    const MOST: usize = 120;
    let result = (record.result.as_str() != "done").then(|| record.result.to_string());
    let short = |field: String| {
        if field.chars().count() <= MOST {
            return field;
        }
        field.chars().take(MOST).chain(['…']).collect()
    };
    let fields = record.fields().into_iter().map(short);
    result.into_iter().chain(fields).collect::<Vec<_>>().join("; ")
}
