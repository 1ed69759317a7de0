//! The parameters of a query.

use std::fmt::Display;

use reqwest::Url;

use homing_domain::time::UnixMillis;

/// Names and values, each encoded where it is sent.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// The same with another one, if it is given.
    pub(in crate::cli) fn with(mut self, name: &'static str, value: Option<impl Display>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// The same with an instant, in ISO 8601.
    pub(in crate::cli) fn at(self, name: &'static str, instant: Option<UnixMillis>) -> Self {
        self.with(name, instant)
    }

    /// The same with a parameter that is either there or not.
    pub(in crate::cli) fn flag(self, name: &'static str, is_set: bool) -> Self {
        self.with(name, is_set.then_some(true))
    }

    pub(super) fn add_to(&self, url: &mut Url) {
        if !self.0.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_not_sent() {
        let mut url: Url = "https://a/v1/attempts".parse().unwrap();
        Parameters::default().add_to(&mut url);
        assert_eq!(url.as_str(), "https://a/v1/attempts");
        Parameters::default()
            .with("url", Some("https://b/?c=1&d"))
            .with("event", None::<&str>)
            .at("since", Some(UnixMillis::new(7)))
            .flag("parked", true)
            .flag("force", false)
            .add_to(&mut url);
        let expected = "https://a/v1/attempts?url=https%3A%2F%2Fb%2F%3Fc%3D1%26d&since=1970-01-01T00%3A00%3A00.007Z&parked=true";
        assert_eq!(url.as_str(), expected);
    }
}
