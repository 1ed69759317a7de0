//! Lists of ports: `443`, `8000-8999`.

use std::ops::RangeInclusive;

use homing_domain::settings::SettingsError;

/// Ports, as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contain(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

/// Reads the ports of the setting `key`.
pub(super) fn read(key: &str, texts: &[String]) -> Result<Ports, SettingsError> {
    let range = |text: &String| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (1 <= first && first <= last).then_some(first..=last)
    };
    let ranges = texts.iter().map(|text| {
        range(text).ok_or_else(|| {
            let message = format!("`{text}` is no port (\"443\") and no range (\"8000-8999\")");
            SettingsError::value(key, message)
        })
    });
    ranges.collect::<Result<_, _>>().map(Ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(texts: &[&str]) -> Option<Ports> {
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        read("endpoint.allow_ports", &texts).ok()
    }

    #[test]
    fn ports_and_ranges_are_read() {
        let some = ports(&["443", "8000-8999", "65535"]).unwrap();
        let inside = [443, 8_000, 8_500, 8_999, 65_535];
        assert!(inside.iter().all(|port| some.contain(*port)));
        assert!([1, 442, 444, 7_999, 9_000].iter().all(|port| !some.contain(*port)));
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in ["", "0", "0-10", "9-1", "65536", "https", "1-2-3", "-1", "80,"] {
            assert_eq!(ports(&[text]), None, "{text}");
        }
    }
}
