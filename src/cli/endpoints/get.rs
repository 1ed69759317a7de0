//! `homing endpoints list` and `get`

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::ArgValueCandidates;

use crate::{
    api::forms::EndpointShown,
    cli::{
        complete,
        failure::{Exit, Failure},
        output::Output,
        parked::write_arriving,
        table::{Rows, Tone},
        target::Target,
        words,
    },
};
use homing_delivery::circuits::View;
use homing_domain::{circuit::StateName, clock, url::EndpointUrl};
use homing_store::CircuitPage;

const LIST_EXAMPLES: &str = "\
Examples:
  homing endpoints list
  homing endpoints list --state frozen --json";

const EXAMPLES: &str = "\
Examples:
  homing endpoints get https://example.com/hook
  homing endpoints get https://example.com/hook --parked";

#[derive(clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(in crate::cli) struct ListArguments {
    /// Only those in this state
    #[arg(long, value_parser = PossibleValuesParser::new(StateName::ALL.map(StateName::as_str))
        .try_map(|word| word.parse::<StateName>()))]
    state: Option<StateName>,
    /// Show this many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Begin after this URL
    #[arg(long, value_name = "URL")]
    after: Option<String>,
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// URL of the endpoint
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: EndpointUrl,
    /// Also count the deliveries that the circuit had parked
    #[arg(long)]
    parked: bool,
}

pub(super) async fn list(
    target: Target<'_>,
    arguments: ListArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let ListArguments { state, limit, after } = arguments;
    let page = CircuitPage { state, after, limit, ..CircuitPage::default() };
    let listing = target.endpoints(&page).await?;
    if output.json {
        output.document(&listing)?;
    } else {
        write(&listing.endpoints, state, output)?;
        if let Some(next) = &listing.next {
            output.aside(format_args!("There are more: --after {}", words::quoted(next)));
        }
    }
    for one in &listing.corrupt {
        let (url, field, message) = (&one.url, &one.field, &one.message);
        // Its query may hold secrets.
        let url = url.split('?').next().unwrap_or_default();
        output.notice(format_args!(
            "the circuit of {url} cannot be read, enable or disable this URL to replace it: \
             `{field}`: {message}"
        ));
    }
    Ok(if listing.corrupt.is_empty() { Exit::Done } else { Exit::Failed })
}

const HEADER: [&str; 11] = [
    "URL",
    "STATE",
    "SINCE",
    "HELD",
    "SUCCESSES",
    "FAILURES",
    "CONSECUTIVE",
    "LAST SUCCESS",
    "LAST OUTCOME",
    "NEXT PROBE",
    "REASON",
];
const NUMBERS: [usize; 4] = [3, 4, 5, 6];

fn write(views: &[View], state: Option<StateName>, output: &mut Output<'_>) -> Result<(), Failure> {
    if views.is_empty() {
        match state {
            Some(state) => output.aside(format_args!("No endpoint is {state}.")),
            None => output.aside("Nothing was attempted yet; an endpoint is listed from then on."),
        }
        return Ok(());
    }
    let mut rows = Rows::new(output, &HEADER);
    for view in views {
        let tone = if view.state == StateName::Closed.as_str() { Tone::Good } else { Tone::Bad };
        rows.add_toned(&row(view), tone);
    }
    rows.write(output, &NUMBERS)
}

fn row(view: &View) -> [String; 11] {
    let instant = |text: &Option<String>| text.as_deref().map(words::to_seconds);
    [
        view.url.clone(),
        view.state.to_owned(),
        words::to_seconds(&view.since),
        view.held.map(|held| held.to_string()).unwrap_or_default(),
        view.successes.to_string(),
        view.failures.to_string(),
        view.consecutive_failures.to_string(),
        instant(&view.last_success).unwrap_or_default(),
        view.last_outcome.clone().unwrap_or_default(),
        next_probe(view).map(|at| words::to_seconds(&at)).unwrap_or_default(),
        view.reason.clone().unwrap_or_default(),
    ]
}

fn next_probe(view: &View) -> Option<String> {
    view.next_probe.as_deref().map(|at| words::due(at, clock::now()))
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let shown = target.endpoint(&arguments.url, arguments.parked).await?;
    if let Some(arriving) = shown.arriving {
        write_arriving(arriving, output);
    }
    if output.json {
        output.document(&shown)?;
        return Ok(Exit::Done);
    }
    let EndpointShown { view, parked, .. } = shown;
    let next_probe = next_probe(&view);
    let fields = [
        ("url", Some(view.url)),
        ("state", Some(view.state.to_owned())),
        ("since", Some(view.since)),
        ("reason", view.reason),
        ("successes", Some(view.successes.to_string())),
        ("failures", Some(view.failures.to_string())),
        ("consecutive", Some(view.consecutive_failures.to_string())),
        ("last success", view.last_success),
        ("last outcome", view.last_outcome),
        ("next probe", next_probe),
        ("held", view.held.map(|held| held.to_string())),
        ("held since", view.held_since),
        ("in flight", view.in_flight.map(|requests| requests.to_string())),
        ("parked", parked.map(|parked| parked.to_string())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            output.line(format_args!("{name:<14}{value}"))?;
        }
    }
    Ok(Exit::Done)
}
