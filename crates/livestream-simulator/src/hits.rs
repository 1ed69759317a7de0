//! Records like the service's: about 1.9 kB of JSON, with ids above 2^53.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{KEPT, Rate};
use homing_domain::clock;

/// Makes records with consecutive ids.
#[derive(Debug)]
pub(super) struct Hits {
    rate: Rate,
    begun: Option<Instant>,
    made: u64,
}

/// `hitIdHigh` of every record.
const HIGH: u64 = 2_948_027_281_753_079_808;
/// `hitIdLow` of the first one.
const LOW: u64 = 4_948_646_782_672_000_000;

const REPORT_SUITES: [&str; 3] = ["examplecomprod", "exampleshop", "exampleapp"];
const PAGES: [&str; 4] = ["Home", "Mens Black Running Shoes", "Cart", "Checkout: Payment"];
const CITIES: [&str; 4] = ["paris", "lehi", "san jose", "basel"];

impl Hits {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, begun: None, made: 0 }
    }

    /// The records due now, at most `most`. `speed`: seconds of the service per real second.
    pub(super) fn due(&mut self, most: usize, speed: u32) -> Vec<Bytes> {
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        let due = match self.rate {
            Rate::Nothing => 0,
            Rate::Unlimited => most,
            Rate::PerSecond(rate) => self.due_by(rate * f64::from(speed)).min(most),
        };
        (0..due).map(|_| self.make()).collect()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of records, of which fractions are not due yet; saturates"
    )]
    fn due_by(&mut self, rate: f64) -> u64 {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let by_now = (begun.elapsed().as_secs_f64() * rate) as u64;
        let kept = (KEPT.as_secs_f64() * rate) as u64;
        // Records that were not read for too long are dropped.
        self.made = self.made.max(by_now.saturating_sub(kept));
        by_now.saturating_sub(self.made)
    }

    /// The time in which nothing becomes due; `None`: for ever.
    pub(super) fn pause(&self, speed: u32) -> Option<Duration> {
        const SHORTEST: Duration = Duration::from_millis(5);
        match self.rate {
            Rate::Nothing => None,
            Rate::Unlimited => Some(SHORTEST),
            Rate::PerSecond(rate) => {
                let seconds = 1.0 / (rate * f64::from(speed));
                Some(Duration::try_from_secs_f64(seconds).unwrap_or(KEPT).max(SHORTEST))
            }
        }
    }

    fn make(&mut self) -> Bytes {
        let record = hit(self.made);
        self.made = self.made.saturating_add(1);
        record
    }
}

/// One of `choices`, cyclically.
fn choice<'a>(choices: &[&'a str], number: u64) -> &'a str {
    let index = number % u64::try_from(choices.len()).unwrap_or(1).max(1);
    choices.get(usize::try_from(index).unwrap_or(0)).copied().unwrap_or_default()
}

fn hit(number: u64) -> Bytes {
    let mut hit = String::with_capacity(2_048);
    // Writing to a string cannot fail.
    write_hit(&mut hit, number).unwrap_or_default();
    hit.into()
}

fn write_hit(hit: &mut String, number: u64) -> fmt::Result {
    let now = clock::now().seconds();
    let low = LOW.wrapping_add(number);
    let (suite, page) = (choice(&REPORT_SUITES, number), choice(&PAGES, number / 3));
    write!(
        hit,
        r#"{{"browser":"Google Chrome 140.0","browserHeight":1350,"browserWidth":820,"connectionType":"LAN/WiFi","currency":"USD","customVisId":"{visitor}","evars":{{"evars":{{"#,
        visitor = number % 1_000,
    )?;
    for evar in 1..=24_u64 {
        let value = number.wrapping_mul(evar).wrapping_mul(2_654_435_761) % 100_000_000;
        write!(hit, r#""evar{evar}":"campaign {value:08}","#)?;
    }
    write!(
        hit,
        r#""campaign":"DFA:{number}"}}}},"events":{{"event1":[{{"count":1,"exponent":0,"unique":""}}]}},"geoCity":"{city}","geoZip":"75001","hierarchies":{{"site-hier":{{"delim":58,"values":"home page:clothing:mens:shoes"}}}},"hitIdHigh":{HIGH},"hitIdLow":{low},"hitSource":1,"ip":"192.0.2.{address}","javaEnabled":true,"language":"English","mvvars":{{"1":{{"m":{{"values":["event_category:summer sale","event_type:click","source_platform:iOS"],"delim":44}}}}}},"operatingSystem":"Macintosh","pageName":"{page}","pageURL":"https://example.com/page{number}.html","products":[{{"category":"Clothing","evars":{{}},"events":{{"event61":[{{"count":3,"exponent":0,"unique":""}}]}},"name":"{page}","revenue":1799,"units":15}}],"receivedTimeGMT":{now},"referrer":"https://example.com/page{before}.html","reportSuite":"{suite}","searchEngine":"Google","service":"ss","timeGMT":{now},"transactionId":"","truncated":false,"userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36","usesPersistentCookie":1,"visIdHigh":1944017885723175213,"visIdLow":{low},"visIdType":3}}"#,
        city = choice(&CITIES, number / 7),
        address = number % 250,
        before = number.saturating_sub(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_json_of_the_usual_size_with_an_id_of_its_own() {
        let read = |number| -> serde_json::Value {
            let hit = hit(number);
            assert!((1_700..2_100).contains(&hit.len()), "{} bytes", hit.len());
            serde_json::from_slice(&hit).unwrap()
        };
        let (one, other) = (read(0), read(1));
        assert_eq!(one["hitIdLow"], LOW);
        assert_ne!(one["hitIdLow"], other["hitIdLow"]);
        assert_eq!(one["reportSuite"], "examplecomprod");
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_made_as_are_due() {
        let mut hits = Hits::new(Rate::PerSecond(2.0));
        assert_eq!(hits.due(100, 10).len(), 0);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(hits.due(15, 10).len(), 15);
        assert_eq!(hits.due(100, 10).len(), 5);
        assert_eq!(Hits::new(Rate::Nothing).due(9, 1).len(), 0);
        assert_eq!(Hits::new(Rate::Unlimited).due(9, 1).len(), 9);
    }
}
