//! Reading and writing of messages.

use std::time::Duration;

use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

use super::{MAX_NAMED, Message, Origin, Recipients, Unreadable, header, renewed};
use crate::{
    publish::Route,
    settings::{EventsSettings, SubscriptionHeader, TopicFrom},
};
use homing_domain::{
    delivery::{Hold, Progress},
    error_group::ErrorId,
    id::{EventId, SubscriptionId},
    schedule::Step,
    time::UnixMillis,
    verdict::ParkReason,
};

const SUBSCRIPTION: &str = "01931f5a-9c4e-7000-8000-000000000001";

/// The rules of the first version: everything that a publisher writes is trusted.
const TRUSTING: EventsSettings =
    EventsSettings { topic_from: TopicFrom::Type, subscription_header: SubscriptionHeader::Accept };

fn read_of(properties: &BasicProperties, origin: &Origin<'_>) -> Result<Message, Box<Unreadable>> {
    let body = Bytes::from_static(b"{}");
    Message::read(properties, origin, body, || EventId::new("new").unwrap())
}

fn read(properties: &BasicProperties, key: &str) -> Result<Message, Box<Unreadable>> {
    read_of(properties, &Origin::publisher(key, EventsSettings::default()))
}

fn trusted(properties: &BasicProperties, key: &str) -> Result<Message, Box<Unreadable>> {
    read_of(properties, &Origin::publisher(key, TRUSTING))
}

fn headers(entries: &[(&str, &str)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    BasicProperties::default().with_headers(table)
}

#[test]
fn a_message_without_any_property_is_an_event() {
    let message = read(&BasicProperties::default(), "order.paid").unwrap();
    assert_eq!(message.event.topic.as_str(), "order.paid");
    assert_eq!(message.event.id.as_str(), "new");
    assert_eq!(message.event.content_type, "application/json");
    assert!(message.delivery().is_none());
}

#[test]
fn the_topic_is_taken_from_where_the_settings_say() {
    let typed = BasicProperties::default().with_type("com.example.OrderPaid".into());
    let topic = |read: Result<Message, _>| read.unwrap().event.topic.to_string();
    assert_eq!(topic(read(&typed, "order.paid")), "order.paid");
    assert_eq!(topic(trusted(&typed, "order.paid")), "com.example.OrderPaid");
    let cloud = headers(&[("cloudEvents:type", "tenantb.x")]);
    assert_eq!(topic(read(&cloud, "tenanta.x")), "tenanta.x");
    assert_eq!(topic(trusted(&cloud, "tenanta.x")), "tenantb.x");

    let why = read(&typed, "").unwrap_err().why.to_string();
    insta::assert_snapshot!(why, @"no topic (a topic has 1 to 255 bytes, this one is empty): set the routing key; `type` is read only with `events.topic_from`");
}

#[test]
fn homings_own_topics_are_reserved_wherever_a_publisher_puts_them() {
    let frozen = "homing.endpoint.frozen";
    let plain = BasicProperties::default();
    let typed = BasicProperties::default().with_type(frozen.into());
    let cloud = headers(&[("cloudEvents_type", frozen)]);
    for unreadable in [
        read(&plain, frozen),
        trusted(&plain, frozen),
        trusted(&typed, "order.paid"),
        trusted(&cloud, "order.paid"),
    ] {
        let why = unreadable.unwrap_err().why.to_string();
        assert_eq!(
            why,
            "topic `homing.endpoint.frozen` is reserved: topics that begin with `homing.` are homing's own"
        );
    }
    assert_eq!(read_of(&typed, &Origin::homing()).unwrap().event.topic.as_str(), frozen);
}

#[test]
fn a_publishers_subscription_is_accepted_only_where_the_settings_say() {
    let named = headers(&[(header::SUBSCRIPTION, SUBSCRIPTION)]);
    let why = read(&named, "order.paid").unwrap_err().why.to_string();
    insta::assert_snapshot!(why, @r#"header `x-homing-subscription`: not accepted from publishers; publish over HTTP with `?subscription=`, or set `events.subscription_header` to "accept""#);
    let subscription = Some(SUBSCRIPTION.parse().unwrap());
    assert_eq!(trusted(&named, "order.paid").unwrap().subscription(), subscription);
    let typed = named.with_type("order.paid".into());
    assert_eq!(read_of(&typed, &Origin::homing()).unwrap().subscription(), subscription);
}

#[test]
fn cloud_events_are_read_in_both_spellings() {
    for prefix in ["cloudEvents:", "cloudEvents_"] {
        let (id, kind) = (format!("{prefix}id"), format!("{prefix}type"));
        let message = trusted(&headers(&[(&id, "ce-1"), (&kind, "com.example.paid")]), "").unwrap();
        assert_eq!(message.event.id.as_str(), "ce-1");
        assert_eq!(message.event.topic.as_str(), "com.example.paid");
    }
}

#[test]
fn a_delivery_is_read_as_it_was_written() {
    let event = read(&headers(&[("traceparent", "00-1")]), "order.paid").unwrap();
    let progress = Progress {
        attempts: 3,
        step: Step::new(4),
        holds: 1,
        throttled: 3,
        replays: 2,
        replay: "01931f5a-9c4e-7000-8000-0123456789ab".parse().ok(),
        received: Some(UnixMillis::new(5)),
        first_failure: Some(UnixMillis::new(6)),
        hold: Some(Hold { since: UnixMillis::new(8), reason: ParkReason::Frozen }),
        not_before: Some(UnixMillis::new(7)),
        turn: Some(UnixMillis::new(9)),
        last_outcome: Some("refused 503".to_owned()),
        error: Some(ErrorId::new([9; 16])),
        unmatched: true,
        version: "v1 former".parse().ok(),
    };
    let message = event
        .for_subscription(SUBSCRIPTION.parse().unwrap(), progress)
        .parked(ParkReason::Exhausted, UnixMillis::new(8));

    let outgoing = message.outgoing();
    let again = read_of(&outgoing.properties, &Origin::homing()).unwrap();

    assert_eq!(*outgoing.properties.delivery_mode(), Some(2));
    assert_eq!(again.event, message.event);
    assert_eq!(again.recipients, message.recipients);
    assert_eq!(again.progress, message.progress);
    assert_eq!(again.parked, message.parked);
    assert_eq!(again.outgoing().properties, outgoing.properties);
}

#[test]
fn a_publisher_cannot_say_for_which_error_its_message_is_parked() {
    let id = ErrorId::new([9; 16]);
    let properties = headers(&[(header::ERROR, &id.to_string())]).with_type("t".into());
    let error = |read: Result<Message, _>| {
        read.unwrap_or_else(|_: Box<Unreadable>| unreachable!()).progress.error
    };
    assert_eq!(error(read(&properties, "t")), None);
    assert_eq!(error(trusted(&properties, "t")), None);
    assert_eq!(error(read_of(&properties, &Origin::homing())), Some(id));
}

#[test]
fn properties_on_which_the_broker_acts_are_not_copied() {
    let properties = BasicProperties::default()
        .with_expiration("1000".into())
        .with_user_id("other".into())
        .with_priority(9)
        .with_app_id("shop".into());
    let copy = read(&properties, "t").unwrap().outgoing().properties;
    assert_eq!(*copy.expiration(), None);
    assert_eq!(*copy.user_id(), None);
    assert_eq!(*copy.priority(), None);
    assert_eq!(copy.app_id().as_ref().map(ToString::to_string).as_deref(), Some("shop"));
}

/// Goal: what waited for its endpoint for too long is known as that, wherever it is read.
#[test]
fn what_the_broker_parks_from_a_held_queue_has_the_reason_of_its_last_refusal() {
    let event = read(&headers(&[]), "order.paid").unwrap();
    let progress = Progress::default().refused(ParkReason::CircuitOpen, UnixMillis::new(8));
    let progress = progress.refused(ParkReason::Frozen, UnixMillis::new(9));
    assert_eq!(progress.hold.unwrap().since, UnixMillis::new(8));
    let message = event.for_subscription(SUBSCRIPTION.parse().unwrap(), progress);
    let route = Route::Held { slot: 1, at_most: Duration::from_millis(1_500) };
    let properties = message.outgoing().over(route).properties;
    assert_eq!(properties.expiration().as_ref().unwrap().as_str(), "1500");
    let renewed = |origin: &Origin<'_>| {
        let renewed = renewed(&properties, origin, Bytes::new());
        renewed.properties.expiration().as_ref().map(ToString::to_string)
    };
    assert_eq!(renewed(&Origin::homing()).as_deref(), Some("1500"), "its copy is parked, too");
    assert_eq!(renewed(&Origin::publisher("t", EventsSettings::default())), None);

    let parked = |death: &str| {
        let mut died = FieldTable::default();
        died.insert("reason".into(), AMQPValue::LongString(death.into()));
        let mut table = properties.headers().clone().unwrap();
        table.insert("x-death".into(), AMQPValue::FieldArray(vec![died.into()].into()));
        let properties = BasicProperties::clone(&properties).with_headers(table);
        read_of(&properties, &Origin::homing()).unwrap().parked.unwrap().reason
    };
    assert_eq!(parked("expired"), ParkReason::Frozen);
    assert_eq!(parked("delivery_limit"), ParkReason::RejectedByBroker);
    assert_eq!(parked("rejected"), ParkReason::TooLarge);
}

#[test]
fn an_unreadable_message_is_kept_unchanged_with_its_reason() {
    let unreadable = trusted(&headers(&[(header::SUBSCRIPTION, "no-id")]), "t").unwrap_err();
    insta::assert_snapshot!(unreadable.why, @"header `x-homing-subscription`: `no-id` is not a subscription id (a UUID such as 01931f5a-9c4e-7000-8000-0123456789ab)");
    let parked = unreadable.parked(UnixMillis::new(9)).properties;
    let again = trusted(&parked, "t").unwrap_err();
    assert_eq!(again.why, unreadable.why);
    assert_eq!(again.parked.unwrap().reason, ParkReason::Unreadable);
}

/// Goal: a replay makes what a publisher forged no more trusted than before. Method: the copy comes
/// through the route exchange, as the copies of the parking queue do.
#[test]
fn a_copy_of_a_forged_message_is_as_unreadable_as_the_original() {
    let topology = crate::topology::Topology::new("p", []);
    let rules = EventsSettings::default();
    let forged = headers(&[(header::SUBSCRIPTION, SUBSCRIPTION)]).with_type("tenantb.x".into());
    let mut unreadable = read(&forged, "tenanta.x").unwrap_err();
    for copy in [unreadable.replayed(), unreadable.parked(UnixMillis::new(9))] {
        let way = ("p.v1.route", "p.v1.retry");
        let origin = Origin::of(topology.names(), rules, way, &copy.properties);
        unreadable = read_of(&copy.properties, &origin).unwrap_err();
        assert_eq!(
            unreadable.why,
            super::UnreadableReason::SubscriptionRefused(header::SUBSCRIPTION)
        );
        // Accepted later, after a change of the setting: with its publisher's routing key.
        let trusting = EventsSettings { topic_from: TopicFrom::RoutingKey, ..TRUSTING };
        let origin = Origin::of(topology.names(), trusting, way, &copy.properties);
        assert_eq!(read_of(&copy.properties, &origin).unwrap().event.topic.as_str(), "tenanta.x");
    }
}

#[test]
fn what_the_broker_moved_keeps_the_topic_of_its_publisher() {
    let keys = vec![AMQPValue::LongString("order.paid".into())];
    let mut death = FieldTable::default();
    death.insert("exchange".into(), AMQPValue::LongString("p.v1.events".into()));
    death.insert("routing-keys".into(), AMQPValue::FieldArray(keys.into()));
    let mut table = FieldTable::default();
    let deaths = vec![AMQPValue::FieldTable(death)];
    table.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
    let properties = BasicProperties::default().with_headers(table);
    let topology = crate::topology::Topology::new("p", []);
    let way = ("", "p.v1.parked");
    let origin = Origin::of(topology.names(), EventsSettings::default(), way, &properties);

    let message = read_of(&properties, &origin).unwrap();

    assert_eq!(message.event.topic.as_str(), "order.paid");
    assert_eq!(message.parked.unwrap().reason, ParkReason::RejectedByBroker);
}

/// RabbitMQ passes the values of AMQP 1.0 on in encoded form, and marks them in `type`.
#[test]
fn one_value_of_amqp_1_0_is_unwrapped_and_any_other_is_reported() {
    let encoded = BasicProperties::default().with_type("amqp-1.0".into());
    let read = |body: &'static [u8], rules| {
        let origin = Origin::publisher("order.paid", rules);
        Message::read(&encoded, &origin, Bytes::from_static(body), || EventId::new("e").unwrap())
    };
    for rules in [EventsSettings::default(), TRUSTING] {
        let message = read(b"\0\x53\x77\xa1\x08{\"id\":7}", rules).unwrap();
        assert_eq!(message.event.topic.as_str(), "order.paid");
        assert_eq!(&message.event.body[..], br#"{"id":7}"#);

        let unreadable = read(b"\0\x53\x76\xc0\x03\x01\x54\x07", rules).unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(unreadable.why, @"its body is a sequence in AMQP 1.0 encoding; send a data section, or one text or binary value");
        }
        assert_eq!(&unreadable.body[..], b"\0\x53\x76\xc0\x03\x01\x54\x07");
    }
    // A type that a publisher chose, with a body that is none of these.
    assert_eq!(&read(b"{}", TRUSTING).unwrap().event.body[..], b"{}");
    assert_eq!(read(b"{}", TRUSTING).unwrap().event.topic.as_str(), "amqp-1.0");
}

/// Ids of `count` subscriptions.
fn ids(count: u32) -> Vec<SubscriptionId> {
    (1..=count).map(|it| format!("{it:08}-0000-7000-8000-000000000000").parse().unwrap()).collect()
}

fn listing(values: Vec<AMQPValue>) -> BasicProperties {
    let mut table = FieldTable::default();
    table.insert(header::SUBSCRIPTIONS.into(), AMQPValue::FieldArray(values.into()));
    BasicProperties::default().with_type("order.paid".into()).with_headers(table)
}

fn text(text: impl Into<String>) -> AMQPValue {
    AMQPValue::LongString(text.into().into())
}

#[test]
fn a_group_is_read_as_it_was_written() {
    let event = read(&headers(&[]), "order.paid").unwrap();
    let progress =
        Progress { replays: 1, received: Some(UnixMillis::new(5)), ..Progress::default() };
    let group = event.to(Recipients::named(ids(64)), progress);
    let outgoing = group.outgoing();
    assert!(outgoing.is_privileged);
    let again = read_of(&outgoing.properties, &Origin::homing()).unwrap();
    assert_eq!((again.recipients.ids(), again.subscription()), (&ids(64)[..], None));
    assert_eq!(again.progress, group.progress);
    assert!(again.delivery().is_none());

    // One alone is an ordinary delivery, which earlier versions read, too.
    let alone = event.to(Recipients::named(ids(1)), Progress::default()).outgoing();
    assert!(
        !alone.properties.headers().as_ref().unwrap().inner().contains_key(header::SUBSCRIPTIONS)
    );
    assert_eq!(event.to(Recipients::named([]), Progress::default()).recipients, event.recipients);
}

/// Goal: a list is read whole or not at all; what is wrong is said, and stays wrong in copies.
#[test]
fn a_list_that_is_none_is_parked_with_the_reason() {
    let id = || text(SUBSCRIPTION);
    let both = headers(&[(header::SUBSCRIPTION, SUBSCRIPTION), (header::SUBSCRIPTIONS, "x")]);
    let lists = [
        listing(vec![]),
        listing(vec![id(); MAX_NAMED + 1]),
        listing(vec![id(); 10_000]),
        listing(vec![id(), AMQPValue::LongLongInt(7)]),
        listing(vec![id(), AMQPValue::FieldArray(vec![id()].into())]),
        headers(&[(header::SUBSCRIPTIONS, SUBSCRIPTION)]).with_type("t".into()),
        both.with_type("t".into()),
        listing(vec![id(), text("another")]),
        listing(vec![text("x".repeat(10_000))]),
    ];
    for properties in lists {
        let unreadable = read_of(&properties, &Origin::homing()).unwrap_err();
        let why = unreadable.why.to_string();
        assert!(why.starts_with("header `x-homing-subscriptions`: "), "{why}");
        let copy = unreadable.parked(UnixMillis::new(9)).properties;
        assert!(crate::frame::bytes_of(copy.headers().as_ref().unwrap().inner()) < 10_000);
        let again = read_of(&copy, &Origin::homing()).unwrap_err();
        assert_eq!(std::mem::discriminant(&again.why), std::mem::discriminant(&unreadable.why));
    }
    let repeated = listing(vec![id(), text(ids(1)[0].to_string()), id()]);
    let read = read_of(&repeated, &Origin::homing()).unwrap();
    assert_eq!(read.recipients.ids(), [SUBSCRIPTION.parse().unwrap(), ids(1)[0]]);
}

/// Goal: publishers may name several where they may name one, and only there.
#[test]
fn a_publishers_list_is_accepted_where_the_settings_say() {
    let given = listing(ids(3).iter().map(|id| text(id.to_string())).collect());
    assert_eq!(trusted(&given, "t").unwrap().recipients.ids(), ids(3));
    let refused = read(&given, "t").unwrap_err();
    assert_eq!(refused.why, super::UnreadableReason::SubscriptionRefused(header::SUBSCRIPTIONS));
    // Accepted later, after a change of the setting.
    let copy = refused.parked(UnixMillis::new(9)).properties;
    assert_eq!(trusted(&copy, "t").unwrap().recipients.ids(), ids(3));
}
