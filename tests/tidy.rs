//! The architecture, as far as text can hold it: who may use whom, and how long a file may be.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The modules of the program, from the bottom up. A module may use the layers below its own: not
/// those above, and not the other modules of its layer. Which crate may use which, the manifests say.
const LAYERS: &[&[&str]] = &[
    &["config", "usage"],
    &["telemetry"],
    &["registry", "test_event", "history"],
    &["overview", "verification"],
    &["services"],
    &["web"],
    &["api", "dashboard"],
    &["process"],
    &["cli"],
];

/// Libraries that only these modules of the program may name.
const OWNERS: &[(&str, &[&str])] = &[
    ("axum", &["web", "api", "dashboard"]),
    ("askama", &["dashboard"]),
    ("utoipa_axum", &["api"]),
    ("utoipa::openapi", &["api"]),
    ("utoipa::path", &["api"]),
    ("clap", &["cli"]),
    ("clap_mangen", &["cli"]),
];

/// Forbidden in the rules; `clock` is there to be called by others.
const IO: &[&str] = &["std::fs", "std::net::Tcp", "async fn", ".await", "clock::"];

const MAX_LINES: usize = 400;

const NAMES_WITHOUT_MEANING: &[&str] = &["util", "utils", "common", "helpers", "misc"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The module directly below the crate that this file belongs to.
    fn module(&self) -> String {
        let first = self.path.iter().next().expect("a path has parts").to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Lines that are code, with their numbers; comments are left out, tests are not.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        numbered.filter(|(_, line)| !line.starts_with("//"))
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the file can be read");
                let path = path.strip_prefix(&root).expect("it is below").to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn modules_use_only_the_layers_below_them() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let own = source.module();
        if matches!(own.as_str(), "lib" | "main") {
            continue;
        }
        let Some(own_layer) = layer(&own) else {
            wrong.push(format!("{}: add `{own}` to LAYERS", source.path.display()));
            continue;
        };
        let mut grouped = false;
        for (number, line) in source.code() {
            let place = format!("{}:{number}", source.path.display());
            let named = line.split("crate::").skip(1).map(|rest| (rest, false));
            // The lines of `use crate::{…}` name one module each.
            let listed = grouped.then_some((line, true));
            for (rest, in_group) in named.chain(listed) {
                let used: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                match layer(&used) {
                    Some(used_layer) if used != own && used_layer >= own_layer => {
                        wrong.push(format!("{place}: `{own}` may not use `{used}`"));
                    }
                    None if !in_group && !rest.starts_with('{') => {
                        wrong.push(format!("{place}: `crate::{used}` is in no layer"));
                    }
                    Some(_) | None => {}
                }
            }
            grouped = (grouped && line != "};") || line == "use crate::{";
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_library_is_named_in_one_module() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let own = source.module();
        for (number, line) in source.code() {
            for (library, owners) in OWNERS {
                let named =
                    line.contains(&format!("{library}::")) || line.contains(&format!("{library}("));
                let owns = owners.contains(&own.as_str()) || own == "main" && *library == "clap";
                if named && !owns {
                    let place = format!("{}:{number}", source.path.display());
                    wrong
                        .push(format!("{place}: only `{}` names `{library}`", owners.join("`, `")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_domain_does_no_input_and_no_output() {
    let mut wrong = Vec::new();
    for source in sources("crates/homing-domain/src") {
        for (number, line) in source.code() {
            for word in IO.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{number}: `{word}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_their_names_mean_something() {
    let mut wrong = Vec::new();
    for source in [sources("src"), sources("crates"), sources("tests")].into_iter().flatten() {
        let lines = source.text.lines().count();
        let path = source.path.display();
        if lines > MAX_LINES {
            wrong.push(format!("{path}: {lines} lines; at most {MAX_LINES}"));
        }
        for part in &source.path {
            let name = part.to_string_lossy();
            if NAMES_WITHOUT_MEANING.contains(&name.trim_end_matches(".rs")) {
                wrong.push(format!("{path}: `{name}` says nothing"));
            }
        }
        if !source.text.trim_start().starts_with("//!") {
            wrong.push(format!("{path}: begin with what the file promises (`//!`)"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tests wait for what happens with `eventually`. Where time is the subject, a comment says so.
#[test]
fn a_test_that_sleeps_says_why() {
    let mut wrong = Vec::new();
    for source in sources("tests/it") {
        let lines: Vec<_> = source.text.lines().map(str::trim).collect();
        for (number, pair) in lines.windows(2).enumerate() {
            if pair[1].contains("sleep(") && !pair[0].starts_with("//") {
                let place = format!("{}:{}", source.path.display(), number + 2);
                wrong.push(format!("{place}: wait with `eventually`, or say why not in a comment"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// PostgreSQL refuses a prepared statement with `*` once a newer homing has added a column.
#[test]
fn statements_name_the_columns_that_they_read() {
    let mut wrong = Vec::new();
    for source in sources("crates/homing-store/src") {
        for (number, line) in source.code() {
            let stars = ["SELECT *", ".* FROM", "RETURNING *"].iter().any(|it| line.contains(it));
            let of_a_statement = line.contains("FROM (") || line.contains("FROM unnest(");
            if stars && !of_a_statement {
                wrong.push(format!("{}:{number}: name the columns", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
