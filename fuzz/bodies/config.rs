//! Any settings are read or refused with a sentence; what is read can be shown without a panic.

use homing::config::Settings;

/// Reads settings.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Settings::from_toml(text) {
        Ok(settings) => assert!(!settings.shown().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
