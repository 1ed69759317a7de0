//! Any filters are read or refused, and those that are read judge any body.
//!
//! Data: filters as JSON, a line break, a body.

use homing_domain::filter::{Budget, Connector, EventStates, FilterSet};

/// So that every run ends soon.
const STEPS: u64 = 1_000_000;

/// Reads filters, writes them and reads them again: both judge alike.
pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(filters), Some(body)) = (parts.next(), parts.next()) else { return };
    let Ok(serde_json::Value::Array(filters)) = serde_json::from_slice(filters) else { return };
    for connector in [Connector::And, Connector::Or] {
        let Ok(filters) = FilterSet::from_json(&filters, connector) else { continue };
        let Ok(event) = EventStates::read(body, None) else { continue };
        let written = filters.to_json();
        let again = FilterSet::from_json(&written, connector).expect("what was written is read");
        let judged = filters.matches(&event, &mut Budget::new(STEPS));
        assert_eq!(judged, again.matches(&event, &mut Budget::new(STEPS)));
        if let Ok(frugal) = filters.matches(&event, &mut Budget::new(20)) {
            assert_eq!(judged, Ok(frugal));
        }
    }
}
