//! Addresses in settings, with readable errors.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de::Error};
use url::Url;

use crate::url::in_words;

/// A URL. For `#[serde(deserialize_with)]`.
///
/// # Errors
///
/// Not a text, or not a URL.
pub fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    Url::parse(&text)
        .map_err(|error| D::Error::custom(format_args!("not a URL: {}", in_words(error))))
}

/// An address with a port. For `#[serde(deserialize_with)]`.
///
/// # Errors
///
/// Not a text, or not such an address.
pub fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        D::Error::custom(format_args!("`{shown}` is no address with a port"))
    })
}
