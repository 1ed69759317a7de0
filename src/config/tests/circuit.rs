//! Errors in `[circuit]`.

use crate::config::Settings;
use homing_domain::circuit::CircuitRules;
use homing_domain::report::Chain;

#[test]
fn the_defaults_are_the_published_figures() {
    let settings = Settings::from_toml("").unwrap();
    assert_eq!(settings.circuit.rules().unwrap(), CircuitRules::default());
}

#[test]
fn figures_that_make_no_sense_name_their_key() {
    let error = |line: &str| {
        let settings = Settings::from_toml(&format!("[circuit]\n{line}"));
        Chain(&settings.unwrap_err()).to_string()
    };
    insta::assert_snapshot!(error("open_above_percent = 101"), @"`circuit.open_above_percent`: at most 100");
    insta::assert_snapshot!(error("open_at_consecutive_failures = 0"), @"`circuit.open_at_consecutive_failures`: at least 1");
    insta::assert_snapshot!(error("rate_window_attempts = 100"), @"`circuit.rate_window_attempts`: more than `open_above_attempts`, or the failure rate is never applied");
    insta::assert_snapshot!(error("probe_interval = \"0s\""), @"`circuit.probe_interval`: between 1ms and 30 days");
    insta::assert_snapshot!(error("probe_interval = 600"), @r#"`circuit.probe_interval`: invalid value: string "600", expected a duration; for example "10m""#);
    insta::assert_snapshot!(error("freeze_at_consecutive_failures = 10"), @"`circuit.freeze_at_consecutive_failures`: at least `open_at_consecutive_failures`: only an open circuit freezes");
    insta::assert_snapshot!(error("freeze_above_consecutive_failures = -1"), @"`circuit.freeze_above_consecutive_failures`: invalid type: 64-bit integer `-1`, expected an unsigned 64 bit or less integer; for example 2000");
}
