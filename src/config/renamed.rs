//! Former names of settings, read with a warning, and settings that have no effect any more.

use config::{Map, Value};

use super::tables::fields;

/// The former name, and the name.
const RENAMED: &[(&str, &str)] = &[
    ("attempts.rows_max", "attempts.max_rows"),
    ("circuit.freeze_above_failures_in_a_row", "circuit.freeze_above_consecutive_failures"),
    ("circuit.freeze_at_failures_in_a_row", "circuit.freeze_at_consecutive_failures"),
    ("circuit.open_at_failures_in_a_row", "circuit.open_at_consecutive_failures"),
    ("endpoint.busy_wait", "endpoint.permit_wait"),
    ("endpoint.concurrency_max", "endpoint.max_concurrency"),
    ("endpoint.response_bytes_max", "endpoint.max_response_bytes"),
    ("source.backoff_max", "source.max_backoff"),
    ("source.idle_max", "source.max_idle"),
    ("source.recent_ids_max", "source.max_recent_ids"),
    ("source.record_bytes_max", "source.max_record_bytes"),
    ("source.unconfirmed_max", "source.max_unconfirmed"),
    ("store.connections_max", "store.max_connections"),
    ("worker.event_bytes_max", "worker.max_event_bytes"),
    ("worker.fan_out_inline_max", "worker.max_fan_out_inline"),
    ("worker.in_flight_bytes_max", "worker.max_in_flight_bytes"),
    ("worker.in_flight_max", "worker.max_in_flight"),
];

/// Settings that there were, and that have no effect any more.
const REMOVED: &[&str] = &["broker.publish_channels"];

/// A setting that is written with its former name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// `section.key` with its former name.
    pub former: &'static str,
    /// `section.key` with its present name; `None`: it has no effect any more.
    pub name: Option<&'static str>,
}

/// Renames settings of `root` that have a former name, and removes those that have no effect any
/// more; returns them.
///
/// # Errors
///
/// A former name beside the name, and what is wrong with that.
pub(super) fn rename(root: &mut Value) -> Result<Vec<Renamed>, (&'static str, String)> {
    let mut found = Vec::new();
    for (former, name) in RENAMED {
        let Some((section, value)) = take(root, former) else { continue };
        let key = name.rsplit('.').next().unwrap_or(name);
        if section.insert(key.to_owned(), value).is_some() {
            return Err((former, format!("is the former name of `{name}`; remove it")));
        }
        found.push(Renamed { former, name: Some(name) });
    }
    for former in REMOVED {
        if take(root, former).is_some() {
            found.push(Renamed { former, name: None });
        }
    }
    Ok(found)
}

/// Removes the setting `section.key`; returns its section and its value.
fn take<'a>(root: &'a mut Value, setting: &str) -> Option<(&'a mut Map<String, Value>, Value)> {
    let (section, key) = setting.split_once('.')?;
    let section = fields(fields(root)?.get_mut(section)?)?;
    let value = section.remove(key)?;
    Some((section, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use homing_domain::report::Chain;

    #[test]
    fn a_former_name_is_read_and_named() {
        let settings = Settings::from_toml("[worker]\nin_flight_max = 64").unwrap();
        assert_eq!(settings.worker.max_in_flight, 64);
        let name = Some("worker.max_in_flight");
        let expected = Renamed { former: "worker.in_flight_max", name };
        assert_eq!(settings.renamed, [expected]);
        assert_eq!(Settings::from_toml("").unwrap().renamed, []);
    }

    #[test]
    fn what_has_no_effect_any_more_is_read_and_named() {
        let settings = Settings::from_toml("[broker]\npublish_channels = 64").unwrap();
        let expected = Renamed { former: "broker.publish_channels", name: None };
        assert_eq!(settings.renamed, [expected]);
    }

    #[test]
    fn every_new_name_is_a_setting() {
        let shown = Settings::from_toml("").unwrap().shown();
        for (_, name) in RENAMED {
            assert!(shown.contains(&format!("{name} = ")), "{name}");
        }
    }

    #[test]
    fn both_names_at_once_are_refused() {
        let both = "[worker]\nin_flight_max = 64\nmax_in_flight = 64";
        let error = Settings::from_toml(both).unwrap_err();
        insta::assert_snapshot!(Chain(&error), @"`worker.in_flight_max`: is the former name of `worker.max_in_flight`; remove it");
    }

    #[test]
    fn a_wrong_value_is_named_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("homing.toml");
        let error = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let error = Settings::load(Some(&file), &[]).unwrap_err();
            Chain(&error).to_string().replace(&format!("{}/", folder.path().display()), "")
        };
        insta::assert_snapshot!(error("[worker]\nin_flight_max = 1"), @"`worker.max_in_flight` (homing.toml, as `worker.in_flight_max`): between 2 and 100000");
        insta::assert_snapshot!(error("[worker]\nin_flight_max = 9\nmax_in_flight = 9"), @"`worker.in_flight_max` (homing.toml): is the former name of `worker.max_in_flight`; remove it");
    }
}
