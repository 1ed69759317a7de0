//! Any properties and headers, of every AMQP type, are read or refused, and a copy says the same.
//!
//! Data: two bytes with the length of the properties, the properties as on the wire, the body.

use bytes::Bytes;
use homing::{
    broker::Message,
    domain::{id::EventId, time::UnixMillis, verdict::ParkReason},
};
use lapin::protocol::basic::parse_properties;

/// Reads one message, and what homing makes of it.
pub(crate) fn run(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (properties, body) = rest.split_at(length);
    let Ok((_, properties)) = parse_properties(properties) else { return };
    let fresh_id = || EventId::from(uuid::Uuid::nil());
    let body = Bytes::copy_from_slice(body);
    match Message::read(&properties, Some("a.topic"), body.clone(), fresh_id) {
        Ok(message) => {
            assert_eq!(message.event.body, body);
            let now = UnixMillis::new(0);
            for copy in [message.outgoing(), message.replayed().outgoing()] {
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
