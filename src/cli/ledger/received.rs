//! The log of a receiver: a line for each request that it has answered with 2xx.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
};

use crate::cli::failure::Failure;
use homing_domain::{
    id::DeliveryId,
    ledger::Checksum,
    time::{UnixMillis, hour_of},
};

/// Lines at most, of which each takes 16 bytes of memory, and their length.
const MAX_LINES: usize = 10_000_000;
const MAX_LINE_BYTES: u64 = 64 * 1_024;

/// The names of a line's members in JSON.
const IDS: [&str; 3] = ["webhook-id", "webhook_id", "id"];
const TIMES: [&str; 4] = ["webhook-timestamp", "webhook_timestamp", "timestamp", "time"];

/// The ids by hour.
#[derive(Debug, Default)]
pub(super) struct Received(pub(super) BTreeMap<UnixMillis, Vec<DeliveryId>>);

impl Received {
    /// Reads a file.
    pub(super) async fn read(path: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Usage(format!("{path}: {error}"));
        let mut lines = BufReader::new(File::open(path).await.map_err(failed)?);
        let mut received = Self::default();
        for number in 1.. {
            let mut line = String::new();
            let read = (&mut lines).take(MAX_LINE_BYTES).read_line(&mut line).await;
            if read.map_err(failed)? == 0 {
                return Ok(received);
            }
            if number > MAX_LINES {
                let text = format!("{path}: more than {MAX_LINES} lines; compare a part of it");
                return Err(Failure::Usage(text));
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (id, hour) =
                parse(line).map_err(|why| Failure::Usage(format!("{path}:{number}: {why}")))?;
            received.0.entry(hour).or_default().push(id);
        }
        Ok(received)
    }

    /// The figures of an hour.
    pub(super) fn checksum(&self, hour: UnixMillis) -> Checksum {
        let mut checksum = Checksum::default();
        for id in self.0.get(&hour).into_iter().flatten() {
            checksum.add(*id);
        }
        checksum
    }
}

/// Id and hour of a line: `webhook-id time`, or an object in JSON.
fn parse(line: &str) -> Result<(DeliveryId, UnixMillis), String> {
    let (id, time) = if line.starts_with('{') {
        let members: Value = serde_json::from_str(line).map_err(|_| "not JSON")?;
        let member = |names: &[&str]| {
            let found = names.iter().find_map(|name| members.get(*name))?;
            Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
        };
        let id = member(&IDS).ok_or("no member `webhook-id`")?;
        (id, member(&TIMES).ok_or("no member `webhook-timestamp`")?)
    } else {
        let separators = [' ', '\t', ',', ';'];
        let mut words = line.split(separators).filter(|word| !word.is_empty());
        let form = "write `webhook-id webhook-timestamp`, or both as members in JSON";
        let (id, time) = (words.next().ok_or(form)?, words.next().ok_or(form)?);
        (id.to_owned(), time.to_owned())
    };
    let id = id.trim_matches('"').parse().map_err(|error| format!("{error}"))?;
    Ok((id, hour_of(instant(time.trim_matches('"'))?)))
}

/// Seconds since 1970, as in the header, or RFC 3339.
fn instant(text: &str) -> Result<UnixMillis, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        // Nothing was sent in 2286 or later.
        return if (0..10_000_000_000).contains(&seconds) {
            Ok(UnixMillis::new(seconds.saturating_mul(1_000)))
        } else {
            Err(format!("`{text}` is no `webhook-timestamp`, which is in seconds"))
        };
    }
    let instant = text.parse::<Timestamp>();
    let instant = instant.map_err(|_| format!("`{text}` is neither seconds nor RFC 3339"))?;
    Ok(UnixMillis::new(instant.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4af58915-c050-5639-8c8e-8e62bb5a3d8e";

    #[test]
    fn lines_are_read_in_either_form() {
        let hour = UnixMillis::new(1_699_999_200_000);
        for line in [
            &format!("{ID} 1700000000"),
            &format!("\"{ID}\",1700000000,200"),
            &format!("{ID}\t2023-11-14T22:13:20Z"),
            &format!("{{\"webhook-id\": \"{ID}\", \"webhook-timestamp\": \"1700000000\"}}"),
            &format!("{{\"id\": \"{ID}\", \"timestamp\": 1700000000}}"),
        ] {
            assert_eq!(parse(line), Ok((ID.parse().unwrap(), hour)), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let error = |line: &str| parse(line).unwrap_err();
        insta::assert_snapshot!(error("x 1"), @"`x` is not a delivery id (the UUID that is sent as `webhook-id`)");
        insta::assert_snapshot!(error(ID), @"write `webhook-id webhook-timestamp`, or both as members in JSON");
        insta::assert_snapshot!(error(&format!("{ID} now")), @"`now` is neither seconds nor RFC 3339");
        insta::assert_snapshot!(error(&format!("{ID} 1700000000000")), @"`1700000000000` is no `webhook-timestamp`, which is in seconds");
        insta::assert_snapshot!(error("{\"id\": \"x\"}"), @"no member `webhook-timestamp`");
        insta::assert_snapshot!(error("{"), @"not JSON");
    }
}
