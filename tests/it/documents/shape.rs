//! The shape of an output: what is left of it without ids, times, numbers, addresses and the widths
//! of columns.

/// Units of time; of `1 min 25 s` and `14 ms` the same is left.
const UNITS: [&str; 8] = ["ms", "s", "min", "h", "d", "day", "days", "seconds"];

const ID_LENGTH: usize = 36;

/// The shape of a line.
pub(super) fn shape(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    // A number behind a unit goes on with the same duration.
    let mut is_duration = false;
    for word in line.split_whitespace().map(plain) {
        let bare = word.trim_end_matches([',', '.', ';', ':', ')']);
        let follows_number = words.last().is_some_and(|last| last == "#");
        let is_unit = follows_number && UNITS.contains(&bare);
        if is_unit || follows_number && is_duration && bare == "#" {
            is_duration = is_unit;
            if let Some(last) = words.last_mut() {
                last.push_str(word.get(bare.len()..).unwrap_or_default());
            }
            continue;
        }
        is_duration = false;
        words.push(word);
    }
    words.join(" ")
}

/// A word with `#` in place of ids, secrets, hosts and numbers.
fn plain(word: &str) -> String {
    let mut result = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let (replacement, length) = if is_id(rest) {
            ("#", ID_LENGTH)
        } else if rest.starts_with("whsec_") {
            ("whsec_#", "whsec_".len() + rest.get(6..).map_or(0, secret_length))
        } else if let Some(address) = rest.strip_prefix("://") {
            let end = address.find(['/', ',', ';', '"']).unwrap_or(address.len());
            ("://#", "://".len() + end)
        } else if first.is_ascii_digit() {
            ("#", number_length(rest))
        } else {
            result.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        };
        result += replacement;
        rest = rest.get(length..).unwrap_or_default();
    }
    result
}

fn is_id(text: &str) -> bool {
    let Some(start) = text.get(..ID_LENGTH) else { return false };
    start.char_indices().all(|(index, c)| match index {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    })
}

fn secret_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)).unwrap_or(text.len())
}

/// The length of a number, an amount or a time at the beginning of `text`.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut length = 0;
    while is_digit(length)
        || bytes.get(length).is_some_and(|byte| b".,:-T".contains(byte)) && is_digit(length + 1)
    {
        length += 1;
    }
    length + usize::from(bytes.get(length) == Some(&b'Z'))
}

/// `Ok` if the output has the lines that are shown, and no others. A line that begins with `…` stands
/// for any number of lines.
pub(super) fn fits(shown: &str, printed: &str) -> Result<(), String> {
    let shapes = |text: &str| -> Vec<String> {
        text.lines().map(shape).filter(|line| !line.is_empty()).collect()
    };
    let (shown, printed) = (shapes(shown), shapes(printed));
    if are_same(&shown, &printed) {
        return Ok(());
    }
    Err(format!("shown is {shown:#?}, printed is {printed:#?}"))
}

fn are_same(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.starts_with('…') => (0..=printed.len())
            .any(|skipped| are_same(rest, printed.get(skipped..).unwrap_or_default())),
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, others)| line == first && are_same(rest, others)),
    }
}

#[test]
fn ids_times_numbers_and_widths_make_no_difference() {
    for (one, other) in [
        (
            "created 01a1fe03-65ad-73aa-89d9-afc01fd78e4c",
            "created c1a1fe03-65ad-73aa-89d9-afc01fd78e4d",
        ),
        ("secret  whsec_Zc/+=", "secret whsec_AAAA"),
        ("due 2026-11-21T14:36:41.087Z.", "due 2027-01-01T00:00:00Z."),
        ("up 6 min 12 s, version 0.1.0", "up 3 s, version 0.2.0"),
        ("http://127.0.0.1:9000/hook", "http://10.0.0.1:80/hook"),
    ] {
        assert_eq!(shape(one), shape(other));
    }
    assert_ne!(shape("homing.v1.wait.84800  0"), shape("homing.v1.held.84800  0"));
    assert_ne!(shape("503 from the endpoint"), shape("from the endpoint"));
    assert_ne!(shape("primary  0  1"), shape("primary  0"));
}

#[test]
fn a_line_that_is_missing_or_new_does_not_fit() {
    fits("a 1\n…\nz 9\n", "a 2\nb\nc\nz 3\n").expect("it fits");
    fits("a 1\n…\n", "a 2\nb\n").expect("it fits");
    fits("…\n1\nz\n", "1\n2\nz\n").expect("the second number is the one before z");
    fits("a\n", "a\nb\n").expect_err("b is not shown");
    fits("a\nb\n", "a\n").expect_err("b is not printed");
    fits("b\n", "a\nb\n").expect_err("a is not shown");
}
