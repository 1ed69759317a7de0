//! The style sheet, the one script, and the icon: compiled in, under names that change with their
//! content, so that browsers may cache them for ever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{
        HeaderName, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// One file.
struct Asset {
    /// `style-1a2b3c4d.css`
    name: String,
    kind: &'static str,
    text: &'static str,
}

/// The paths of the files.
pub(super) struct Paths {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("style", "css", "text/css; charset=utf-8", include_str!("assets/style.css")),
        asset("live", "js", "text/javascript; charset=utf-8", include_str!("assets/live.js")),
        asset("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ]
});

static PATHS: LazyLock<Paths> = LazyLock::new(|| {
    let [style, script, icon] = ASSETS.each_ref().map(|asset| format!("/assets/{}", asset.name));
    Paths { style, script, icon }
});

fn asset(stem: &str, ending: &str, kind: &'static str, text: &'static str) -> Asset {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
    let digest: String = digest.chars().take(12).collect();
    Asset { name: format!("{stem}-{digest}.{ending}"), kind, text }
}

/// The paths of the files.
pub(super) fn paths() -> &'static Paths {
    &PATHS
}

pub(super) async fn serve(Path(file): Path<String>) -> Response {
    const FOR_EVER: &str = "public, max-age=31536000, immutable";
    let headers =
        |kind| -> [(HeaderName, &str); 2] { [(CONTENT_TYPE, kind), (CACHE_CONTROL, FOR_EVER)] };
    match ASSETS.iter().find(|asset| asset.name == file) {
        Some(asset) => (headers(asset.kind), asset.text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
