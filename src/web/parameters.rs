//! Names with texts, as queries and forms have them, read as types that are `Deserialize`.

use std::collections::BTreeMap;

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Error as _, Visitor,
        value::{Error, MapDeserializer},
    },
    forward_to_deserialize_any,
};

use homing_domain::subscription::FieldError;

/// The texts by name.
pub(crate) type Texts = BTreeMap<String, String>;

/// Reads `T` from the texts whose names are its fields. All fields of `T` have defaults.
///
/// # Errors
///
/// The first text that its field refuses.
pub(crate) fn read<T: DeserializeOwned>(texts: &Texts) -> Result<T, FieldError> {
    let (value, mut errors) = read_all(texts)?;
    if errors.is_empty() { Ok(value) } else { Err(errors.swap_remove(0)) }
}

/// The same without those that are refused, and their errors.
///
/// # Errors
///
/// A field that has no default.
pub(crate) fn read_all<T: DeserializeOwned>(
    texts: &Texts,
) -> Result<(T, Vec<FieldError>), FieldError> {
    let own = texts.iter().filter(|(name, _)| fields::<T>().contains(&name.as_str()));
    let (mut accepted, mut errors) = (Vec::new(), Vec::new());
    for (name, text) in own {
        match from_texts::<T>(&[(name, text)]) {
            Ok(_) => accepted.push((name.as_str(), text.as_str())),
            Err(error) => errors.push(FieldError::new(name.as_str(), error)),
        }
    }
    let value = from_texts(&accepted).map_err(|error| FieldError::new("", error))?;
    Ok((value, errors))
}

fn from_texts<T: DeserializeOwned>(texts: &[(&str, &str)]) -> Result<T, Error> {
    T::deserialize(MapDeserializer::<_, Error>::new(texts.iter().copied()))
}

/// The names of the fields of a struct.
pub(crate) fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &[&str] = &[];
    // Ends with an error as soon as it has seen the names.
    drop(T::deserialize(Fields(&mut fields)));
    fields
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("only the names"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("no struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
