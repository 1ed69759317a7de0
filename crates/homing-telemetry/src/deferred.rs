//! Deliveries that are put back without an attempt, summed for the log: a line for each would be more
//! than the rest of the log together.

use std::collections::HashMap;

use homing_domain::url::EndpointUrl;

/// URLs and reasons that are distinguished; of more there is one sum.
const MAX_SUMS: usize = 500;

/// Sums by URL and reason.
#[derive(Debug, Default)]
pub struct Sums {
    by: HashMap<(Option<EndpointUrl>, &'static str), Sum>,
}

/// Deliveries to one URL, put back for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Their number.
    pub deliveries: u64,
    /// The last error.
    pub error: Option<String>,
}

impl Sums {
    /// Adds a delivery that is put back because of `why`.
    pub fn add(&mut self, url: Option<&EndpointUrl>, why: &'static str, error: Option<String>) {
        let key = (url.cloned(), why);
        let is_known = self.by.contains_key(&key) || self.by.len() < MAX_SUMS;
        let sum = self.by.entry(if is_known { key } else { (None, why) }).or_default();
        sum.deliveries = sum.deliveries.saturating_add(1);
        sum.error = error.or(sum.error.take());
    }

    /// Takes what was added, the most deliveries first.
    pub fn take(&mut self) -> Vec<(Option<EndpointUrl>, &'static str, Sum)> {
        let sums = std::mem::take(&mut self.by).into_iter();
        let mut sums: Vec<_> = sums.map(|((url, why), sum)| (url, why, sum)).collect();
        sums.sort_by(|(one, why, a), (other, because, b)| {
            (b.deliveries, one, why).cmp(&(a.deliveries, other, because))
        });
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(number: usize) -> EndpointUrl {
        format!("https://example.com/{number}").parse().unwrap()
    }

    #[test]
    fn deliveries_are_summed_by_url_and_reason() {
        let mut sums = Sums::default();
        for _ in 0..3 {
            sums.add(Some(&url(1)), "the circuit is open", None);
        }
        sums.add(Some(&url(1)), "store unavailable", Some("refused".to_owned()));
        sums.add(Some(&url(1)), "store unavailable", None);
        let sum =
            |deliveries, error: Option<&str>| Sum { deliveries, error: error.map(str::to_owned) };
        let expected = [
            (Some(url(1)), "the circuit is open", sum(3, None)),
            (Some(url(1)), "store unavailable", sum(2, Some("refused"))),
        ];
        assert_eq!(sums.take(), expected);
        assert_eq!(sums.take(), []);
    }

    #[test]
    fn very_many_urls_have_one_sum_beyond_a_number() {
        let mut sums = Sums::default();
        for number in 0..MAX_SUMS + 7 {
            sums.add(Some(&url(number)), "the circuit is open", None);
        }
        let taken = sums.take();
        assert_eq!(taken.len(), MAX_SUMS + 1);
        assert_eq!((&taken[0].0, taken[0].2.deliveries), (&None, 7));
    }
}
