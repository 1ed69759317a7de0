//! The way of an event to the broker: from here, or through a running homing.

use serde::Deserialize;

use super::wanted::{Interest, Wanting};
use crate::cli::{
    failure::Failure,
    output::Output,
    remote::{Parameters, Publication, Remote},
};
use homing_broker::{Broker, Message, Route, error::BrokerError, message::Recipients};
use homing_delivery::worker::{NearMiss, NotKnown, Wanted};
use homing_domain::{event::ContentEncoding, id::SubscriptionId};

/// Events that are under way at once: a channel takes many, an API shares its permits.
const MAX_AT_BROKER: usize = 128;
const MAX_AT_API: usize = 16;

/// Publishes events, and finds who wants them.
pub(super) enum Publisher {
    Broker { broker: Broker, wanting: Wanting },
    Api(Remote),
}

/// The subscriptions that want an event; `None`: they are still to be found.
type Known = Option<Result<Wanted, NotKnown>>;

/// The reason why an event is not with the broker, or may not be.
pub(super) enum Unpublished {
    Broker(BrokerError),
    Api(Failure),
}

/// The answer of the API.
#[derive(Deserialize)]
struct Published {
    wanted_by: Option<usize>,
    #[serde(default)]
    subscriptions: Vec<SubscriptionId>,
    #[serde(default)]
    near: Vec<NearMiss>,
}

impl Publisher {
    /// The number of events that may be under way at once.
    pub(super) fn max_in_flight(&self) -> usize {
        match self {
            Self::Broker { .. } => MAX_AT_BROKER,
            Self::Api(_) => MAX_AT_API,
        }
    }

    /// Publishes one event; `Ok`: the broker owns it.
    pub(super) async fn publish(&self, message: &Message) -> Result<Known, Unpublished> {
        match self {
            Self::Broker { broker, .. } => {
                let published = broker.publish(&message.outgoing(), Route::Events).await;
                published.map(|()| None).map_err(Unpublished::Broker)
            }
            Self::Api(api) => over(api, message).await.map(Some).map_err(Unpublished::Api),
        }
    }

    /// The subscriptions that want a published event, where that is not known yet.
    pub(super) async fn wanted(&self, message: &Message, known: Known) -> Result<Wanted, NotKnown> {
        match (known, self) {
            (Some(known), _) => known,
            (None, Self::Broker { wanting, .. }) => wanting.by(message).await,
            (None, Self::Api(_)) => Err(NotKnown::NotRead),
        }
    }

    /// Says which events no subscription wanted, and closes what is open.
    pub(super) async fn end(self, interest: &mut Interest, output: &mut Output<'_>) {
        match self {
            Self::Broker { broker, wanting } => {
                broker.close().await;
                wanting.end(interest, output).await;
            }
            Self::Api(_) => interest.write(None, output),
        }
    }
}

async fn over(api: &Remote, message: &Message) -> Result<Result<Wanted, NotKnown>, Failure> {
    let event = &message.event;
    let only = match message.recipients {
        Recipients::One(id) => Some(id),
        Recipients::Matching | Recipients::Group(_) => None,
    };
    let parameters = Parameters::default()
        .with("topic", Some(&event.topic))
        .with("id", Some(&event.id))
        .with("subscription", only);
    let published: Published = api
        .publish(Publication {
            parameters,
            content_type: &event.content_type,
            content_encoding: event.content_encoding.as_ref().map(ContentEncoding::as_str),
            body: event.body.clone(),
        })
        .await?;
    let Published { wanted_by, subscriptions, near } = published;
    let number = wanted_by.ok_or(NotKnown::NotRead);
    Ok(number.map(|number| Wanted { number, subscriptions, near }))
}

impl Unpublished {
    /// True if it would not be taken the next time either.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Broker(error) => error.is_final(),
            Self::Api(Failure::Remote(error)) => error.is_final(),
            Self::Api(_) => true,
        }
    }

    /// The error with its causes, on one line.
    pub(super) fn report(&self) -> String {
        match self {
            Self::Broker(error) => error.report(),
            Self::Api(failure) => failure.report(),
        }
    }
}

impl From<Unpublished> for Failure {
    fn from(unpublished: Unpublished) -> Self {
        match unpublished {
            Unpublished::Broker(error) => Self::Broker(error),
            Unpublished::Api(failure) => failure,
        }
    }
}
