//! Help texts and usage errors.

use super::*;

fn report(arguments: &[&str]) -> (String, String, ExitCode) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = {
        let mut output = Output::new(&mut stdout, &mut stderr);
        let arguments = ["homing"].iter().chain(arguments).map(OsString::from);
        match Cli::try_parse_from(arguments) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => not_parsed(&error, &mut output)
                .unwrap_or_else(|failure| report_failure(&failure, &mut output))
                .into(),
        }
    };
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap(), code)
}

#[test]
fn the_commands_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_is_an_answer() {
    let (stdout, stderr, code) = report(&["--help"]);
    insta::assert_snapshot!(stdout, @r#"
    Durable webhook delivery on RabbitMQ

    Usage: homing [OPTIONS] <COMMAND>

    Commands:
      run            Deliver events and answer the HTTP API until SIGTERM or Ctrl-C
      dev            Start all in one terminal: broker, homing, dashboard, a listener, a demo event
      listen         Show what homing sends, at an endpoint here
      open           Open the dashboard, or print its address
      publish        Publish events, each confirmed by the broker
      subscriptions  Manage subscriptions [alias: subs]
      endpoints      Show endpoints and their circuits, disable and enable them [alias: eps]
      parked         List parked messages, replay, drop or export them
      replay         Send events of the archive again
      deliveries     List deliveries with their present states and their attempts
      attempts       List delivery attempts, newest first, or show what one sent and received
      audit          List changes and who made them, newest first
      errors         List failed attempts by what failed
      events         List events with the states of their deliveries
      explain        Show the timeline of an event: attempts, reasons, what is next
      ledger         Prove that a receiver has what was delivered
      history        Show figures by the hour: of everything, of a URL, of a topic
      topics         List the topics of which events came, and who wants them
      source         Show sources, pause, resume and reset them
      schedule       Print when a failed delivery is tried again
      topology       Check queues and exchanges at the broker, and create them
      tokens         Manage tokens for the HTTP API
      keys           Manage the keys that encrypt secrets in the store
      status         Show what the pool does now and did in the last hour
      bench          Measure what the broker and this machine can deliver
      config         Print every setting with its default and its meaning
      completions    Print a script that completes commands in a shell
      man            Write the manual pages into a folder
      help           Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Options of every command:
          --config <FILE>      Settings file; without it homing.toml, or else /etc/homing/homing.toml
          --set <KEY=VALUE>    Change one setting, e.g. worker.max_in_flight=64; may be repeated
          --broker <URL>       The broker, short for --set broker.url=URL
          --store <URL>        The store, short for --set store.url=URL
          --api <URL>          Have the work done by the running homing at this URL
          --token-file <FILE>  A file with a token for it
          --profile <NAME>     The same by its name in ~/.config/homing/profiles.toml
          --json               Answer with one JSON document
      -v, --verbose...         Log what homing does to standard error; twice: every detail
      -q, --quiet              Log nothing

    Examples:
      homing dev
      homing run
      echo '{"topic":"order.paid","data":{"id":7}}' | homing publish
      homing subscriptions create --url https://example.com/hook --topic 'order.*'
      homing explain o-7
      homing parked replay --reason exhausted --dry-run
      homing status

    Exit codes: 0 done; 1 failed; 2 wrong usage or settings; 3 a check found something wrong.
    Settings: the defaults (`homing config`) < homing.toml < HOMING__SECTION__KEY < flags.
    "#);
    assert_eq!(stderr, "");
    assert_eq!(code, ExitCode::SUCCESS);
}

#[test]
fn every_command_has_examples() {
    let command = Cli::command();
    let groups = ["subscriptions", "parked", "endpoints", "topology", "source"];
    let inner = groups.map(|group| command.find_subcommand(group).unwrap().get_subcommands());
    for command in command.get_subcommands().chain(inner.into_iter().flatten()) {
        let has_examples = command.get_after_help().is_some();
        assert!(has_examples, "{} has no examples", command.get_name());
    }
}

/// Nothing is hidden but the processes of the bench's own.
#[test]
fn every_command_is_in_the_help() {
    let command = Cli::command();
    let hidden: Vec<_> = command.get_subcommands().filter(|one| one.is_hide_set()).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[test]
fn short_help_is_a_line_per_flag() {
    let (stdout, _, _) = report(&["subscriptions", "create", "-h"]);
    let options: Vec<_> = stdout.lines().skip_while(|line| *line != "Options:").collect();
    let end = options.iter().position(|line| line.is_empty()).unwrap();
    insta::assert_snapshot!(options[..end].join("\n"), @"
    Options:
          --url <URL>                  Where to send: https://host/path
          --topic <PATTERN>            Events with a topic like this; may be repeated
          --filter <JSON>              Only events that pass this filter; may be repeated
          --filter-connector <and|or>  All filters must hold (and), or one of them
          --auth-token <TOKEN>         Sent as bearer token; others here can see it, prefer the file
          --auth-token-file <FILE>     A file with that token
          --basic <USER:PASSWORD>      Sent as Basic; others here can see it, prefer the file
          --basic-file <FILE>          A file with USER:PASSWORD
          --client-certificate <FILE>  A PEM file with the client certificate for the endpoint
          --client-key <FILE>          A PEM file with its private key
          --header <NAME: VALUE>       Sent with every request; may be repeated
          --schedule <NAME>            The schedule of its retries; see `homing schedule --all`
          --rate-limit <NUMBER>        Requests per second that the endpoint takes from all workers
          --deadline <TIME>            Deadline of one attempt, a minute at most: 30s
          --max-concurrency <NUMBER>   Requests at a time, from all workers
          --format <FORMAT>            native, cloudevents-structured or cloudevents-binary
          --verification <METHOD>      Ask the endpoint for consent first: handshake or challenge
          --description <TEXT>         A note for operators
          --owner <TEXT>               Whom to ask about it
          --label <NAME=VALUE>         A name and a value to know it by; may be repeated
          --template <RECEIVER>        Send messages for people: slack, teams, pagerduty or email
          --mail-from <ADDRESS>        The sender of mails (email)
          --mail-to <ADDRESS>          A recipient of mails (email); may be repeated
          --unsigned                   Do not sign requests
          --secret-file <FILE>         A file with signing secrets (whsec_…, whsk_…), one a line
          --signature-scheme <SCHEME>  Of the generated secret: v1 (shared) or v1a (key pair)
          --from <FILE>                All of it as JSON, as the API takes it; `-`: standard input
      -h, --help                       Print help
    ");
    let (stdout, _, _) = report(&["run", "-h"]);
    let role = "\n      --role <api|worker|source>  Run only this role; may be repeated";
    assert!(stdout.contains(role), "{stdout}");
}

#[test]
fn wrong_usage_is_one_line() {
    let error = |arguments: &[&str]| {
        let (stdout, stderr, code) = report(arguments);
        assert_eq!((stdout.as_str(), code), ("", ExitCode::from(2)));
        stderr
    };
    insta::assert_snapshot!(error(&["runn"]), @"homing: unrecognized subcommand 'runn'; tip: a similar subcommand exists: 'run'; `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["run", "--rolle", "api"]), @"homing: unexpected argument '--rolle' found; tip: a similar argument exists: '--role'; `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["run", "--role", "cook"]), @"homing: invalid value 'cook' for '--role <api|worker|source>'; [possible values: api, worker, source]; `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["--set", "prefix", "run"]), @"homing: invalid value 'prefix' for '--set <KEY=VALUE>': write it as section.key=value; `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["subscriptions", "create", "--topic", "t"]), @"homing: the following required arguments were not provided: --url <URL>; `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["subscriptions", "get", "7"]), @"homing: invalid value '7' for '<ID>': `7` is not a subscription id (a UUID such as 01931f5a-9c4e-7000-8000-0123456789ab); `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["endpoints", "list", "--state", "disabled"]), @"homing: invalid value 'disabled' for '--state <STATE>'; [possible values: closed, open, frozen]; `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["endpoints", "enable", "example.com"]), @"homing: invalid value 'example.com' for '<URL>': not a URL: it has no `https://` in front; write it as https://host/path; `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["parked", "list", "--topic", "a*"]), @"homing: invalid value 'a*' for '--topic <PATTERN>': `a*` mixes a wildcard with other characters; a wildcard is a whole word between dots: `*` is exactly one word, `#` is zero or more, as in `TASK.*` or `order.#`; `homing help` and `homing help COMMAND` say more");
    insta::assert_snapshot!(error(&["parked", "list", "--reason", "dead"]), @"homing: invalid value 'dead' for '--reason <REASON>'; [possible values: exhausted, circuit_open, frozen, endpoint_slow, gone, cancelled, too_large, unreadable, unverified, subscription_deleted, rejected_by_broker]; `homing help` and `homing help COMMAND` say more");
}
