//! The words for the orders of lists.

/// The word of an order, which is one of `words`.
pub(super) fn word_of<T: PartialEq>(words: &[(T, &'static str)], order: &T) -> &'static str {
    let own = words.iter().find(|(known, _)| known == order);
    own.map_or("", |(_, word)| word)
}

/// The order of which `text` is the word.
///
/// # Errors
///
/// The words that there are, if it is none of them.
pub(super) fn read<T: Copy>(words: &[(T, &'static str)], text: &str) -> Result<T, String> {
    let known = words.iter().find(|(_, word)| *word == text);
    known.map(|(order, _)| *order).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(_, word)| *word).collect();
        format!("`{text}` is not an order; one of {}", words.join(", "))
    })
}
