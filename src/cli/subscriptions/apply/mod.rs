//! `homing subscriptions apply`

mod plan;

use serde_json::{Value, json};

use self::plan::{Change, Plan};
use super::fields;
use crate::{
    api::forms::CreatedSubscription,
    cli::{
        failure::{Exit, Failure},
        output::Output,
        target::Target,
    },
};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions apply subscriptions.yaml --dry-run
  homing subscriptions apply subscriptions.yaml
  homing subscriptions apply subscriptions.yaml --prune --yes
  homing subscriptions export | sed s/staging/production/ | homing subscriptions apply - --yes

The file:
  subscriptions:
    - description: billing
      url: https://example.com/hook
      topics: [order.paid, 'refund.#']
      rate_limit: 10

Shows the plan and asks, then creates, updates and, with --prune, deletes. A subscription is found by
its id, or by url and description. The file states description, owner, labels, url, topics, filters,
filter_connector, schedule, rate_limit, deadline, max_concurrency, format, verification, template and
workfront in whole: what it leaves out gets its default. Secrets (auth_token, authentication,
client_certificate, headers, secrets) and signature_scheme are taken where one is created;
`homing subscriptions update` and `rotate-secret` change them. Exit code 1: not all was done.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// A file in YAML or JSON; `-`: standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// Delete subscriptions that the file does not have
    #[arg(long)]
    prune: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// The changes that were made, and the new secrets.
#[derive(Default)]
struct Done {
    created: Vec<CreatedSubscription>,
    updated: usize,
    deleted: usize,
    failed: usize,
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let entries = plan::read(&fields::read(&arguments.file).await?)?;
    let present = target.all_subscriptions().await?;
    let plan = Plan::new(&entries, &present, arguments.prune)?;
    let asks = !arguments.yes && !arguments.dry_run && !plan.is_nothing();
    if asks && (!output.can_ask() || arguments.file == "-") {
        let text =
            "there is no terminal to confirm the changes; say --yes, or --dry-run to see them";
        return Err(Failure::Usage(text.to_owned()));
    }
    if !output.json {
        write(&plan, output)?;
    }
    if arguments.dry_run || plan.is_nothing() {
        return report(&plan, &Done::default(), arguments.dry_run, output).map(|()| Exit::Done);
    }
    if asks && !output.ask("Apply?")? {
        output.line("Nothing was changed.")?;
        return Ok(Exit::Failed);
    }
    let done = act(target, &plan, output).await?;
    report(&plan, &done, false, output)?;
    Ok(if done.failed == 0 { Exit::Done } else { Exit::Failed })
}

/// Makes the changes; one that fails keeps none of the others from being made.
async fn act(target: Target<'_>, plan: &Plan, output: &mut Output<'_>) -> Result<Done, Failure> {
    let mut done = Done::default();
    for fields in &plan.create {
        match target.create_subscription(fields.clone()).await {
            Ok(created) => {
                if !output.json {
                    super::create::write("created", &created, output)?;
                }
                super::verify::advise(&created.view, output);
                done.created.push(created);
            }
            Err(failure) => done.fails(&format!("creating {}", url_of(fields)), &failure, output),
        }
    }
    for Change { id, fields, .. } in &plan.update {
        match target.update_subscription(*id, fields.clone()).await {
            Ok(updated) => {
                super::verify::advise(&updated.view, output);
                done.updated = done.updated.saturating_add(1);
            }
            Err(failure) => done.fails(&format!("updating {id}"), &failure, output),
        }
    }
    for (id, _) in &plan.delete {
        match target.delete_subscription(*id).await {
            Ok(()) => done.deleted = done.deleted.saturating_add(1),
            Err(failure) => done.fails(&format!("deleting {id}"), &failure, output),
        }
    }
    Ok(done)
}

impl Done {
    fn fails(&mut self, step: &str, failure: &Failure, output: &mut Output<'_>) {
        output.notice(format_args!("{step}: {}", failure.report()));
        self.failed = self.failed.saturating_add(1);
    }
}

fn url_of(fields: &serde_json::Map<String, Value>) -> &str {
    fields.get("url").and_then(Value::as_str).unwrap_or_default()
}

fn write(plan: &Plan, output: &mut Output<'_>) -> Result<(), Failure> {
    for fields in &plan.create {
        let topics = fields.get("topics").map(Value::to_string).unwrap_or_default();
        output.line(format_args!("create  {}  topics {topics}", url_of(fields)))?;
    }
    for Change { id, url, difference, .. } in &plan.update {
        output.line(format_args!("update  {id}  {url}"))?;
        for (name, before, after) in difference {
            output.line(format_args!("        {name}: {before} → {after}"))?;
        }
    }
    for (id, url) in &plan.delete {
        output.line(format_args!("delete  {id}  {url}"))?;
    }
    if plan.same > 0 {
        output.line(format_args!("same    {}", plan.same))?;
    }
    if plan.others > 0 {
        output.aside(format_args!(
            "{} others are not in the file and stay; --prune deletes them.",
            plan.others
        ));
    }
    Ok(())
}

fn report(plan: &Plan, done: &Done, is_dry: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.json {
        let update = plan.update.iter().map(|change| {
            let difference = change.difference.iter().map(|(name, before, after)| {
                ((*name).to_owned(), json!({ "before": before, "after": after }))
            });
            json!({ "id": change.id, "difference": difference.collect::<serde_json::Map<_, _>>() })
        });
        let delete = plan.delete.iter().map(|(id, _)| id);
        return output.document(&json!({
            "dry_run": is_dry,
            "create": plan.create.iter().map(url_of).collect::<Vec<_>>(),
            "update": update.collect::<Vec<_>>(),
            "delete": delete.collect::<Vec<_>>(),
            "same": plan.same,
            "others": plan.others,
            "created": done.created,
            "updated": done.updated,
            "deleted": done.deleted,
            "failed": done.failed,
        }));
    }
    if is_dry || plan.is_nothing() {
        return output.line(if plan.is_nothing() {
            "Nothing to change."
        } else {
            "Nothing was changed."
        });
    }
    let Done { created, updated, deleted, failed } = done;
    let created = created.len();
    output.line(format_args!(
        "{created} created, {updated} updated, {deleted} deleted, {failed} failed"
    ))
}

#[cfg(test)]
mod tests {
    use super::{super::stated::STATED, EXAMPLES};

    #[test]
    fn the_help_names_every_field_that_a_file_states() {
        for name in STATED {
            assert!(EXAMPLES.contains(name), "{name}");
        }
    }
}
