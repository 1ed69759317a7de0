//! Blocks of code in Markdown, and how each says that it is tried.

use std::{fs, path::Path};

/// A block between two fences.
#[derive(Debug)]
pub(super) struct Block {
    /// The line of its first fence, counted from 1.
    pub line: usize,
    pub language: String,
    pub trial: Trial,
    pub text: String,
}

/// The way in which a block is tried: what follows the language behind the fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// Run by these tests.
    Run,
    /// `tried-by=FILE`: by another test.
    By(String),
    /// `no-run=REASON`
    Not(String),
}

/// A document, by its path in the repository.
pub(super) fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// README and the pages of `docs`, in order.
pub(super) fn documents() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let is_page = |name: &String| Path::new(name).extension().is_some_and(|it| it == "md");
    let pages = names.filter(is_page).map(|name| format!("docs/{name}"));
    let mut all: Vec<_> = pages.chain(["README.md".to_owned()]).collect();
    all.sort_unstable();
    all
}

/// The blocks of a document.
///
/// # Panics
///
/// Where a block has no end, or says behind its fence what is not known.
pub(super) fn blocks(path: &str) -> Vec<Block> {
    let document = read(path);
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in document.lines().enumerate() {
        let line_number = index + 1;
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => found.push(block),
            (Some(info), None) => open = Some(begun(path, line_number, info)),
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{path}: a block has no end: {open:?}");
    found
}

fn begun(path: &str, line: usize, info: &str) -> Block {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    let trial = match rest.split_once('=') {
        Some(("tried-by", file)) => Trial::By(file.to_owned()),
        Some(("no-run", reason)) => Trial::Not(reason.to_owned()),
        _ => Trial::Run,
    };
    assert!(trial != Trial::Run || rest.is_empty(), "{path}:{line}: `{rest}` is not known");
    Block { line, language: language.to_owned(), trial, text: String::new() }
}
