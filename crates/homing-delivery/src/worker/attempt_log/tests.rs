//! The records of waits, as the sender makes them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::sender::{Backlog, Sender};
use crate::worker::{
    disposition::{HoldReason, NotAdmitted, SkipReason, Skipped, throttled},
    limits::OwnLimits,
};
use homing_broker::Message;
use homing_domain::{
    delivery::Progress, delivery_state::DeliveryState, event::Event, id::EventId,
    schedule::Schedule, topic::Topic,
};

fn message() -> Message {
    let event = Message::of_event(Event {
        id: EventId::new("e1").unwrap(),
        topic: Topic::new("t").unwrap(),
        content_type: String::new(),
        content_encoding: None,
        body: Bytes::new(),
    });
    let subscription = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
    event.for_subscription(subscription, Progress::default())
}

/// Goal: a wait for its turn is one record, whatever happens in between, until it ends. A failure of
/// homing's own is a part of it.
#[test]
fn a_turn_has_one_record_until_its_delivery_is_held() {
    let (sender, mut records) = mpsc::channel(8);
    let log = Sender::new(sender, 8, 1_024, Arc::new(Backlog::default()));
    let mut message = message();
    let no_socket = || SkipReason::NotNow("no socket".into());
    let waits = [
        SkipReason::Throttled(OwnLimits::default()),
        SkipReason::Throttled(OwnLimits::default()),
        no_socket(),
    ];
    for reason in waits.into_iter().chain([SkipReason::Throttled(OwnLimits::default())]) {
        let delivery = message.delivery().unwrap();
        let next = throttled(&message, &delivery);
        log.skipped(&delivery, &Skipped { reason, url: None }, &next);
        message = next.0;
    }
    let turn = message.progress.turn;
    let delivery = message.delivery().unwrap();
    let schedule = Schedule::new(&[Duration::from_secs(60)]).unwrap();
    let open = (HoldReason::CircuitOpen, Duration::from_hours(1));
    let held = NotAdmitted::new(&message, &delivery, &schedule, open).disposition(Some(0));
    let (skipped, next) = (held.skipped.unwrap(), held.next.unwrap());
    log.skipped(&delivery, &skipped, &next);

    let made: Vec<_> = std::iter::from_fn(|| records.try_recv().ok()).collect();
    let [first, second, between, third, held] = &made[..] else { panic!("{}", made.len()) };
    for record in [first, second, between, third].map(|entry| &entry.record) {
        assert_eq!((record.id, record.turn), (first.record.id, turn), "{record:?}");
        assert_eq!(record.state(), DeliveryState::Throttled);
        assert!(record.is_wait() && record.as_of.is_some(), "{record:?}");
    }
    assert!(turn.is_some());
    assert_eq!((held.record.state(), held.record.turn), (DeliveryState::Held, turn));
    assert_eq!(next.0.progress.turn, None, "the next wait is another one");
}
