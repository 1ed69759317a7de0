//! JSON as publishers write it, read leniently and without recursion, for filters and for Workfront's
//! form.
//!
//! A body is never rewritten from this, so reading may be more lenient than a data parser.
//! Everything that the grammar of RFC 8259 allows is read: numbers of any size and exponent (as
//! text, so exactly), any depth (nothing here recurses), lone surrogates (as U+FFFD), the same name
//! twice (the last one counts). A byte order mark at the beginning is skipped.
//!
//! Why not a library: none of those examined accepts all of that and lets many filters access any
//! part. `serde_json` refuses lone surrogates and 128 levels, and turns numbers into `f64` unless a
//! feature changes every `Number` of the program; `jiter` has its rules and errors. `struson` takes
//! any depth and numbers as text, but streams once and refuses lone surrogates. `sonic-rs` replaces
//! surrogates by a feature, but limits the depth, and reads untrusted input with `unsafe` code
//! whose stack overflowed until recently (0.5.11). The need is small: an index of where each value
//! is.
//!
//! `body.rs` decompresses, `read.rs` makes the index, `text.rs` decodes strings, [`Decimal`]
//! compares numbers.

mod body;
mod decimal;
mod read;
mod text;

use std::borrow::Cow;

pub use body::BodyError;
pub use decimal::Decimal;
pub use read::JsonError;

/// A document: its text, and the place of each value in it.
#[derive(Clone, Debug, Default)]
pub struct Document<'t> {
    text: Cow<'t, str>,
    /// In the order of the text; a container is followed by its parts.
    nodes: Vec<Node>,
}

/// One value of a document.
#[derive(Clone, Copy, Debug)]
struct Node {
    kind: Kind,
    /// The beginning and end of its text, in bytes.
    start: u32,
    end: u32,
    /// The node after it and its parts.
    next: u32,
}

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    List,
    /// An object.
    Object,
}

/// A value within its document; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Json<'d> {
    document: &'d Document<'d>,
    node: Node,
    at: usize,
}

impl<'t> Document<'t> {
    /// Reads `text` as a whole.
    ///
    /// # Errors
    ///
    /// [`JsonError`]: it is not JSON, or has too many values.
    pub fn new(text: Cow<'t, str>) -> Result<Self, JsonError> {
        let nodes = read::index(&text)?;
        Ok(Self { text, nodes })
    }

    /// The value of the whole document.
    #[must_use]
    pub fn root(&self) -> Option<Json<'_>> {
        self.at(0)
    }

    /// The value at [`place`](Json::place).
    #[must_use]
    pub fn at(&self, at: usize) -> Option<Json<'_>> {
        self.nodes.get(at).map(|node| Json { document: self, node: *node, at })
    }
}

impl<'d> Json<'d> {
    /// Its place in the document, to find it again.
    #[must_use]
    pub fn place(self) -> usize {
        self.at
    }

    /// Its kind.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.node.kind
    }

    /// Its text as published.
    #[must_use]
    pub fn raw(self) -> &'d str {
        self.document.text.get(offset(self.node.start)..offset(self.node.end)).unwrap_or_default()
    }

    /// The content of a string; `None` for anything else.
    #[must_use]
    pub fn text(self) -> Option<Cow<'d, str>> {
        (self.kind() == Kind::Text).then(|| text::decoded(self.raw()))
    }

    /// A number; `None` for anything else.
    #[must_use]
    pub fn number(self) -> Option<Decimal<'d>> {
        if self.kind() == Kind::Number { Decimal::parse(self.raw()) } else { None }
    }

    /// The elements of a list; none for anything else.
    pub fn elements(self) -> impl Iterator<Item = Json<'d>> {
        self.parts_of(Kind::List)
    }

    /// Names and values of an object; none for anything else.
    pub fn fields(self) -> impl Iterator<Item = (Json<'d>, Json<'d>)> {
        let mut parts = self.parts_of(Kind::Object);
        std::iter::from_fn(move || parts.next().zip(parts.next()))
    }

    /// The parts of a container of this kind; each is found after the previous one.
    fn parts_of(self, kind: Kind) -> impl Iterator<Item = Json<'d>> {
        let end = offset(self.node.next);
        let mut at = if self.kind() == kind { self.at.saturating_add(1) } else { end };
        std::iter::from_fn(move || {
            let part = self.document.at(at).filter(|_| at < end)?;
            at = offset(part.node.next);
            Some(part)
        })
    }

    /// True for a string with the content `name`.
    #[must_use]
    pub fn says(self, name: &str) -> bool {
        let raw = self.raw();
        let within = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        if within.contains('\\') { text::decoded(raw) == name } else { within == name }
    }
}

/// Documents are bounded so that every offset is 32 bits wide.
fn offset(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The value read, as `serde_json` represents it; numbers as text.
    fn value(json: Json<'_>) -> Value {
        match json.kind() {
            Kind::Null | Kind::Bool => serde_json::from_str(json.raw()).expect("a literal"),
            Kind::Number => Value::from(json.raw()),
            Kind::Text => Value::from(json.text().expect("a string").into_owned()),
            Kind::List => json.elements().map(value).collect(),
            Kind::Object => json
                .fields()
                .map(|(name, part)| (name.text().expect("a name").into_owned(), value(part)))
                .collect(),
        }
    }

    fn read(text: &str) -> Result<Value, JsonError> {
        Document::new(text.into()).map(|document| value(document.root().expect("a value")))
    }

    fn with_numbers_as_texts(value: &Value) -> Value {
        match value {
            Value::Number(number) => Value::from(number.to_string()),
            Value::Array(parts) => parts.iter().map(with_numbers_as_texts).collect(),
            Value::Object(fields) => {
                let part =
                    |(name, part): (&String, &Value)| (name.clone(), with_numbers_as_texts(part));
                fields.iter().map(part).collect()
            }
            Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
        }
    }

    #[test]
    fn json_that_other_readers_refuse_is_read() {
        let digits = "7".repeat(310);
        for (text, expected) in [
            ("1e400", json!("1e400")),
            (digits.as_str(), json!(digits)),
            (r#""cut \ud83d""#, json!("cut \u{fffd}")),
            (r#""\udc00\ud83d\ude00\ud83dx\ud83d\u0041""#, json!("\u{fffd}😀\u{fffd}x\u{fffd}A")),
            ("\u{feff}{\"a\": 1}", json!({"a": "1"})),
            (r#"{"a": 1, "b": 2, "\u0061": 3}"#, json!({"a": "3", "b": "2"})),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        let deep =
            format!("{{\"deep\": {}1{}, \"a\": 2}}", "[".repeat(200_000), "]".repeat(200_000));
        let document = Document::new(deep.into()).expect("any depth");
        let fields: Vec<_> = document.root().expect("a value").fields().collect();
        assert!(fields[0].0.says("deep") && fields[1].0.says("a"));
        assert_eq!(fields[1].1.raw(), "2");
    }

    proptest! {
        #[test]
        fn json_is_read_like_serde_json_reads_it(value in any::<Tree>()) {
            let Tree(value) = value;
            let text = value.to_string();
            prop_assert_eq!(read(&text), Ok(with_numbers_as_texts(&value)));
            let pretty = serde_json::to_string_pretty(&value).expect("a value");
            prop_assert_eq!(read(&pretty), Ok(with_numbers_as_texts(&value)));
        }

        /// Goal: exactly the grammar is accepted. Method: small texts of JSON's own characters;
        /// `serde_json` judges their syntax when it ignores their content.
        #[test]
        fn serde_json_refuses_the_same_texts(text in r#"[\[\]{},:"\\0-9eE+.\-atrufn \n-]{0,14}"#) {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(read(&text).is_ok(), theirs, "{}", text);
        }
    }

    /// Any JSON, some levels deep.
    #[derive(Clone, Debug)]
    struct Tree(Value);

    impl Arbitrary for Tree {
        type Parameters = ();
        type Strategy = BoxedStrategy<Self>;

        fn arbitrary_with((): ()) -> Self::Strategy {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_filter_map("finite", |it| it.is_finite().then(|| json!(it))),
                any::<String>().prop_map(Value::from),
            ];
            let tree = leaf.prop_recursive(5, 64, 5, |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                    prop::collection::vec((any::<String>(), inner), 0..5)
                        .prop_map(|fields| fields.into_iter().collect()),
                ]
            });
            tree.prop_map(Tree).boxed()
        }
    }
}
