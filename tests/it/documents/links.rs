//! Links within the repository: they lead to files that exist, and to headings that they have.

use std::path::{Component, Path, PathBuf};

use super::blocks::{documents, read};

/// Documents beside those that are tried.
const FURTHER: [&str; 5] = [
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "rabbitmq/README.md",
    "docs/decisions/README.md",
];

/// The text outside of blocks.
fn prose(document: &str) -> String {
    let mut is_code = false;
    let lines = document.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text between each `](` and its `)`.
fn targets(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_heading(document: &str, wanted: &str) -> bool {
    prose(document).lines().filter(|line| line.starts_with('#')).any(|it| anchor(it) == wanted)
}

/// `a/b/../c` as `a/c`.
fn without_dots(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            result.pop();
        } else {
            result.push(component);
        }
    }
    result
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for path in documents().into_iter().chain(FURTHER.map(str::to_owned)) {
        let document = read(&path);
        let folder = Path::new(&path).parent().expect("a file has a folder");
        for target in targets(&prose(&document)) {
            let target = target.replace('\n', "");
            if target.contains("://") {
                continue;
            }
            checked += 1;
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let file = without_dots(&folder.join(file));
            let file = if target.starts_with('#') { PathBuf::from(&path) } else { file };
            if !root.join(&file).exists() {
                wrong.push(format!("{path}: {target}: no such file"));
            } else if !heading.is_empty() && !has_heading(&read(&file.to_string_lossy()), heading) {
                wrong.push(format!("{path}: {target}: no such heading"));
            }
        }
    }
    assert!(checked > 100, "{checked} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
