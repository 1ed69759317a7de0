//! The order of two values: numbers exactly, dates as instants, other texts by code point.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use crate::json::{Decimal, Json, Kind};

/// The order of `found` and `wanted`; `None` if they have none.
///
/// Numbers count as numbers also when written as strings (`"100"`, in JSON's syntax). Two strings
/// that are both dates are ordered as instants, any other two by their characters. A number and a
/// text have no order, nor has anything else.
pub(super) fn order(found: Json<'_>, wanted: &Value) -> Option<Ordering> {
    match found.kind() {
        Kind::Number => order_number(found.raw(), wanted),
        Kind::Text => {
            let text = found.text()?;
            order_number(&text, wanted).or_else(|| order_texts(&text, wanted))
        }
        Kind::Null | Kind::Bool | Kind::List | Kind::Object => None,
    }
}

/// The order of the number in `found` and the number in `wanted`; `None` if one of them is none.
///
/// Compares digits, so that ids above 2⁵³ and numbers of a hundred digits are exact. A number in a
/// filter that is no integer of 64 bits has become an `f64`: then a fraction is compared as one,
/// too, and `0.1` equals `0.1`.
pub(super) fn order_number(found: &str, wanted: &Value) -> Option<Ordering> {
    let number = Decimal::parse(found)?;
    match wanted {
        Value::Number(wanted) => match wanted.as_i128() {
            Some(wanted) => Some(number.cmp(&Decimal::parse(&wanted.to_string())?)),
            None => order_float(found, wanted.as_f64()?),
        },
        Value::String(text) => Decimal::parse(text).map(|wanted| number.cmp(&wanted)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Integers of 64 bits never pass through `f64`.
fn order_float(found: &str, wanted: f64) -> Option<Ordering> {
    let integer = found.parse::<u64>().map(i128::from);
    match integer.or_else(|_| found.parse::<i64>().map(i128::from)) {
        Ok(integer) => order_mixed(integer, wanted),
        Err(_) => found.parse::<f64>().ok()?.partial_cmp(&wanted),
    }
}

fn order_mixed(integer: i128, float: f64) -> Option<Ordering> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and every integer of 64 bits lies far within an i128"
    )]
    let whole = float.trunc() as i128;
    let rest = 0.0_f64.partial_cmp(&float.fract())?;
    Some(integer.cmp(&whole).then(rest))
}

fn order_texts(found: &str, wanted: &Value) -> Option<Ordering> {
    let wanted = wanted.as_str()?;
    match (instant(found), instant(wanted)) {
        (Some(found), Some(wanted)) => Some(found.cmp(&wanted)),
        (Some(_) | None, Some(_) | None) => Some(found.cmp(wanted)),
    }
}

/// Reads RFC 3339, `2022-12-11T16:00:00.000-0800`, and Workfront's variant with a colon before the
/// milliseconds, `2022-12-11T16:00:00:000-0800`. A date without an offset is no instant.
fn instant(text: &str) -> Option<Timestamp> {
    const UP_TO_SECONDS: usize = "2022-12-11T16:00:00".len();
    let with_point = || {
        let (seconds, rest) = text.split_at_checked(UP_TO_SECONDS)?;
        format!("{seconds}.{}", rest.strip_prefix(':')?).parse().ok()
    };
    text.parse().ok().or_else(with_point)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::Document;

    fn order(found: &Value, wanted: &Value) -> Option<Ordering> {
        let document = Document::new(found.to_string().into()).expect("JSON");
        super::order(document.root().expect("a value"), wanted)
    }

    #[test]
    fn values_are_ordered_by_what_they_are() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            (json!(9), json!(10), Some(Less)),
            (json!("9"), json!("10"), Some(Less)),
            (json!(9), json!("10.5"), Some(Less)),
            (json!("1e2"), json!(100), Some(Equal)),
            (json!("2022"), json!("10000"), Some(Less)),
            (json!("9 apples"), json!("10 apples"), Some(Greater)),
            (json!("B"), json!("a"), Some(Less)),
            (json!("9 apples"), json!(10), None),
            (json!(null), json!(0), None),
            (json!(true), json!(0), None),
            (json!("x"), json!(null), None),
            (json!([1]), json!([2]), None),
            (json!({}), json!("a"), None),
        ] {
            assert_eq!(order(&left, &right), expected, "{left} and {right}");
            let reverse = expected.map(Ordering::reverse);
            assert_eq!(order(&right, &left), reverse, "{right} and {left}");
        }
    }

    #[test]
    fn big_numbers_keep_every_digit() {
        let ascending = [
            json!(-1.5e300),
            json!(i64::MIN),
            json!(i64::MIN + 1),
            json!(-1),
            json!(-0.5),
            json!(0),
            json!(5e-324),
            json!(0.5),
            json!(1),
            json!(9_007_199_254_740_992_u64),
            json!(9_007_199_254_740_993_u64),
            json!("9007199254740994"),
            json!(i64::MAX),
            json!(9_223_372_036_854_775_808.0),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(1e300),
        ];
        for (left_at, left) in ascending.iter().enumerate() {
            for (right_at, right) in ascending.iter().enumerate() {
                assert_eq!(order(left, right), Some(left_at.cmp(&right_at)), "{left} and {right}");
            }
        }
        assert_eq!(order(&json!(0), &json!(-0.0)), Some(Ordering::Equal));
        assert_eq!(
            order(&json!(9_223_372_036_854_775_808_u64), &json!(2_f64.powi(63))),
            Some(Ordering::Equal)
        );
    }

    #[test]
    fn dates_are_instants_in_every_spelling() {
        for text in [
            "2022-12-11T16:00:00.000-0800",
            "2022-12-11T16:00:00:000-0800",
            "2022-12-11T16:00:00-08:00",
            "2022-12-11T16:00-08:00",
            "2022-12-12T00:00:00Z",
            "2022-12-12T01:00:00.000+01:00",
        ] {
            assert_eq!(
                instant(text).map(Timestamp::as_millisecond),
                Some(1_670_803_200_000),
                "{text}"
            );
        }
        for text in ["", "20221211", "1670803200000", "2022-12-11", "2022-12-11T16:00:00", "now"] {
            assert_eq!(instant(text), None, "{text}");
        }
        assert_eq!(instant("2022-12-11T16:00:0é:000-0800"), None);
    }

    #[test]
    fn a_date_and_another_text_are_ordered_as_texts() {
        let date = json!("2022-12-11T16:00:00.000-0800");
        assert_eq!(order(&date, &json!("2022-12-12")), Some(Ordering::Less));
        assert_eq!(order(&date, &json!("20221211")), Some(Ordering::Less));
    }
}
