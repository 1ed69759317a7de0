//! Settings that are one of a few words.

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, Error,
        value::{Error as WordError, StringDeserializer},
    },
};

/// For `#[serde(deserialize_with)]` of an enum without fields; the error names the words that there
/// are, and no type.
///
/// # Errors
///
/// No text, or another word.
pub fn word<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let text = String::deserialize(deserializer)?;
    T::deserialize(StringDeserializer::<WordError>::new(text)).map_err(|error| {
        D::Error::custom(error.to_string().replacen("unknown variant", "unknown value", 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }

    #[derive(Debug, Deserialize)]
    struct Section {
        #[serde(deserialize_with = "word")]
        kind: Kind,
    }

    #[test]
    fn an_error_names_the_words() {
        assert_eq!(toml::from_str::<Section>("kind = \"two\"").unwrap().kind, Kind::Two);
        assert_eq!(toml::from_str::<Section>("kind = \"one\"").unwrap().kind, Kind::One);
        let error = toml::from_str::<Section>("kind = \"three\"").unwrap_err();
        assert_eq!(error.message(), "unknown value `three`, expected `one` or `two`");
    }
}
