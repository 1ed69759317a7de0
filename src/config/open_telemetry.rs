//! The variables that configure OpenTelemetry in any program, as settings of homing.
//!
//! Source: OpenTelemetry, *Environment Variable Specification* and *OTLP Exporter Configuration*.

use config::{ConfigError, Environment, Source};

/// Settings, with the variables that are read for them.
const VARIABLES: [(&str, &str); 4] = [
    ("traces.collector", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("traces.headers", "OTEL_EXPORTER_OTLP_HEADERS"),
    ("traces.service_name", "OTEL_SERVICE_NAME"),
    ("traces.resource_attributes", "OTEL_RESOURCE_ATTRIBUTES"),
];
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// Those of this process. An empty one counts as absent.
pub(super) fn variables() -> Environment {
    Environment::with_prefix("OTEL").keep_prefix(true).ignore_empty(true)
}

/// The settings for which there are `variables`; none while the SDK is to be disabled.
pub(super) fn settings(
    variables: &Environment,
) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let variables = variables.collect()?;
    let value = |name: &str| variables.get(&name.to_lowercase()).map(ToString::to_string);
    if value(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(Vec::new());
    }
    Ok(VARIABLES.iter().filter_map(|(key, name)| Some((*key, value(name)?))).collect())
}

/// The variable that is read for a setting.
pub(super) fn variable(key: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|(one, _)| *one == key).map(|(_, variable)| *variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULTS, Settings, SettingsError, layers::Layer};
    use homing_domain::report::Chain;

    /// The settings by these variables and a file with this text.
    fn read(set: &[(&str, &str)], file: &str) -> Result<Settings, SettingsError> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables = Layer::open_telemetry(&variables().source(Some(set.collect())))?;
        Settings::of(vec![Layer::text(DEFAULTS)?, variables, Layer::text(file)?])
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
    fn errors_name_the_variable_and_no_secret() {
        let error = |name: &'static str, value: &'static str| {
            Chain(&read(&[(name, value)], "").unwrap_err()).to_string()
        };
        insta::assert_snapshot!(error("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4317"), @"`traces.collector` (OTEL_EXPORTER_OTLP_ENDPOINT): write it as http://127.0.0.1:4318, or https://…; empty: no traces");
        insta::assert_snapshot!(error("OTEL_EXPORTER_OTLP_HEADERS", "Bearer hidden"), @"`traces.headers` (OTEL_EXPORTER_OTLP_HEADERS): write them as name=value,name=value; a comma in a value is %2C");
        insta::assert_snapshot!(error("OTEL_EXPORTER_OTLP_HEADERS", "a key=hidden"), @"`traces.headers` (OTEL_EXPORTER_OTLP_HEADERS): write them as name=value,name=value; a comma in a value is %2C");
        insta::assert_snapshot!(error("OTEL_RESOURCE_ATTRIBUTES", "production"), @"`traces.resource_attributes` (OTEL_RESOURCE_ATTRIBUTES): write them as name=value,name=value; a comma in a value is %2C");
    }

    #[test]
    fn headers_are_not_shown() {
        let shown = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hidden")], "").unwrap().shown();
        assert!(shown.contains("traces.headers = \"****\"\n"), "{shown}");
    }
}
