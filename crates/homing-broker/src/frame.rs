//! Trims properties to one frame of the publishing connection: the broker closes a connection that
//! sends a larger one, with everything in flight on it.
//!
//! Left out are the values of a publisher's headers, largest first; then their names; then the ends
//! of homing's own texts, and lists. No list that homing makes itself is so large: [`max_named`].
//!
//! Source: AMQP 0-9-1, 4.2.3 and 4.2.6.1; RabbitMQ's `rabbit_reader`, `check_frame_size`.

use std::{cmp::Reverse, collections::BTreeMap};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    headers::OWN,
    message::{MAX_NAMED, header},
};

/// Bytes of the frame itself, and of class, weight, body size, flags and table size.
const OTHERS_BYTES: usize = 8 + 14 + 4;
/// The least that is kept of a text of homing's.
const MIN_TEXT_BYTES: usize = 128;

/// The most that a message takes beside a list of subscriptions: six short strings, and homing's
/// other headers.
const BESIDE_LIST_BYTES: usize = 2_048;
/// A subscription in a list, as [`value_bytes`] counts it.
const NAMED_BYTES: usize = 9 + 36;

type Fields = BTreeMap<ShortString, AMQPValue>;

/// The most subscriptions that a message names: their list fits into a frame of `max_frame_bytes`.
pub(super) fn max_named(max_frame_bytes: usize) -> usize {
    let room = max_frame_bytes.saturating_sub(BESIDE_LIST_BYTES);
    (room / NAMED_BYTES).clamp(1, MAX_NAMED)
}

/// Trims the properties to a frame of `max_frame_bytes`; returns them with the number of header
/// bytes left out.
pub(super) fn fit(properties: BasicProperties, max_frame_bytes: usize) -> (BasicProperties, usize) {
    let Some(table) = properties.headers() else { return (properties, 0) };
    let bytes = bytes_of(table.inner());
    let room = max_frame_bytes.saturating_sub(OTHERS_BYTES + bytes_beside(&properties));
    if bytes <= room {
        return (properties, 0);
    }
    let mut fields = table.inner().clone();
    leave_out(&mut fields, room);
    if bytes_of(&fields) > room {
        fields.retain(|name, _| is_own(name));
        shorten(&mut fields, room);
    }
    let left_out = bytes.saturating_sub(bytes_of(&fields));
    (properties.with_headers(FieldTable::from(fields)), left_out)
}

/// Leaves out the largest values of a publisher's headers until all headers take at most `room`
/// bytes, or no value is left. Their names stay.
pub(super) fn leave_out(fields: &mut Fields, room: usize) {
    let mut bytes = bytes_of(fields);
    if bytes <= room {
        return;
    }
    let mut largest: Vec<_> = fields.iter_mut().filter(|(name, _)| !is_own(name)).collect();
    largest.sort_by_key(|(_, value)| Reverse(value_bytes(value)));
    for (_, value) in largest {
        if bytes <= room {
            return;
        }
        bytes =
            bytes.saturating_sub(value_bytes(value).saturating_sub(value_bytes(&AMQPValue::Void)));
        *value = AMQPValue::Void;
    }
}

/// Truncates texts, longest first, then leaves out lists, until all headers take at most `room`
/// bytes.
fn shorten(fields: &mut Fields, room: usize) {
    let mut bytes = bytes_of(fields);
    let mut longest: Vec<_> = fields.values_mut().collect();
    let is_list = |value: &AMQPValue| matches!(value, AMQPValue::FieldArray(_));
    longest.sort_by_key(|value| (is_list(value), Reverse(value_bytes(value))));
    for value in longest {
        let too_much = bytes.saturating_sub(room);
        if too_much == 0 {
            return;
        }
        if is_list(value) {
            bytes = bytes.saturating_sub(value_bytes(value));
            *value = AMQPValue::Void;
        }
        let AMQPValue::LongString(text) = &*value else { continue };
        let text = String::from_utf8_lossy(text.as_bytes());
        let kept = text.len().saturating_sub(too_much).max(MIN_TEXT_BYTES);
        let cut = text.get(..text.floor_char_boundary(kept)).unwrap_or_default().to_owned();
        bytes = bytes.saturating_sub(text.len().saturating_sub(cut.len()));
        *value = AMQPValue::LongString(cut.into());
    }
}

/// Returns true if deliveries depend on this header.
fn is_own(name: &ShortString) -> bool {
    let name = name.as_str();
    let names_event =
        [header::CLOUD_EVENT_ID, header::CLOUD_EVENT_TYPE].iter().flatten().any(|own| *own == name);
    names_event || name.starts_with(OWN) || name == header::TRACE_PARENT
}

/// Upper bound of the bytes of the other properties.
fn bytes_beside(properties: &BasicProperties) -> usize {
    /// Mode, priority, instant.
    const NUMBERS: usize = 1 + 1 + 8;
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.kind(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ];
    let texts = texts.into_iter().flatten();
    NUMBERS + texts.map(|text| 1 + text.as_str().len()).sum::<usize>()
}

/// Upper bound of the bytes of these headers.
pub(super) fn bytes_of(fields: &Fields) -> usize {
    fields.iter().map(|(name, value)| 1 + name.as_str().len() + value_bytes(value)).sum()
}

/// Upper bound of the bytes of a value, its type included.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: the rest are scalars")]
fn value_bytes(value: &AMQPValue) -> usize {
    const SCALAR: usize = 1 + 8;
    let content = match value {
        AMQPValue::Void => return 1,
        AMQPValue::ShortString(text) => text.as_str().len(),
        AMQPValue::LongString(text) => text.len(),
        AMQPValue::ByteArray(bytes) => bytes.len(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value_bytes).sum(),
        AMQPValue::FieldTable(table) => bytes_of(table.inner()),
        _ => 0,
    };
    content.saturating_add(SCALAR)
}

#[cfg(test)]
mod tests {
    use lapin::protocol::basic::gen_properties;
    use proptest::prelude::*;

    use super::*;
    use crate::headers;

    /// Bytes of the frame that the client makes of it.
    fn frame_bytes(properties: &BasicProperties) -> usize {
        let written: Vec<u8> = gen_properties(properties)(Vec::new().into()).unwrap().write;
        // Class, weight and size of the body; the frame's own.
        written.len() + 12 + 8
    }

    fn properties(fields: &[(&str, usize)]) -> BasicProperties {
        let field = |(name, bytes): &(&str, usize)| {
            let text = "é".repeat(bytes / 2);
            (ShortString::from(*name), AMQPValue::LongString(text.into()))
        };
        let fields: Fields = fields.iter().map(field).collect();
        BasicProperties::default()
            .with_message_id("m".repeat(255).into())
            .with_type("t".repeat(255).into())
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_headers(fields.into())
    }

    #[test]
    fn properties_that_fit_are_unchanged() {
        let given = properties(&[("x-homing-step", 2), ("team", 1_000)]);
        assert_eq!(fit(given.clone(), 4_096), (given, 0));
        assert_eq!(fit(BasicProperties::default(), 4_096), (BasicProperties::default(), 0));
    }

    #[test]
    fn the_largest_header_of_the_publisher_is_left_out_first() {
        let given = properties(&[("large", 6_000), ("small", 500), ("x-homing-last-outcome", 700)]);
        let (fitted, left_out) = fit(given.clone(), 4_096);
        let (given, fitted) = (given.headers().clone().unwrap(), fitted.headers().clone().unwrap());
        assert_eq!(fitted.inner()["large"], AMQPValue::Void);
        for name in ["small", "x-homing-last-outcome"] {
            assert_eq!(fitted.inner()[name], given.inner()[name]);
        }
        assert_eq!(left_out, 6_008);
    }

    /// Goal: no list of subscriptions is cut. Method: all else is as long as it can be.
    #[test]
    fn as_many_subscriptions_as_are_named_fit_into_a_frame() {
        let long = || ShortString::from("x".repeat(255));
        let number = || AMQPValue::LongLongInt(i64::MAX);
        let mut fields: Fields = [
            (header::RECEIVED, number()),
            (header::REPLAYS, number()),
            (header::RENEWALS, number()),
            (header::UNROUTED, number()),
            (header::TRACE_PARENT, AMQPValue::LongString("0".repeat(55).into())),
        ]
        .map(|(name, value)| (name.into(), value))
        .into();
        for (frame, named) in [(4_096, 45), (8_192, MAX_NAMED), (131_072, MAX_NAMED)] {
            assert_eq!(max_named(frame), named);
            let id = AMQPValue::LongString("01931f5a-9c4e-7000-8000-000000000001".into());
            let list = AMQPValue::FieldArray(vec![id; named].into());
            fields.insert(header::SUBSCRIPTIONS.into(), list);
            let properties = BasicProperties::default()
                .with_message_id(long())
                .with_type(long())
                .with_content_type(long())
                .with_content_encoding(long())
                .with_correlation_id(long())
                .with_app_id(long())
                .with_timestamp(1)
                .with_delivery_mode(2)
                .with_headers(fields.clone().into());
            assert_eq!(fit(properties.clone(), frame), (properties, 0));
        }
    }

    #[test]
    fn texts_of_homing_are_cut_before_a_list_is_left_out() {
        let given = properties(&[("x-homing-last-outcome", 2_000)]);
        let mut table = given.headers().clone().unwrap();
        headers::put_texts(
            &mut table,
            header::SUBSCRIPTIONS,
            (0..64).map(|_| Some("x".repeat(36))),
        );
        let list = table.inner()[header::SUBSCRIPTIONS].clone();
        let (fitted, _) = fit(given.with_headers(table), 4_096);
        let fitted = fitted.headers().clone().unwrap();
        assert_eq!(fitted.inner()[header::SUBSCRIPTIONS], list);
        assert!(value_bytes(&fitted.inner()["x-homing-last-outcome"]) < 2_000);
    }

    #[test]
    fn texts_of_homing_are_cut_where_nothing_else_is_left() {
        let names: Vec<_> = (0..500).map(|number| format!("header-{number}")).collect();
        let mut fields: Vec<_> = names.iter().map(|name| (name.as_str(), 2)).collect();
        let own = [("x-homing-last-outcome", 16_000), ("x-homing-unparsed", 9_000)];
        fields.extend([("traceparent", 55)].iter().chain(&own));
        let (fitted, _) = fit(properties(&fields), 4_096);
        assert!(frame_bytes(&fitted) <= 4_096);
        let fitted = fitted.headers().clone().unwrap();
        assert_eq!(fitted.inner().len(), 3);
        assert!(own.iter().all(|(name, _)| bytes_of(fitted.inner()) > 2 * MIN_TEXT_BYTES
            && value_bytes(&fitted.inner()[*name]) >= MIN_TEXT_BYTES));
    }

    proptest! {
        /// Goal: whatever a publisher's headers are, the frame is no larger than negotiated.
        #[test]
        fn a_frame_is_never_larger_than_negotiated(
            sizes in prop::collection::vec(0_usize..9_000, 0..40),
            frame in prop::sample::select(vec![4_096_usize, 8_192, 131_072]),
        ) {
            let names: Vec<_> = (0..sizes.len()).map(|number| format!("h{number}")).collect();
            let mut fields: Vec<_> =
                names.iter().map(String::as_str).zip(sizes.iter().copied()).collect();
            fields.push(("x-homing-last-outcome", 16_384));
            fields.push(("x-homing-unparsed", 12_288));
            let given = properties(&fields);
            let mut table = given.headers().clone().unwrap();
            headers::put_texts(&mut table, header::SUBSCRIPTIONS, (0..65).map(|_| Some("é".repeat(40))));
            let (fitted, _) = fit(given.with_headers(table), frame);
            prop_assert!(frame_bytes(&fitted) <= frame);
        }
    }
}
