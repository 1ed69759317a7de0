//! The sender of a message, known by the exchange through which it came.
//!
//! Any publisher to the events exchange can write any property and any header. The route exchange
//! takes homing's own publishes, and a publisher needs no permission for it; so what homing writes
//! about a message (its topic, its subscription) is trusted only if the message came through there.

use std::borrow::Cow;

use lapin::BasicProperties;

use super::header;
use crate::{
    headers::{Death, Headers},
    settings::EventsSettings,
    topology::Names,
};

/// The sender of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a>(Sender<'a>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sender<'a> {
    /// homing, through its route exchange.
    Homing,
    /// A publisher.
    Publisher {
        /// The routing key with which homing received the message, or with which the broker did
        /// before it moved the message.
        routing_key: Cow<'a, str>,
        /// The rules for trusting the rest.
        rules: EventsSettings,
    },
}

impl<'a> Origin<'a> {
    /// A publisher that used `routing_key`, trusted as `rules` say.
    #[must_use]
    pub fn publisher(routing_key: impl Into<Cow<'a, str>>, rules: EventsSettings) -> Self {
        Self(Sender::Publisher { routing_key: routing_key.into(), rules })
    }

    /// homing itself.
    #[must_use]
    pub fn homing() -> Self {
        Self(Sender::Homing)
    }

    /// Finds the sender of the message that the broker delivered with `exchange` and `routing_key`.
    ///
    /// Dead-lettered messages come through the default exchange or the route exchange, and `x-death`
    /// names their original exchange. A message that was published directly to a queue counts as a
    /// publisher's without a routing key, because that would be the name of the queue.
    pub(crate) fn of(
        names: &Names,
        rules: EventsSettings,
        (exchange, routing_key): (&str, &'a str),
        properties: &BasicProperties,
    ) -> Self {
        let headers = Headers(properties.headers().as_ref());
        let route = names.route();
        let was_moved =
            exchange.is_empty() || exchange == route && headers.deaths().next().is_some();
        if was_moved {
            // Any publish that is not homing's own decides, at whatever position: in some versions
            // the broker adds to a header that the publisher wrote.
            let is_foreign = |death: &Death| !death.exchange.is_empty() && death.exchange != route;
            if let Some(death) = headers.deaths().find(is_foreign) {
                return Self::publisher(death.routing_key, rules);
            }
            if !headers.deaths().any(|death| death.exchange == route) {
                return Self::publisher("", rules);
            }
        } else if exchange != route {
            return Self::publisher(routing_key, rules);
        }
        if headers.contains(header::ROUTING_KEY) {
            let key = headers.text(header::ROUTING_KEY).unwrap_or_default();
            return Self::publisher(key, rules);
        }
        Self::homing()
    }

    pub(super) fn sender(&self) -> &Sender<'a> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;
    use crate::topology::Topology;

    const RULES: EventsSettings = EventsSettings {
        topic_from: crate::settings::TopicFrom::RoutingKey,
        subscription_header: crate::settings::SubscriptionHeader::Refuse,
    };

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    /// An `x-death` header with these exchanges and routing keys, the latest death first.
    fn died(deaths: &[(&str, &str)]) -> FieldTable {
        let death = |(exchange, key): &(&str, &str)| {
            let mut death = FieldTable::default();
            death.insert("exchange".into(), text(exchange));
            death.insert("routing-keys".into(), AMQPValue::FieldArray(vec![text(key)].into()));
            AMQPValue::FieldTable(death)
        };
        let deaths: Vec<_> = deaths.iter().map(death).collect();
        let mut table = FieldTable::default();
        table.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
        table
    }

    fn of(exchange: &str, key: &str, table: FieldTable) -> Origin<'static> {
        let topology = Topology::new("p", []);
        let properties = BasicProperties::default().with_headers(table);
        let Origin(sender) = Origin::of(topology.names(), RULES, (exchange, key), &properties);
        Origin(match sender {
            Sender::Homing => Sender::Homing,
            Sender::Publisher { routing_key, rules } => {
                Sender::Publisher { routing_key: routing_key.into_owned().into(), rules }
            }
        })
    }

    #[test]
    fn only_what_came_by_the_route_exchange_is_homings() {
        let published = |key: &'static str| Origin::publisher(key, RULES);
        let nothing = FieldTable::default;
        assert_eq!(of("p.v1.route", "p.v1.retry", nothing()), Origin::homing());
        assert_eq!(of("p.v1.events", "order.paid", nothing()), published("order.paid"));
        assert_eq!(of("foreign", "order.paid", nothing()), published("order.paid"));
        assert_eq!(of("", "p.v1.retry", nothing()), published(""));

        let waited = [("p.v1.route", "p.v1.wait.1000")];
        assert_eq!(of("", "p.v1.retry", died(&waited)), Origin::homing());
        let waited_and_killed = [("", "p.v1.retry"), ("p.v1.route", "p.v1.wait.1000")];
        assert_eq!(of("", "p.v1.parked", died(&waited_and_killed)), Origin::homing());
        let killed = [("p.v1.events", "order.paid")];
        assert_eq!(of("", "p.v1.parked", died(&killed)), published("order.paid"));
    }

    #[test]
    fn what_waited_for_all_shards_is_homings_if_homing_let_it_wait() {
        let waited = [("p.v1.route", "p.v2.wait.1000")];
        assert_eq!(of("p.v1.route", "p.v1.retry", died(&waited)), Origin::homing());
        let foreign = [("", "p.v2.wait.1000")];
        let published = Origin::publisher("", RULES);
        assert_eq!(of("p.v1.route", "p.v1.retry", died(&foreign)), published);
        let foreign = [("foreign", "order.paid")];
        let published = Origin::publisher("order.paid", RULES);
        assert_eq!(of("p.v1.route", "p.v1.retry", died(&foreign)), published);
    }

    #[test]
    fn no_header_of_a_publisher_makes_it_homing() {
        let published = Origin::publisher("order.paid", RULES);
        let forged = died(&[("p.v1.route", "p.v1.wait.1000")]);
        assert_eq!(of("p.v1.events", "order.paid", forged), published);
        let forged_and_killed = [("p.v1.events", "order.paid"), ("p.v1.route", "x")];
        assert_eq!(of("", "p.v1.parked", died(&forged_and_killed)), published);
        let mut forged = FieldTable::default();
        forged.insert(header::ROUTING_KEY.into(), text("another.tenants"));
        assert_eq!(of("p.v1.events", "order.paid", forged), published);
    }

    #[test]
    fn a_copy_of_what_could_not_be_read_is_its_publishers_still() {
        let mut table = FieldTable::default();
        table.insert(header::ROUTING_KEY.into(), text("homing.endpoint.frozen"));
        let copy = of("p.v1.route", "p.v1.retry", table);
        assert_eq!(copy, Origin::publisher("homing.endpoint.frozen", RULES));
    }
}
