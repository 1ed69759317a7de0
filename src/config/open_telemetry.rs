//! The variables that configure OpenTelemetry in any program, as settings of homing.
//!
//! A malformed one is ignored with a warning: it is meant for other programs, too, and ends none.
//!
//! Source: OpenTelemetry, *Environment Variable Specification* ("generate a warning and gracefully
//! ignore the setting"), *Resource SDK* ("the entire environment variable value SHOULD be
//! discarded"), and *OTLP Exporter Configuration*.

use std::ffi::OsString;

use homing_delivery::settings::TracesSettings;
use homing_domain::settings::SettingsError;

type Field = fn(&mut TracesSettings) -> &mut String;

/// Settings, with the variables that are read for them.
const VARIABLES: [(&str, &str, Field); 4] = [
    ("traces.collector", "OTEL_EXPORTER_OTLP_ENDPOINT", |traces| &mut traces.collector),
    ("traces.headers", "OTEL_EXPORTER_OTLP_HEADERS", |traces| &mut traces.headers),
    ("traces.service_name", "OTEL_SERVICE_NAME", |traces| &mut traces.service_name),
    ("traces.resource_attributes", "OTEL_RESOURCE_ATTRIBUTES", |traces| {
        &mut traces.resource_attributes
    }),
];
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// A variable that is ignored because it is malformed. Its value may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredVariable {
    /// Its name.
    pub name: &'static str,
    /// The right form.
    pub message: String,
}

/// The settings for which there are variables, found by their names with `variable`; none while the
/// SDK is to be disabled. Beside them, the variables that are ignored. An empty one counts as absent.
pub(super) fn settings(
    variable: impl Fn(&str) -> Option<OsString>,
) -> (Vec<(&'static str, String)>, Vec<IgnoredVariable>) {
    let (mut settings, mut ignored) = (Vec::new(), Vec::new());
    let mut ignore = |name, message| ignored.push(IgnoredVariable { name, message });
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    match variable(DISABLED).map(|value| value.to_ascii_lowercase()) {
        Some(value) if value == "true" => return (settings, ignored),
        Some(value) if value != "false" => ignore(DISABLED, "write true or false".to_owned()),
        Some(_) | None => {}
    }
    for (key, name, field) in VARIABLES {
        match variable(name).map(|value| checked(value, field)) {
            Some(Ok(value)) => settings.push((key, value)),
            Some(Err(message)) => ignore(name, message),
            None => {}
        }
    }
    (settings, ignored)
}

/// The value, where it is a sound one for this field; else the right form.
fn checked(value: OsString, field: Field) -> Result<String, String> {
    let value = value.into_string().map_err(|_| "write it in UTF-8".to_owned())?;
    let mut traces = TracesSettings::default();
    field(&mut traces).clone_from(&value);
    traces.check().map(|()| value).map_err(|error| {
        if let SettingsError::Value { message, .. } = error { message } else { error.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::ffi::OsStringExt};

    use super::*;
    use crate::config::{Settings, layers::Layer};

    /// The settings by these variables and a file with this text.
    fn read(set: &[(&str, &str)], file: &str) -> Result<Settings, SettingsError> {
        let set: BTreeMap<_, _> = set.iter().copied().collect();
        let variable = |name: &str| set.get(name).map(OsString::from);
        Settings::with_variables(variable, vec![Layer::text(file)?])
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");

    #[test]
    fn each_variable_is_read() {
        let set = [
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "API-Key=a%2Cb%3D, x-tenant = 7,"),
            ("OTEL_SERVICE_NAME", "webhooks"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test"),
            ("OTEL_TRACES_SAMPLER_ARG", "not read"),
        ];
        let traces = read(&set, "").unwrap().traces;
        assert_eq!(traces.target().unwrap().unwrap().as_str(), "http://127.0.0.1:4318/v1/traces");
        let headers = traces.headers().unwrap();
        assert_eq!(
            (&headers["api-key"], &headers["x-tenant"]),
            (&"a,b=".parse().unwrap(), &"7".parse().unwrap())
        );
        let resource = traces.resource().unwrap();
        assert_eq!(resource["service.name"], "webhooks");
        assert_eq!(resource["deployment.environment.name"], "test");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_name_may_be_among_the_attributes() {
        let named = |set: &[(&str, &str)]| {
            read(set, "").unwrap().traces.resource().unwrap()["service.name"].clone()
        };
        assert_eq!(named(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=other")]), "other");
        assert_eq!(named(&[("OTEL_RESOURCE_ATTRIBUTES", ""), ("OTEL_SERVICE_NAME", "")]), "homing");
    }

    #[test]
    fn settings_of_homing_win() {
        let collector = |file: &str| read(&[ENDPOINT], file).unwrap().traces.collector;
        let other = "http://127.0.0.1:9";
        assert_eq!(collector(&format!("traces.collector = \"{other}\"")), other);
        assert_eq!(collector("traces.collector = \"\""), "");
    }

    #[test]
    fn a_disabled_sdk_hears_nothing_and_keeps_what_is_set() {
        let disabled = |value: &'static str| [ENDPOINT, ("OTEL_SDK_DISABLED", value)];
        assert_eq!(read(&disabled("True"), "").unwrap().traces.collector, "");
        let set = read(&disabled("true"), "traces.collector = \"http://127.0.0.1:9\"").unwrap();
        assert_eq!(set.traces.collector, "http://127.0.0.1:9");
        assert_eq!(read(&disabled("1"), "").unwrap().traces.collector, ENDPOINT.1);
    }

    #[test]
    fn a_malformed_variable_is_ignored_and_named_without_its_value() {
        let ignored = |name: &'static str, value: &'static str| {
            let settings = read(&[("OTEL_SERVICE_NAME", "webhooks"), (name, value)], "").unwrap();
            assert_eq!(settings.traces.service_name, "webhooks", "{name}: only it is ignored");
            assert_eq!(settings.traces.collector, "");
            let [ignored] = settings.ignored.try_into().unwrap();
            let IgnoredVariable { name, message } = ignored;
            format!("{name}: {message}")
        };
        insta::assert_snapshot!(ignored("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4317"), @"OTEL_EXPORTER_OTLP_ENDPOINT: write it as http://127.0.0.1:4318, or https://…; empty: no traces");
        insta::assert_snapshot!(ignored("OTEL_EXPORTER_OTLP_HEADERS", "Bearer hidden"), @"OTEL_EXPORTER_OTLP_HEADERS: write them as name=value,name=value; a comma in a value is %2C");
        insta::assert_snapshot!(ignored("OTEL_EXPORTER_OTLP_HEADERS", "a key=hidden"), @"OTEL_EXPORTER_OTLP_HEADERS: write them as name=value,name=value; a comma in a value is %2C");
        insta::assert_snapshot!(ignored("OTEL_RESOURCE_ATTRIBUTES", "production"), @"OTEL_RESOURCE_ATTRIBUTES: write them as name=value,name=value; a comma in a value is %2C");
        insta::assert_snapshot!(ignored("OTEL_SDK_DISABLED", "1"), @"OTEL_SDK_DISABLED: write true or false");
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_ignored() {
        let variable = |name: &str| (name == ENDPOINT.0).then(|| OsString::from_vec(vec![0xff]));
        let settings = Settings::with_variables(variable, Vec::new()).unwrap();
        let message = "write it in UTF-8".to_owned();
        assert_eq!(settings.ignored, [IgnoredVariable { name: ENDPOINT.0, message }]);
    }

    #[test]
    fn headers_are_not_shown() {
        let shown = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hidden")], "").unwrap().shown();
        assert!(shown.contains("traces.headers = \"****\"\n"), "{shown}");
    }
}
