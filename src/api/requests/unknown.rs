//! Answers for addresses and methods that there are not.

use axum::http::{Method, Uri};

use super::auth::WORKFRONT;
use crate::web::problem::{Kind, Problem};
use homing_domain::settings::not_built;

/// Answers for addresses that do not exist.
pub(crate) async fn no_such_address(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    let detail = not_built_at(&path).unwrap_or_else(|| format!("there is nothing at `{path}`"));
    Problem::new(Kind::NotFound, detail)
}

/// The sentence about a part that would answer at `path` and that this build does not have.
fn not_built_at(path: &str) -> Option<String> {
    if cfg!(not(feature = "dashboard")) && path == "/" {
        return Some(not_built("dashboard", "dashboard"));
    }
    let is_workfronts = cfg!(not(feature = "workfront")) && path.starts_with(WORKFRONT);
    is_workfronts.then(|| not_built("Workfront API", "workfront"))
}

/// Answers for methods that an address does not support; `allow` lists the supported ones.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let method: String = method.as_str().chars().take(20).collect();
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(Kind::MethodNotAllowed, format!("`{path}` does not support {method}"))
}
