//! The program's commands.
//!
//! A file per command; each reads its arguments, asks the layers below, and writes to the
//! [`Output`] that it is given: the answer to standard output, as text or (`--json`) as one JSON
//! document; errors, each on one line that begins with `homing: `, and progress to standard error.
//! `homing help` lists the exit codes.
//!
//! No command waits for ever, except `run`, which keeps trying a broker that cannot be reached.

use std::{ffi::OsString, io, process::ExitCode};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

mod actor;
mod attempts;
mod audit;
mod bench;
mod complete;
mod completions;
mod config;
mod deliveries;
mod dev;
mod endpoints;
mod errors;
mod events;
mod explain;
mod failure;
mod globals;
mod history;
mod keys;
mod ledger;
mod listen;
mod man;
mod open;
mod output;
mod parked;
mod payload;
mod progress;
mod publish;
mod range;
mod remote;
mod replay;
mod run;
mod schedule;
mod source;
mod status;
mod subscriptions;
mod table;
mod target;
mod tokens;
mod topics;
mod topology;
mod words;

use self::{
    failure::{Exit, Failure},
    globals::Globals,
};

pub use self::{complete::complete, output::Output};

const EXAMPLES: &str = "\
Examples:
  homing dev
  homing run
  echo '{\"topic\":\"order.paid\",\"data\":{\"id\":7}}' | homing publish
  homing subscriptions create --url https://example.com/hook --topic 'order.*'
  homing explain o-7
  homing parked replay --reason exhausted --dry-run
  homing status

Exit codes: 0 done; 1 failed; 2 wrong usage or settings; 3 a check found something wrong.
Settings: the defaults (`homing config`) < homing.toml < HOMING__SECTION__KEY < flags.";

/// Durable webhook delivery on `RabbitMQ`.
#[derive(Parser)]
#[command(name = "homing", version, about = "Durable webhook delivery on RabbitMQ")]
#[command(after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, on the stack of the start")]
enum Command {
    /// Deliver events and answer the HTTP API until SIGTERM or Ctrl-C
    Run(run::Arguments),
    /// Start all in one terminal: broker, homing, dashboard, a listener, a demo event
    Dev(dev::Arguments),
    /// Show what homing sends, at an endpoint here
    Listen(listen::Arguments),
    /// Open the dashboard, or print its address
    Open(open::Arguments),
    /// Publish events, each confirmed by the broker
    Publish(publish::Arguments),
    /// Manage subscriptions
    #[command(subcommand, visible_alias = "subs")]
    Subscriptions(subscriptions::Command),
    /// Show endpoints and their circuits, disable and enable them
    #[command(subcommand, visible_alias = "eps")]
    Endpoints(endpoints::Command),
    /// List parked messages, replay, drop or export them
    #[command(subcommand)]
    Parked(parked::Command),
    /// Send events of the archive again
    Replay(replay::Arguments),
    /// List deliveries with their present states and their attempts
    Deliveries(deliveries::Arguments),
    /// List delivery attempts, newest first, or show what one sent and received
    Attempts(attempts::Arguments),
    /// List changes and who made them, newest first
    Audit(audit::Arguments),
    /// List failed attempts by what failed
    Errors(errors::Arguments),
    /// List events with the states of their deliveries
    Events(events::Arguments),
    /// Show the timeline of an event: attempts, reasons, what is next
    Explain(explain::Arguments),
    /// Prove that a receiver has what was delivered
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Show figures by the hour: of everything, of a URL, of a topic
    History(history::Arguments),
    /// List the topics of which events came, and who wants them
    Topics(topics::Arguments),
    /// Show sources, pause, resume and reset them
    #[command(subcommand)]
    Source(source::Command),
    /// Print when a failed delivery is tried again
    Schedule(schedule::Arguments),
    /// Check queues and exchanges at the broker, and create them
    #[command(subcommand)]
    Topology(topology::Command),
    /// Manage tokens for the HTTP API
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Manage the keys that encrypt secrets in the store
    #[command(subcommand)]
    Keys(keys::Command),
    /// Show what the pool does now and did in the last hour
    Status(status::Arguments),
    /// Measure what the broker and this machine can deliver
    Bench(bench::Arguments),
    /// Print every setting with its default and its meaning
    Config(config::Arguments),
    /// Print a script that completes commands in a shell
    Completions(completions::Arguments),
    /// Write the manual pages into a folder
    Man(man::Arguments),
}

/// Runs the program with these arguments, the first of which is its name.
///
/// # Cancel safety
///
/// As the command: `publish` and `parked replay` may leave a message both sent and kept.
pub async fn main(
    arguments: impl IntoIterator<Item = OsString>,
    output: &mut Output<'_>,
) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    // Also where they cannot be read.
    output.json = arguments.iter().any(|argument| argument == "--json");
    let ended = match parse(&arguments) {
        Ok(cli) if cli.globals.has_lost_some(&arguments) => {
            let text = "give every --set in one place, before the command or after it";
            Err(Failure::Usage(text.to_owned()))
        }
        Ok(cli) => {
            output.json = cli.globals.json;
            Box::pin(dispatch(cli, output)).await
        }
        Err(error) => not_parsed(&error, output),
    };
    ended.unwrap_or_else(|failure| report_failure(&failure, output)).into()
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.globals.command = words_of(&matches).join(" ");
    Ok(cli)
}

/// The words of the command: `parked`, `list`.
fn words_of(matches: &ArgMatches) -> Vec<&str> {
    let mut words = Vec::new();
    let mut level = matches.subcommand();
    while let Some((word, below)) = level {
        words.push(word);
        level = below.subcommand();
    }
    words
}

/// Reports that the program could not start.
pub fn not_started(error: &io::Error, output: &mut Output<'_>) -> ExitCode {
    output.notice(format_args!("cannot start: {error}"));
    Exit::Failed.into()
}

/// Log lines are written when this returns, before the failure is reported.
async fn dispatch(cli: Cli, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let globals = cli.globals;
    match cli.command {
        Command::Run(arguments) => run::run(&globals, &arguments, output).await,
        Command::Dev(arguments) => Box::pin(dev::run(&globals, &arguments, output)).await,
        Command::Listen(arguments) => Box::pin(listen::run(&globals, &arguments, output)).await,
        Command::Open(arguments) => open::run(&globals, &arguments, output),
        Command::Publish(arguments) => publish::run(&globals, arguments, output).await,
        Command::Subscriptions(command) => subscriptions::run(&globals, command, output).await,
        Command::Endpoints(command) => Box::pin(endpoints::run(&globals, command, output)).await,
        Command::Parked(command) => parked::run(&globals, command, output).await,
        Command::Replay(arguments) => Box::pin(replay::run(&globals, &arguments, output)).await,
        Command::Deliveries(arguments) => deliveries::run(&globals, &arguments, output).await,
        Command::Attempts(arguments) => attempts::run(&globals, &arguments, output).await,
        Command::Audit(arguments) => audit::run(&globals, &arguments, output).await,
        Command::Errors(arguments) => errors::run(&globals, &arguments, output).await,
        Command::Events(arguments) => events::run(&globals, &arguments, output).await,
        Command::Explain(arguments) => explain::run(&globals, &arguments, output).await,
        Command::Ledger(command) => ledger::run(&globals, command, output).await,
        Command::History(arguments) => history::run(&globals, &arguments, output).await,
        Command::Topics(arguments) => topics::run(&globals, &arguments, output).await,
        Command::Source(command) => source::run(&globals, command, output).await,
        Command::Schedule(arguments) => schedule::run(&globals, &arguments, output),
        Command::Topology(command) => topology::run(&globals, &command, output).await,
        Command::Tokens(command) => tokens::run(&globals, command, output).await,
        Command::Keys(command) => keys::run(&globals, &command, output).await,
        Command::Status(arguments) => status::run(&globals, &arguments, output).await,
        Command::Bench(arguments) => bench::run(&globals, &arguments, output).await,
        Command::Config(_) => config::run(output),
        Command::Completions(arguments) => completions::run(&arguments, output),
        Command::Man(arguments) => man::run(&arguments, Cli::command(), output),
    }
}

fn report_failure(failure: &Failure, output: &mut Output<'_>) -> Exit {
    let exit = failure.exit();
    if exit != Exit::Done {
        output.failed(&failure.report(), exit.code());
    }
    exit
}

/// Help that was asked for is an answer; everything else is wrong usage.
fn not_parsed(error: &clap::Error, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let text = error.render();
    let kind = error.kind();
    if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let shown = if output.colours() { text.ansi().to_string() } else { text.to_string() };
        // Our own text, colours included.
        output.bytes(shown.as_bytes())?;
        Ok(Exit::Done)
    } else if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        text.to_string().trim_end().lines().for_each(|line| output.aside(line));
        Ok(Exit::Misused)
    } else {
        Err(Failure::Usage(failure::usage_text(error)))
    }
}

#[cfg(test)]
mod tests;
