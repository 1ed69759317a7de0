//! Reads what may be secret: an error about a value of the wrong kind shows nothing of it.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Reads an object as `T` does; `expected` says what it looks like.
pub(super) fn object<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(Object { expected, of: PhantomData })
}

/// Reads a text.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text)
}

struct Object<T> {
    expected: &'static str,
    of: PhantomData<T>,
}

struct Text;

/// The error of a visitor that says what it expects, and nothing of what came.
fn hidden<'de, V: Visitor<'de>, E: Error>(visitor: &V) -> E {
    struct Expected<'a, V>(&'a V);

    impl<'de, V: Visitor<'de>> fmt::Display for Expected<'_, V> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("expected ")?;
            self.0.expecting(f)
        }
    }

    E::custom(Expected(visitor))
}

/// Visits of values of the wrong kind.
macro_rules! hide {
    ($($visit:ident: $kind:ty),*) => {
        $(fn $visit<E: Error>(self, _hidden: $kind) -> Result<Self::Value, E> {
            Err(hidden(&self))
        })*
    };
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }

    hide!(visit_str: &str, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
}

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    hide!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
}
