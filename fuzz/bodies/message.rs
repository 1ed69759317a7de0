//! Any properties and headers, of every AMQP type, are read or refused, and a copy says the same.
//!
//! Data: two bytes with the length of the properties, the properties as on the wire, the body.

use bytes::Bytes;
use homing_broker::{
    Message, Origin, Unreadable,
    settings::{EventsSettings, SubscriptionHeader, TopicFrom},
};
use homing_domain::{id::EventId, time::UnixMillis, verdict::ParkReason};
use lapin::protocol::basic::parse_properties;

/// Reads one message, and what homing makes of it.
pub(crate) fn run(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (properties, body) = rest.split_at(length);
    let Ok((_, properties)) = parse_properties(properties) else { return };
    let new_id = || EventId::from(uuid::Uuid::nil());
    let body = Bytes::copy_from_slice(body);
    let trusting = EventsSettings {
        topic_from: TopicFrom::Type,
        subscription_header: SubscriptionHeader::Accept,
    };
    for origin in [
        Origin::homing(),
        Origin::publisher("a.topic", EventsSettings::default()),
        Origin::publisher("a.topic", trusting),
    ] {
        judge(Message::read(&properties, &origin, body.clone(), new_id), &origin, &body);
    }
}

fn judge(read: Result<Message, Box<Unreadable>>, origin: &Origin<'_>, body: &Bytes) {
    match read {
        Ok(message) => {
            // One value of AMQP 1.0 is unwrapped.
            assert!(body.ends_with(&message.event.body));
            assert!(!message.event.topic.is_own() || *origin == Origin::homing());
            let now = UnixMillis::new(0);
            let replayed = message.to(message.recipients.clone(), message.progress.replayed());
            for copy in [message.outgoing(), replayed.outgoing()] {
                drop(copy);
            }
            drop(message.parked(ParkReason::Exhausted, now).outgoing());
            drop(message.delivery());
        }
        Err(unreadable) => {
            drop(unreadable.parked(UnixMillis::new(0)));
            drop(unreadable.replayed());
        }
    }
}
