//! Any value of `Retry-After` is a time or none.
//!
//! Data: eight bytes with the present time in Unix ms, the value.

use homing_delivery::endpoint::retry_after;
use homing_domain::time::UnixMillis;

/// Reads a value. Whole seconds are exactly as many.
pub(crate) fn run(data: &[u8]) {
    let Some((now, value)) = data.split_first_chunk::<8>() else { return };
    let wait = retry_after(value, UnixMillis::new(i64::from_be_bytes(*now)));
    let digits = std::str::from_utf8(value).ok().filter(|text| {
        (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    });
    if let Some(seconds) = digits.and_then(|digits| digits.parse().ok()) {
        assert_eq!(wait.map(|wait| wait.as_secs()), Some(seconds));
    }
}
