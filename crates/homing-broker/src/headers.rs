//! Header tables: read leniently, because every client library writes its own types; copied
//! without what would make the broker act.

use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::Value;

use super::frame;
use homing_domain::time::UnixMillis;

/// Exchange and routing key of a message before the broker dead-lettered it.
pub(super) struct Death {
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

/// The last dead-lettering of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLettered {
    /// The broker's reason: `expired`, `delivery_limit`, `rejected`, `maxlen`.
    pub why: String,
    /// The queue that it was in.
    pub queue: String,
    /// By the broker's clock, in whole seconds.
    pub at: Option<UnixMillis>,
}

/// Prefix of homing's own headers.
pub(super) const OWN: &str = "x-homing-";

/// Headers of one message.
pub(super) struct Headers<'a>(pub(super) Option<&'a FieldTable>);

impl Headers<'_> {
    fn get(&self, name: &str) -> Option<&AMQPValue> {
        self.0.and_then(|table| table.inner().get(name))
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A text of either string type, or bytes that are UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(self.get(name)?)
    }

    /// The first `max` elements of an array, `None` for what is no text; `None`: it is no array.
    pub(super) fn texts(&self, name: &str, max: usize) -> Option<Vec<Option<String>>> {
        let AMQPValue::FieldArray(values) = self.get(name)? else { return None };
        Some(values.as_slice().iter().take(max).map(text).collect())
    }

    /// The value of an attribute of a CloudEvent: a text, a number (one of more than 32 bits is a
    /// text, too), a flag or an instant in RFC 3339; `None`: it is none of these, or empty.
    ///
    /// Source: CloudEvents 1.0.2, *Specification*, 3, type system.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's enum: others are no attributes"
    )]
    pub(super) fn attribute(&self, name: &str) -> Option<Value> {
        let value = self.get(name)?;
        let found = match value {
            AMQPValue::Boolean(flag) => Value::from(*flag),
            AMQPValue::Timestamp(seconds) => {
                let ms = i64::try_from(*seconds).ok()?.checked_mul(1_000)?;
                Value::from(UnixMillis::new(ms).to_string())
            }
            _ => text(value).map(Value::from).or_else(|| integer(value).map(whole_number))?,
        };
        Some(found).filter(|found| found != "")
    }

    /// A whole number of any width, or its decimal digits.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        integer(self.get(name)?)
    }

    /// The message's exchange and routing key before each dead-lettering, the latest first.
    /// Source: RabbitMQ documentation, *Dead Letter Exchanges*, `x-death`.
    pub(super) fn deaths(&self) -> impl Iterator<Item = Death> {
        let deaths = match self.get("x-death") {
            Some(AMQPValue::FieldArray(deaths)) => deaths.as_slice(),
            Some(_) | None => &[],
        };
        deaths.iter().filter_map(|death| {
            let AMQPValue::FieldTable(death) = death else { return None };
            let routing_key = match death.inner().get("routing-keys") {
                Some(AMQPValue::FieldArray(keys)) => keys.as_slice().first().and_then(text),
                Some(_) | None => None,
            };
            Some(Death {
                exchange: death.inner().get("exchange").and_then(text).unwrap_or_default(),
                routing_key: routing_key.unwrap_or_default(),
            })
        })
    }

    /// The reason of the last dead-lettering: `rejected`, `expired`, `maxlen`, `delivery_limit`.
    pub(super) fn last_death_reason(&self) -> Option<String> {
        let AMQPValue::FieldArray(deaths) = self.get("x-death")? else { return None };
        let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else { return None };
        text(last.inner().get("reason")?)
    }

    /// The last dead-lettering, if there was one.
    pub(super) fn moved(&self) -> Option<DeadLettered> {
        let Some(AMQPValue::FieldArray(deaths)) = self.get("x-death") else { return None };
        let Some(AMQPValue::FieldTable(death)) = deaths.as_slice().first() else { return None };
        let field = |name: &str| death.inner().get(name).and_then(text).unwrap_or_default();
        let at = match death.inner().get("time") {
            Some(AMQPValue::Timestamp(seconds)) => i64::try_from(*seconds).ok(),
            Some(_) | None => None,
        };
        let at = at.and_then(|seconds| seconds.checked_mul(1_000)).map(UnixMillis::new);
        Some(DeadLettered { why: field("reason"), queue: field("queue"), at })
    }

    /// Copies homing's own headers unchanged.
    pub(super) fn put_own_into(&self, table: &mut FieldTable) {
        let own = self.0.into_iter().flatten().filter(|(name, _)| name.as_str().starts_with(OWN));
        for (name, value) in own {
            table.insert(name.clone(), value.clone());
        }
    }

    pub(super) fn count(&self, name: &str) -> u32 {
        self.integer(name).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: anything else is no text")]
fn text(value: &AMQPValue) -> Option<String> {
    let bytes = match value {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice(),
        _ => return None,
    };
    String::from_utf8(bytes.to_vec()).ok()
}

/// A number as an attribute of a CloudEvent has it.
fn whole_number(number: i64) -> Value {
    i32::try_from(number).map_or_else(|_| Value::from(number.to_string()), Value::from)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enum: anything else is no number"
)]
fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => text(value)?.parse().ok(),
    }
}

/// Names and values of `table` for display; a value that is neither text nor number is not shown.
pub(super) fn shown(table: Option<&FieldTable>) -> Vec<(String, String)> {
    let fields = table.into_iter().flat_map(FieldTable::inner);
    let shown = fields.map(|(name, value)| {
        let number = || integer(value).map(|number| number.to_string());
        let other =
            if *value == AMQPValue::Void { "(empty, or left out)" } else { "(a list or a flag)" };
        let field = text(value).or_else(number).unwrap_or_else(|| other.to_owned());
        (name.to_string(), field)
    });
    shown.collect()
}

/// Headers beyond this size are not carried from copy to copy, so that they do not fill memory and
/// broker.
const MAX_CARRIED_BYTES: usize = 32 * 1024;

/// The headers of `table` that a copy of the message may have: all but
/// - homing's own, which are written again;
/// - what the broker writes: a copied `x-death` would make it see a dead-letter cycle and drop the
///   message;
/// - `CC` and `BCC`, which would make it route the copy to further queues;
/// - the values of the largest, where the headers take too many bytes.
///
/// Source: RabbitMQ documentation, *Dead Letter Exchanges* and *Sender-selected Distribution*.
pub(super) fn carried(table: &FieldTable) -> FieldTable {
    const BROKERS_PREFIXES: [&str; 7] = [
        "x-death",
        "x-first-death-",
        "x-last-death-",
        "x-delivery-count",
        "x-acquired-count",
        "x-stream-offset",
        OWN,
    ];
    let is_kept = |name: &str| {
        let own = BROKERS_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        !own && !matches!(name, "CC" | "BCC")
    };
    let kept = table.inner().iter().filter(|(name, _)| is_kept(name.as_str()));
    let mut kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    frame::leave_out(&mut kept, MAX_CARRIED_BYTES);
    kept.into()
}

pub(super) fn put_text(table: &mut FieldTable, name: &str, text: &str) {
    table.insert(ShortString::from(name), AMQPValue::LongString(text.into()));
}

/// Writes an array of texts; what is `None` becomes an empty value.
pub(super) fn put_texts(
    table: &mut FieldTable,
    name: &str,
    texts: impl Iterator<Item = Option<String>>,
) {
    let value = |text: Option<String>| {
        text.map_or(AMQPValue::Void, |text| AMQPValue::LongString(text.into()))
    };
    let values: Vec<_> = texts.map(value).collect();
    table.insert(ShortString::from(name), AMQPValue::FieldArray(values.into()));
}

pub(super) fn put_integer(table: &mut FieldTable, name: &str, number: i64) {
    table.insert(ShortString::from(name), AMQPValue::LongLongInt(number));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    #[test]
    fn numbers_and_texts_of_every_width_are_read() {
        let table = table(&[
            ("i8", AMQPValue::ShortShortInt(3)),
            ("u32", AMQPValue::LongUInt(3)),
            ("i64", AMQPValue::LongLongInt(3)),
            ("long", AMQPValue::LongString("3".into())),
            ("short", AMQPValue::ShortString("3".into())),
            ("bytes", AMQPValue::ByteArray(b"3".to_vec().into())),
            ("void", AMQPValue::Void),
        ]);
        let headers = Headers(Some(&table));
        for name in ["i8", "u32", "i64", "long", "short", "bytes"] {
            assert_eq!(headers.integer(name), Some(3), "{name}");
        }
        assert_eq!(headers.integer("void"), None);
        assert_eq!(headers.text("short").as_deref(), Some("3"));
        assert_eq!(headers.count("absent"), 0);
    }

    #[test]
    fn a_copy_has_no_header_that_the_broker_acts_on() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let table = table(&[
            ("traceparent", text("00-1")),
            ("x-death", AMQPValue::Void),
            ("x-first-death-queue", text("q")),
            ("x-delivery-count", AMQPValue::LongLongInt(2)),
            ("x-homing-attempts", AMQPValue::LongLongInt(2)),
            ("CC", AMQPValue::Void),
        ]);
        let carried = carried(&table);
        let names: Vec<_> = carried.inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, ["traceparent"]);
    }

    #[test]
    fn the_largest_of_too_many_headers_is_left_behind() {
        let large = AMQPValue::LongString("x".repeat(MAX_CARRIED_BYTES).into());
        let small = AMQPValue::LongString("kept".into());
        let carried = carried(&table(&[("large", large), ("small", small.clone())]));
        assert_eq!(carried.inner()["large"], AMQPValue::Void);
        assert_eq!(carried.inner()["small"], small);
    }
}
