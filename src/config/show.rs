//! The settings in force, with secrets masked.

use serde_json::Value;
use url::Url;

use super::Settings;

/// `section.key = value` lines, which are valid TOML.
pub(super) fn lines(settings: &Settings) -> String {
    let mut masked = settings.clone();
    masked.broker.url = masked_urls(&masked.broker.url);
    masked.broker.management_url = masked_url(&masked.broker.management_url);
    masked.store.url = masked_url(&masked.store.url);
    masked.endpoint.proxy = masked_url(&masked.endpoint.proxy);
    masked.traces.collector = without_secrets(&masked.traces.collector);
    for stream in masked.source.livestream.values_mut() {
        for url in [&mut stream.url, &mut stream.token_url] {
            if let Ok(masked) = without_secrets(url.as_str()).parse() {
                *url = masked;
            }
        }
    }
    let headers = Some(&mut masked.traces.headers).filter(|headers| !headers.is_empty());
    let streams = masked.source.livestream.values_mut().map(|stream| &mut stream.client_secret);
    let streams = streams.filter(|secret| !secret.is_empty());
    let secrets = masked.api.tokens.iter_mut().chain(&mut masked.store.encryption_keys);
    secrets.chain(streams).chain(headers).for_each(|secret| "****".clone_into(secret));
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

/// The lines of [`lines`] that hold a secret, the secret included.
pub(super) fn secrets(settings: &Settings) -> Vec<String> {
    let mut plain = String::new();
    write_value(&mut plain, "", &serde_json::to_value(settings).unwrap_or_default());
    let masked = lines(settings);
    let both = plain.lines().zip(masked.lines());
    both.filter(|(plain, masked)| plain != masked).map(|(plain, _)| plain.to_owned()).collect()
}

/// True if the value of `key` may hold a secret.
pub(super) fn is_secret(key: &str) -> bool {
    const SECRET: [&str; 8] = [
        "api.tokens",
        "broker.management_url",
        "broker.url",
        "endpoint.proxy",
        "store.encryption_keys",
        "store.url",
        "traces.collector",
        "traces.headers",
    ];
    let key = key.split('[').next().unwrap_or_default();
    SECRET.contains(&key)
        || key.starts_with("source.livestream.")
            && ["url", "client_secret"].iter().any(|name| key.ends_with(name))
}

/// A URL without its user, password and query, any of which may hold a key.
fn without_secrets(url: &str) -> String {
    let Ok(mut parsed) = url.parse::<Url>() else { return url.to_owned() };
    let hidden = "****";
    let mut is_masked = false;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let has_password = parsed.password().is_some().then_some(hidden);
        is_masked =
            parsed.set_username(hidden).is_ok() && parsed.set_password(has_password).is_ok();
    }
    if parsed.query().is_some() {
        parsed.set_query(Some(hidden));
        is_masked = true;
    }
    if is_masked { parsed.into() } else { url.to_owned() }
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
