//! Samples: settings, events and deliveries.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;

use crate::endpoint::Endpoints;
use crate::settings::EndpointSettings;
use homing_domain::{
    delivery::{Delivery, Progress},
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    subscription::{Draft, Subscription},
    time::UnixMillis,
    topic::Topic,
};

/// The shipped defaults; nothing special may be called.
pub(crate) fn settings() -> EndpointSettings {
    EndpointSettings::from_toml("").unwrap()
}

/// Endpoints on this machine may be called.
pub(crate) fn local_settings() -> EndpointSettings {
    let mut settings = settings();
    settings.allow_networks = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    settings
}

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new(&local_settings()).unwrap()
}

/// For endpoints that let requests wait.
pub(crate) fn impatient(deadline: Duration, connect_deadline: Duration) -> Endpoints {
    Endpoints::new(&EndpointSettings { deadline, connect_deadline, ..local_settings() }).unwrap()
}

pub(crate) fn event() -> Event {
    Event {
        id: EventId::new("e1").unwrap(),
        topic: Topic::new("order.paid").unwrap(),
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: Bytes::from_static(br#"{"amount": 3}"#),
    }
}

pub(crate) fn subscription(url: &str, changes: &serde_json::Value) -> Subscription {
    let mut draft = json!({"url": url, "topics": ["#"]});
    for (key, value) in changes.as_object().unwrap() {
        draft[key] = value.clone();
    }
    let draft: Draft = serde_json::from_value(draft).unwrap();
    Subscription {
        id: "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap(),
        spec: draft.build(&[]).unwrap(),
        created: UnixMillis::new(0),
        updated: UnixMillis::new(0),
    }
}

pub(crate) fn delivery(event: Event, subscription: &Subscription) -> Delivery {
    let progress = Progress { attempts: 2, ..Progress::default() };
    Delivery::new(Arc::new(event), subscription.id, progress)
}
