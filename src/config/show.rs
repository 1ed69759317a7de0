//! The settings in force, for people, with secrets masked.

use serde_json::Value;

use super::Settings;

/// `section.key = value` lines; a TOML reader takes them back, the masks aside.
pub(super) fn lines(settings: &Settings) -> String {
    let mut masked = settings.clone();
    masked.broker.url = masked_urls(&masked.broker.url);
    masked.broker.management_url = masked_url(&masked.broker.management_url);
    masked.store.url = masked_url(&masked.store.url);
    let streams = masked.source.livestream.values_mut().map(|stream| &mut stream.client_secret);
    let streams = streams.filter(|secret| !secret.is_empty());
    let secrets = masked.api.tokens.iter_mut().chain(&mut masked.store.encryption_keys);
    secrets.chain(streams).for_each(|secret| "****".clone_into(secret));
    let mut lines = String::new();
    // Settings are plain data; a failure here would be one of serde.
    let value = serde_json::to_value(masked).unwrap_or_default();
    write_value(&mut lines, "", &value);
    lines
}

fn write_value(lines: &mut String, path: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                write_value(lines, &format!("{path}{dot}{key}"), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            lines.extend([path, " = ", &value.to_string(), "\n"]);
        }
    }
}

fn masked_urls(urls: &str) -> String {
    let masked: Vec<_> = urls.split_whitespace().map(masked_url).collect();
    masked.join(" ")
}

fn masked_url(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (user_info, host))) => {
            let user = user_info.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:****@{host}")
        }
        None => url.to_owned(),
    }
}
