//! The functions with which a receiver verifies a request, in four languages: those of
//! `docs/verify.md`, which the tests run.

/// A function in one language.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snippet {
    /// The name of the language.
    pub(super) language: &'static str,
    /// The package that it needs.
    pub(super) needs: &'static str,
    pub(super) code: &'static str,
}

const PACKAGE: &str = "With the package standardwebhooks.";
const STANDARD: &str = "With the standard library.";

/// For a shared secret.
pub(super) static V1: [Snippet; 4] = [
    Snippet { language: "Python", needs: PACKAGE, code: include_str!("snippets/v1.py.txt") },
    Snippet { language: "Node.js", needs: PACKAGE, code: include_str!("snippets/v1.js.txt") },
    Snippet { language: "Go", needs: STANDARD, code: include_str!("snippets/v1.go.txt") },
    Snippet {
        language: "Java",
        needs: "From version 17 on, with the standard library.",
        code: include_str!("snippets/v1.java.txt"),
    },
];

/// For a key pair.
pub(super) static V1A: [Snippet; 4] = [
    Snippet {
        language: "Python",
        needs: "With the package cryptography.",
        code: include_str!("snippets/v1a.py.txt"),
    },
    Snippet { language: "Node.js", needs: STANDARD, code: include_str!("snippets/v1a.js.txt") },
    Snippet { language: "Go", needs: STANDARD, code: include_str!("snippets/v1a.go.txt") },
    Snippet {
        language: "Java",
        needs: "From version 17 on, with the standard library.",
        code: include_str!("snippets/v1a.java.txt"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is shown is what the tests run. Method: each is a block of the document.
    #[test]
    fn every_snippet_is_a_block_of_the_document() {
        let document = include_str!("../../docs/verify.md");
        for snippet in V1.iter().chain(&V1A) {
            let block = format!("\n{}```", snippet.code);
            assert!(document.contains(&block), "{}: {}", snippet.language, snippet.code);
        }
        let blocks = document.matches("tried-by=tests/it/signatures/").count();
        assert_eq!(blocks, V1.len() + V1A.len());
    }
}
