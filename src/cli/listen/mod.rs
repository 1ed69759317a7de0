//! `homing listen`
//!
//! An endpoint for a developer: it makes a subscription of its own, shows what homing sends for it,
//! answers as it is asked to, and deletes the subscription at the end, also where a signal ends it.

mod endpoint;
mod show;
mod verify;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::timeout;

pub(super) use self::endpoint::{Answering, Endpoint, Requests};

use super::{
    actor,
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    run::Signals,
    subscriptions::{parse_filter, refused_address},
    target::{Needs, NewSubscription, Target},
    words,
};
use crate::api::forms::CreatedSubscription;
use homing_domain::{signature::SigningSecret, url::EndpointUrl};

/// For deleting the subscription at the end.
const END_DEADLINE: Duration = Duration::from_secs(20);

const EXAMPLES: &str = "\
Examples:
  homing listen                                       every event, answered with 200
  homing listen --topic 'order.*' --status 500        see retries, and a circuit that opens
  homing listen --delay 6s                            see timeouts (`endpoint.deadline` is 5 s)
  homing listen --api http://127.0.0.1:8080 --json | jq .body
  homing listen --api https://homing.example.com --token-file token --url https://my-tunnel.example

Makes a subscription, shows every request with the check of its signature, and deletes the
subscription at the end: Ctrl-C, SIGTERM, or --limit. What was not delivered until then is parked
(subscription_deleted). homing calls only public addresses, unless `endpoint.allow_networks` has
others: for a homing on this machine, start it with --set endpoint.allow_networks=127.0.0.0/8, or use
`homing dev`.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Events with a topic like this; may be repeated [default: all, but homing's own]
    #[arg(long, value_name = "PATTERN")]
    topic: Vec<String>,
    /// Only events that pass this filter; may be repeated
    #[arg(long, value_name = "JSON")]
    filter: Vec<String>,
    #[command(flatten)]
    answering: Answering,
    /// Listen at this address; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The URL at which homing reaches that address, such as that of a tunnel
    #[arg(long, value_name = "URL")]
    url: Option<EndpointUrl>,
    /// End after so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// The subscription of a listener, and its endpoint.
pub(super) struct Session {
    pub(super) subscription: CreatedSubscription,
    secret: Option<SigningSecret>,
    requests: Requests,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let fields = arguments.fields()?;
    let endpoint = Endpoint::bind(arguments.listen).await?;
    let url = match &arguments.url {
        Some(url) => url.as_str().to_owned(),
        None => format!("http://{}/", endpoint.address()),
    };
    let mut signals = Signals::listen()?;
    globals
        .with_target(Needs::Services, async |target| {
            check_address(target, &url)?;
            // A signal comes after this, or the subscription would stay.
            let session =
                Session::begin(target, fields, (url.as_str(), endpoint.open(arguments.answering)))
                    .await?;
            session.run(target, (arguments.limit, &mut signals), output).await
        })
        .await
}

impl Arguments {
    /// The subscription without its URL.
    fn fields(&self) -> Result<NewSubscription, Failure> {
        let filters = self.filter.iter().enumerate();
        let filters: Result<Vec<Value>, _> =
            filters.map(|(index, text)| parse_filter(text, index)).collect();
        let mut fields = NewSubscription::new();
        let all = || vec!["#".to_owned()];
        let topics = if self.topic.is_empty() { all() } else { self.topic.clone() };
        fields.insert("topics".to_owned(), json!(topics));
        fields.insert("filters".to_owned(), filters?.into());
        Ok(fields)
    }
}

/// Refuses an address that homing would not call, as far as its settings are known.
fn check_address(target: Target<'_>, url: &str) -> Result<(), Failure> {
    let Some(services) = target.here() else { return Ok(()) };
    let Ok(url) = url.parse::<EndpointUrl>() else { return Ok(()) };
    match refused_address(services, &url)? {
        Some(address) => {
            let network = match address {
                IpAddr::V4(address) if address.is_loopback() => "127.0.0.0/8".to_owned(),
                IpAddr::V4(address) => format!("{address}/32"),
                IpAddr::V6(address) => format!("{address}/128"),
            };
            Err(Failure::Usage(format!(
                "homing does not call {address}, which is not public: start homing, and this \
                 command, with --set endpoint.allow_networks={network} (or put it into the settings \
                 file), or use `homing dev`"
            )))
        }
        None => Ok(()),
    }
}

impl Session {
    /// Makes the subscription of `fields` for the endpoint that takes `requests` at `url`.
    pub(super) async fn begin(
        target: Target<'_>,
        mut fields: NewSubscription,
        (url, requests): (&str, Requests),
    ) -> Result<Self, Failure> {
        let description = format!("homing listen of {}", actor::of_command().name);
        fields.insert("url".to_owned(), url.into());
        fields.entry("description").or_insert(description.into());
        let subscription = target.create_subscription(fields).await?;
        let secret = subscription.secret.clone().map(SigningSecret::try_from);
        let secret = secret.transpose().map_err(|error| {
            Failure::NotFound(format!("the secret of the new subscription: {error}"))
        })?;
        Ok(Self { subscription, secret, requests })
    }

    /// Shows requests until a signal comes, or there were as many as `limit` says; then deletes the
    /// subscription.
    async fn run(
        mut self,
        target: Target<'_>,
        (limit, signals): (Option<u32>, &mut Signals),
        output: &mut Output<'_>,
    ) -> Result<Exit, Failure> {
        let id = self.subscription.view.id;
        self.greet(output);
        let shown = tokio::select! {
            shown = async {
                self.probe(target, output).await?;
                self.show(limit, output).await
            } => shown,
            () = signals.next() => Ok(()),
        };
        let deleted = tokio::select! {
            deleted = self.end(target) => deleted,
            () = signals.next() => Err(Failure::Usage("interrupted twice".to_owned())),
        };
        if let Err(failure) = deleted {
            let delete = words::with_operand("homing subscriptions delete", &id.to_string());
            output.notice(format_args!(
                "the subscription {id} may be left; `{delete}`: {}",
                failure.report()
            ));
            return shown.map(|()| Exit::Failed);
        }
        output.aside(format_args!("Deleted the subscription {id}."));
        shown.map(|()| Exit::Done)
    }

    fn greet(&self, output: &mut Output<'_>) {
        let view = &self.subscription.view;
        output.aside(format_args!(
            "Listening at {}, subscription {} to {}; Ctrl-C ends",
            view.url,
            view.id,
            view.topics.join(" ")
        ));
    }

    /// Has a running homing send a test event, which it refuses where it would refuse all others.
    async fn probe(&mut self, target: Target<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
        if target.here().is_some() {
            // This process would only call itself.
            return Ok(());
        }
        let testing = target.test_subscription(self.subscription.view.id, None, None);
        let (mut testing, mut came) = (std::pin::pin!(testing), false);
        let tested = loop {
            tokio::select! {
                tested = &mut testing => break tested?,
                Some(arrived) = self.requests.next() => {
                    came = true;
                    show::write(&arrived, self.secret.as_ref(), output)?;
                }
            }
        };
        if came || tested.status.is_some() {
            return Ok(());
        }
        let url = &self.subscription.view.url;
        let cause = tested.cause.unwrap_or(tested.outcome);
        Err(Failure::NotFound(if cause.contains("endpoint.allow_networks") {
            format!(
                "the running homing does not call {url}: {cause}; start it with \
                 `endpoint.allow_networks` that has this address, such as --set \
                 endpoint.allow_networks=127.0.0.0/8, or give --url with a public one"
            )
        } else {
            format!(
                "the running homing does not reach {url}: {cause}; give --url with a URL at which it does"
            )
        }))
    }

    /// Shows requests as they come, `limit` of them at most.
    pub(super) async fn show(
        &mut self,
        limit: Option<u32>,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let mut shown = 0_u32;
        while limit.is_none_or(|limit| shown < limit) {
            let Some(arrived) = self.requests.next().await else { return Ok(()) };
            show::write(&arrived, self.secret.as_ref(), output)?;
            shown = shown.saturating_add(1);
        }
        Ok(())
    }

    /// Deletes the subscription.
    pub(super) async fn end(&self, target: Target<'_>) -> Result<(), Failure> {
        let deleting = target.delete_subscription(self.subscription.view.id);
        timeout(END_DEADLINE, deleting)
            .await
            .unwrap_or_else(|_elapsed| Err(Failure::Usage("no answer in time".to_owned())))
    }
}
