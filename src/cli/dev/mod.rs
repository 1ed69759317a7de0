//! `homing dev`
//!
//! Everything in one terminal: a broker, homing with its dashboard, and a listener with a
//! subscription, to which a demo event is sent at once. Only here may homing call this machine.

mod broker;
mod place;

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, pin::pin, time::Duration};

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::place::{Place, free_address};
use super::{
    failure::{Exit, Failure},
    globals::Globals,
    listen::{Answering, Endpoint, Session},
    output::Output,
    remote::{Parameters, Publication, Remote},
    run::Signals,
    target::{NewSubscription, Target},
};
use crate::{
    config::Profile,
    process::{self, Role},
};

/// A first start creates all queues.
const READY_DEADLINE: Duration = Duration::from_mins(2);
const READY_INTERVAL: Duration = Duration::from_millis(100);
/// The description by which a subscription of a killed run is found.
const DESCRIPTION: &str = "homing dev";
const DEMO_TOPIC: &str = "demo.hello";

const EXAMPLES: &str = "\
Examples:
  homing dev
  homing dev --topic 'order.*' --status 500     see retries, and a circuit that opens
  homing dev --folder ~/homing-dev              keep everything for the next time
  homing dev --broker amqp://guest:guest@127.0.0.1:5672

Starts a broker (rabbitmq/up, where this is run in the repository and no broker is configured), homing
with its dashboard, and a listener; sends a demo event, and shows each request as it is delivered.
Store and queues have names of their own and are deleted at the end, unless --folder keeps them.
Only here, homing may call this machine without a setting. Ctrl-C ends all of it.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Keep store and queues for the next time in this folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Events with a topic like this are shown; may be repeated [default: all]
    #[arg(long, value_name = "PATTERN")]
    topic: Vec<String>,
    #[command(flatten)]
    answering: Answering,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut settings = globals.settings_of_command()?;
    let mut signals = Signals::listen()?;
    let broker = tokio::select! {
        found = broker::find((&settings, globals.names_broker()), output) => found?,
        () = signals.next() => return Ok(Exit::Failed),
    };
    if let Some(url) = &broker.url {
        settings.broker.url.clone_from(url);
    }
    let ended = Box::pin(with_broker(settings, arguments, &mut signals, output)).await;
    broker.end(output).await;
    ended
}

async fn with_broker(
    settings: crate::config::Settings,
    arguments: &Arguments,
    signals: &mut Signals,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut place = Place::claim(settings, arguments.folder.as_deref()).await?;
    let address = free_address(place.settings.api.listen).await?;
    place.settings.api.listen = address;
    let ended = Box::pin(with_place(&place, arguments, signals, output)).await;
    let left = place.end().await;
    let exit = ended?;
    left.map(|()| exit)
}

/// Runs homing beside its visitor, until a signal comes or one of both fails.
async fn with_place(
    place: &Place,
    arguments: &Arguments,
    signals: &mut Signals,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let address = place.settings.api.listen;
    let api = Remote::new(&Profile { api: format!("http://{address}"), ..Profile::default() })?;
    let (stop, roles) = (CancellationToken::new(), BTreeSet::from([Role::Api, Role::Worker]));
    let mut running = pin!(process::run(place.settings.clone(), &roles, None, stop.clone()));
    let visited = tokio::select! {
        ended = &mut running => {
            ended.map_err(Failure::Start)?;
            return Ok(Exit::Failed);
        }
        visited = Box::pin(visit(&api, address, (arguments, &mut *signals), output)) => visited,
    };
    stop.cancel();
    output.aside("Stopping; Ctrl-C again stops at once.");
    tokio::select! {
        ended = running => ended.map_err(Failure::Start)?,
        () = signals.next() => return Ok(Exit::Failed),
    }
    visited.map(|()| Exit::Done)
}

/// Subscribes, sends the demo event, and shows what comes until a signal; then unsubscribes.
async fn visit(
    api: &Remote,
    address: SocketAddr,
    (arguments, signals): (&Arguments, &mut Signals),
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    tokio::select! {
        ready = ready(api) => ready?,
        () = signals.next() => return Ok(()),
    }
    let target = Target::There(api);
    forget_killed(target).await?;
    let endpoint = Endpoint::bind(SocketAddr::new(address.ip(), 0)).await?;
    let url = format!("http://{}/", endpoint.address());
    let requests = endpoint.open(arguments.answering);
    let mut session = Session::begin(target, arguments.fields(), (url.as_str(), requests)).await?;
    greet(api, &session, output);
    let shown = tokio::select! {
        shown = async {
            publish_demo(api, arguments).await?;
            session.show(None, output).await
        } => shown,
        () = signals.next() => Ok(()),
    };
    let ended = session.end(target).await;
    shown.and(ended)
}

async fn ready(api: &Remote) -> Result<(), Failure> {
    let until = Instant::now() + READY_DEADLINE;
    while !api.is_ready().await {
        if Instant::now() >= until {
            let seconds = READY_DEADLINE.as_secs();
            let text = format!("homing is not ready after {seconds} s; -v shows what it does");
            return Err(Failure::NotFound(text));
        }
        sleep(READY_INTERVAL).await;
    }
    Ok(())
}

/// Deletes the subscriptions that a killed run left in the folder.
async fn forget_killed(target: Target<'_>) -> Result<(), Failure> {
    for left in target.all_subscriptions().await? {
        if left.description.as_deref() == Some(DESCRIPTION) {
            target.delete_subscription(left.id).await?;
        }
    }
    Ok(())
}

impl Arguments {
    fn fields(&self) -> NewSubscription {
        let all = || vec!["#".to_owned()];
        let topics = if self.topic.is_empty() { all() } else { self.topic.clone() };
        let mut fields = NewSubscription::new();
        fields.insert("topics".to_owned(), json!(topics));
        fields.insert("description".to_owned(), DESCRIPTION.into());
        fields
    }
}

fn greet(api: &Remote, session: &Session, output: &mut Output<'_>) {
    let api = api.url().as_str().trim_end_matches('/');
    let what = if cfg!(feature = "dashboard") { "Dashboard" } else { "API" };
    let topics = session.subscription.view.topics.join(" ");
    output.aside(format_args!("{what}: {api}/"));
    output.aside("Publish an event:");
    output.aside(format_args!(
        "  curl --json '{{\"total\": 12.5}}' '{api}/v1/events?topic=order.paid'"
    ));
    output.aside(format_args!(
        "  echo '{{\"topic\":\"order.paid\",\"data\":{{\"total\":12.5}}}}' | homing publish --api {api}"
    ));
    output.aside(format_args!(
        "What is delivered for {topics} is shown here. Ctrl-C ends all of it."
    ));
}

/// Publishes the demo event, unless the topics are others.
async fn publish_demo(api: &Remote, arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.topic.is_empty() {
        return Ok(());
    }
    let body = json!({ "hello": "homing" }).to_string();
    let event = Publication {
        parameters: Parameters::default().with("topic", Some(DEMO_TOPIC)),
        content_type: "application/json",
        content_encoding: None,
        body: Bytes::from(body),
    };
    let _published: IgnoredAny = api.publish(event).await?;
    Ok(())
}
