//! Long texts from outside that are cut in the middle: the beginning of a URL says whose it is, its
//! end which one.

use std::fmt;

use askama::filters::HtmlSafe;

/// Characters up to which a text is never cut.
const SHORT: usize = 44;
/// Characters of the end that are always shown.
const END: usize = 18;

/// A text for a narrow place: the style sheet cuts it where it does not fit, and shows all of it
/// where it has the focus.
pub(super) struct Cut<'a>(&'a str);

/// A text for a narrow place.
pub(super) fn cut(text: &str) -> Cut<'_> {
    Cut(text)
}

impl HtmlSafe for Cut<'_> {}

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let characters = self.0.chars().count();
        if characters <= SHORT {
            return escape(self.0, f);
        }
        let end = characters.saturating_sub(END);
        let at = self.0.char_indices().nth(end).map_or(self.0.len(), |(at, _)| at);
        let (begins, ends) = self.0.split_at(at);
        f.write_str("<span class=\"middle\"><span>")?;
        escape(begins, f)?;
        f.write_str("</span><span>")?;
        escape(ends, f)?;
        f.write_str("</span></span>")
    }
}

fn escape(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for character in text.chars() {
        match character {
            '&' => f.write_str("&#38;")?,
            '<' => f.write_str("&#60;")?,
            '>' => f.write_str("&#62;")?,
            '"' => f.write_str("&#34;")?,
            '\'' => f.write_str("&#39;")?,
            other => write!(f, "{other}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_whole_and_in_two_parts() {
        let long = format!("https://example.com/{}/the-end-of-it-12345", "a/".repeat(20));
        let shown = cut(&long).to_string();
        assert!(shown.ends_with("</span><span>he-end-of-it-12345</span></span>"), "{shown}");
        let text = ["<span class=\"middle\">", "<span>", "</span>"];
        let text = text.iter().fold(shown, |text, tag| text.replace(tag, ""));
        assert_eq!(text, long, "nothing is left out");
    }

    #[test]
    fn markup_is_escaped_in_both_parts() {
        assert_eq!(cut("<a&b>").to_string(), "&#60;a&#38;b&#62;");
        let shown = cut(&"<i>'\"".repeat(20)).to_string();
        assert!(!shown.contains("<i>") && shown.contains("&#60;i&#62;&#39;&#34;"), "{shown}");
        let several_bytes = "ä".repeat(60);
        assert_eq!(cut(&several_bytes).to_string().matches('ä').count(), 60);
    }
}
