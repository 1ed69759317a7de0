//! `homing topology`

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

use super::{
    failure::{Exit, Failure},
    globals::{self, Globals},
    output::Output,
    table::{Rows, Tone},
    words,
};
use crate::{
    overview::{deletable, left_over_advice},
    services::Services,
};
use homing_broker::{
    consume::Lane,
    topology::{Danger, Depth, Finding, Names, ShardPart, State},
};
use homing_delivery::{
    endpoint::{Management, Policed},
    worker::layout,
};
use homing_domain::{
    audit::{Action, Change, ChangeResult, ObjectKind, from_to},
    report::Chain,
};

const EXAMPLES: &str = "\
Examples:
  homing topology plan       show what apply would create
  homing topology apply      create what is missing; nothing is ever changed or deleted
  homing topology check      exit code 3 if anything is missing, different, left over or unrouted";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Show what apply would create; changes nothing
    #[command(after_help = EXAMPLES)]
    Plan,
    /// Create what is missing
    #[command(after_help = EXAMPLES)]
    Apply,
    /// Compare queues and exchanges with what they should be
    #[command(after_help = EXAMPLES)]
    Check,
}

/// One queue or exchange as it is reported.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumers: Option<u32>,
    /// The problem, or what would be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip)]
    tone: Tone,
}

pub(super) async fn run(
    globals: &Globals,
    command: &Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    globals
        .with_services(async |services| match command {
            Command::Plan => plan(services, output).await,
            Command::Apply => apply(services, output).await,
            Command::Check => check(services, output).await,
        })
        .await
}

async fn plan(services: &Services, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let rows = inspect(services).await?;
    let wrong: Vec<_> = rows.into_iter().filter(|row| row.tone == Tone::Bad).collect();
    if output.json {
        output.document(&Report { sound: wrong.is_empty(), policies: None, objects: &wrong })?;
    } else if wrong.is_empty() {
        output.line(format_args!("Everything is as it should be; {}.", announced(&wrong)))?;
    } else {
        write(&wrong, output)?;
        output.line("")?;
        explain_shards(services, &wrong, output)?;
        output.line(format_args!("{}.", announced(&wrong)))?;
    }
    if !output.json {
        explain_withheld(services, output).await?;
    }
    Ok(Exit::Done)
}

/// Connecting creates what is missing, and refuses what differs.
async fn apply(services: &Services, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let before = inspect(services).await?;
    globals::remember_queues(services).await.map_err(Failure::Store)?;
    let is_new = |row: &&Row| row.state == MISSING;
    let missing: Vec<_> = before.iter().filter(is_new).map(|row| row.name.as_str()).collect();
    let created = create(services, &missing).await?;
    if output.json {
        output.document(&serde_json::json!({ "created": created }))?;
    } else if created.is_empty() {
        output.line("Everything already exists.")?;
    } else {
        for name in &created {
            output.line(format_args!("created {name}"))?;
        }
    }
    for row in before.iter().filter(|row| [LEFT_OVER, SUPERSEDED].contains(&row.state)) {
        output.notice(format_args!("{} was left alone: {}", row.name, row.detail));
    }
    if !output.json {
        explain_withheld(services, output).await?;
    }
    let Some(problem) = services.broker.topology().archive_problem() else { return Ok(Exit::Done) };
    output.notice(format_args!("Nothing is archived, deliveries go on: {problem}"));
    Ok(Exit::Unsound)
}

/// Creates the objects called `missing`; returns those that are there then. Who does is on record
/// before the first one is there.
async fn create<'a>(services: &Services, missing: &[&'a str]) -> Result<Vec<&'a str>, Failure> {
    let Services { store, broker, settings, .. } = services;
    if missing.is_empty() {
        return broker.connect().await.map_err(Failure::Broker).map(|()| Vec::new());
    }
    let mut applied =
        Change::new(ObjectKind::Topology, settings.broker.prefix.as_str(), Action::Applied);
    applied.difference.insert("missing".to_owned(), missing.len().into());
    let begun = applied.clone().resulting(ChangeResult::Begun);
    let id = store.record_change(&begun).await.map_err(Failure::Store)?;
    let connected = broker.connect().await;
    let created = if connected.is_ok() && broker.topology().archive_problem().is_none() {
        Some(missing.to_vec())
    } else {
        applied = applied.resulting(ChangeResult::Failed);
        created(services, missing).await
    };
    if let Some(created) = &created {
        applied.difference.insert("created".to_owned(), from_to(Value::Null, created.clone()));
    }
    let ended = store.change_ended(id, &applied).await;
    connected.map_err(Failure::Broker)?;
    ended.map_err(Failure::Store)?;
    Ok(created.unwrap_or_default())
}

/// Those of `missing` that are there now; `None`: the broker does not say.
async fn created<'a>(services: &Services, missing: &[&'a str]) -> Option<Vec<&'a str>> {
    let rows = inspect(services).await.ok()?;
    let is_there = |name: &&str| rows.iter().any(|row| row.name == *name && row.state != MISSING);
    Some(missing.iter().copied().filter(is_there).collect())
}

async fn check(services: &Services, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut rows = inspect(services).await?;
    let policies = inspect_policies(services, &mut rows).await;
    let wrong = rows.iter().filter(|row| row.tone == Tone::Bad).count();
    if output.json {
        let policies = policies.as_ref().err().map(String::as_str);
        output.document(&Report { sound: wrong == 0, policies, objects: &rows })?;
    } else {
        write(&rows, output)?;
        output.line("")?;
        explain_shards(services, &rows, output)?;
        explain_withheld(services, output).await?;
        if let Err(why) = &policies {
            output.notice(format_args!("Policies were not checked: {why}"));
        }
        let wrong = u64::try_from(wrong).unwrap_or(u64::MAX);
        match wrong {
            0 => output.line("Everything is as it should be.")?,
            _ => output
                .line(format_args!("Not as it should be: {}.", words::count(wrong, "object")))?,
        }
    }
    Ok(if wrong == 0 { Exit::Done } else { Exit::Unsound })
}

#[derive(Serialize)]
struct Report<'a> {
    sound: bool,
    /// The reason why policies were not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<&'a str>,
    objects: &'a [Row],
}

/// Compares the broker with the topology, left-overs of earlier schedules included.
async fn inspect(services: &Services) -> Result<Vec<Row>, Failure> {
    let known = services.store.known_queues().await.map_err(Failure::Store)?;
    let mut findings = services.broker.inspect(&known).await.map_err(Failure::Broker)?;
    findings.extend(services.broker.inspect_superseded().await.map_err(Failure::Broker)?);
    let topology = services.broker.topology();
    let mut rows: Vec<_> =
        findings.into_iter().map(|finding| Row::of(finding, topology.names())).collect();
    for lane in [Lane::Primary, Lane::Retry] {
        blame_unconsumed(&topology.lane_queues(lane, ShardPart::ALL), &mut rows);
    }
    Ok(rows)
}

/// Marks those of `shards` that no worker consumes while another shard has a consumer.
fn blame_unconsumed(shards: &[String], rows: &mut [Row]) {
    let mut shards: Vec<_> = rows.iter_mut().filter(|row| shards.contains(&row.name)).collect();
    if shards.iter().all(|row| row.consumers.is_none_or(|consumers| consumers == 0)) {
        return;
    }
    for row in shards.iter_mut().filter(|row| row.consumers == Some(0)) {
        row.detail = String::from("no worker consumes it; start one whose `worker.shards` has it");
        row.tone = Tone::Bad;
    }
}

/// Explains a changed number of shards.
fn explain_shards(
    services: &Services,
    rows: &[Row],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let names = services.broker.topology().names();
    let has = |state| rows.iter().any(|row| row.state == state && names.is_shard(&row.name));
    if names.shards() > 1 && has(MISSING) {
        output.line(format_args!(
            "New events are to be spread over {0} queues, and due deliveries over {0} others. \
             Workers go on meanwhile.",
            names.shards()
        ))?;
    }
    if has(LEFT_OVER) {
        output.line(
            "There were more shards before. No new message goes to those that are left over, and \
             every worker consumes them.",
        )?;
    }
    Ok(())
}

/// Explains why nothing is spread over the shards, if that is so.
async fn explain_withheld(services: &Services, output: &mut Output<'_>) -> Result<(), Failure> {
    let is_of_this_version = layout::is_of_this_version(services.store.as_ref());
    if services.broker.topology().names().shards() > 1
        && !is_of_this_version.await.map_err(Failure::Store)?
    {
        output.line(
            "Not spread: a worker of an earlier version reported in the last 15 minutes, so \
             everything goes to the first shard.",
        )?;
    }
    Ok(())
}

/// Adds to `rows` what policies do to the queues.
///
/// # Errors
///
/// The reason why that is not known.
async fn inspect_policies(services: &Services, rows: &mut [Row]) -> Result<(), String> {
    let settings = &services.settings;
    let url = settings.broker.management().map_err(|error| error.to_string())?;
    let url = url.ok_or("AMQP does not show them; set `broker.management_url`")?;
    let management = Management::new(url, &settings.endpoint).map_err(report)?;
    let policies = management.policies(&settings.broker.prefix).await.map_err(report)?;
    if policies.is_empty() && rows.iter().any(|row| row.messages.is_some()) {
        return Err("the management API knows none of these queues; the path of \
                    `broker.management_url` must name their virtual host"
            .to_owned());
    }
    for policed in policies {
        let dangers = services.broker.topology().dangers(&policed.name, &policed.definition());
        let row = rows.iter_mut().find(|row| row.name == policed.name);
        if let Some(row) = row.filter(|_| !dangers.is_empty()) {
            row.endanger(&policed, &dangers);
        }
    }
    Ok(())
}

fn report(error: impl std::error::Error + 'static) -> String {
    Chain(&error).to_string()
}

const MISSING: &str = "missing";
const LEFT_OVER: &str = "left over";
const SUPERSEDED: &str = "of an earlier version";

impl Row {
    fn of(finding: Finding, names: &Names) -> Self {
        let is_unrouted = finding.name == names.unrouted();
        let tone = if finding.state.is_sound() { Tone::Good } else { Tone::Bad };
        let (state, depth, detail) = match finding.state {
            State::Present(depth) => ("present", depth, String::new()),
            State::Unchecked(depth) => {
                ("present", depth, "the account may not compare its arguments".to_owned())
            }
            State::Missing => (MISSING, None, "`homing topology apply` creates it".to_owned()),
            State::Refused(advice) => (MISSING, None, advice),
            State::Different(difference) => {
                let advice = if finding.name == names.archive() {
                    "its former bounds stay in force; delete it, with what it holds, and a worker \
                     declares it anew"
                } else {
                    "drain and delete it, or use another `broker.prefix`"
                };
                ("different", None, format!("{difference}; {advice}"))
            }
            State::Former(depth) => {
                let detail = "as the first version declared it, which is good enough".to_owned();
                ("present", Some(depth), detail)
            }
            State::Superseded { depth, by, needed } => {
                (SUPERSEDED, Some(depth), superseded(&finding.name, depth, &by, needed))
            }
            State::LeftOver(depth) => {
                (LEFT_OVER, Some(depth), left_over_advice(names, &finding.name, depth))
            }
        };
        let messages = depth.map(|depth| depth.messages);
        let consumers = depth.map(|depth| depth.consumers);
        let row = Self { name: finding.name, state, messages, consumers, detail, tone };
        if is_unrouted && messages.is_some_and(|messages| messages > 0) {
            row.caught()
        } else {
            row
        }
    }

    /// Records that a policy breaks a promise of the queue.
    fn endanger(&mut self, policed: &Policed, dangers: &[Danger]) {
        let names = [&policed.policy, &policed.operator_policy];
        let names: Vec<_> = names.into_iter().flatten().map(|name| format!("`{name}`")).collect();
        let dangers = dangers.iter().map(|Danger { key, what }| format!("`{key}` {what}"));
        let dangers: Vec<_> = dangers.collect();
        let policy = format!("policy {}: {}", names.join(" and "), dangers.join("; "));
        let separator = if self.detail.is_empty() { "" } else { "; " };
        self.detail = format!("{}{separator}{policy}", self.detail);
        self.tone = Tone::Bad;
    }

    /// Records that the queue of unrouted messages is not empty.
    fn caught(self) -> Self {
        let detail = "these had no route when they were published".to_owned();
        Self { state: "unrouted", detail, tone: Tone::Bad, ..self }
    }
}

/// Advice for a queue that another one has replaced.
fn superseded(name: &str, depth: Depth, by: &str, needed: bool) -> String {
    let returns = if needed {
        "; it comes back at once with today's arguments, because primary and retry queue dead-letter \
         to it"
    } else {
        ""
    };
    let advice = match depth {
        Depth { messages: 0, consumers: 1.. } => {
            "workers consume it; they hold and log (`topology.not_moved`) messages that \
             they cannot move because they are larger than the broker's `max_message_size`; \
             these are counted here again once the workers are stopped"
                .to_owned()
        }
        Depth { messages: 0, .. } => {
            format!("once no process of the earlier version runs, and {}{returns}", deletable(name))
        }
        Depth { .. } => "a running worker empties it".to_owned(),
    };
    format!("`{by}` has replaced it; {advice}")
}

/// The number of `rows` that apply would create.
fn announced(rows: &[Row]) -> String {
    let missing = rows.iter().filter(|row| row.state == MISSING).count();
    match u64::try_from(missing).unwrap_or(u64::MAX) {
        0 => "apply would create nothing".to_owned(),
        missing => format!("apply would create {}", words::count(missing, "object")),
    }
}

fn write(rows: &[Row], output: &mut Output<'_>) -> Result<(), Failure> {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut table = Rows::new(output, &["NAME", "MESSAGES", "CONSUMERS", "STATE"]);
    for row in rows {
        let colon = if row.detail.is_empty() { "" } else { ": " };
        let state = format!("{}{colon}{}", row.state, row.detail);
        let cells = [row.name.clone(), number(row.messages), number(row.consumers), state];
        table.add_toned(&cells, row.tone);
    }
    table.write(output, &[1, 2])
}
