//! Three endpoints to try homing with, on one port: `/healthy` accepts everything, `/recovers` fails
//! twice and then accepts, `/dead` fails until a POST to `/repair`.
//!
//! Run it with `cargo run --example endpoints -- 127.0.0.1:9000`; it prints a line per request.

use std::{
    env,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::net::TcpListener;

type Repaired = Arc<AtomicBool>;

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-")
}

/// Answers `status` and prints the request.
fn answer(path: &str, headers: &HeaderMap, status: StatusCode) -> StatusCode {
    let topic = header(headers, "x-homing-topic");
    let attempt = header(headers, "x-homing-attempt");
    let line = format!("  {path:<10} {topic:<14} attempt {attempt}: {}\n", status.as_u16());
    // Standard output has no reader any more: no reason to fail.
    let _unread = io::stdout().write_all(line.as_bytes());
    status
}

async fn healthy(headers: HeaderMap) -> StatusCode {
    answer("/healthy", &headers, StatusCode::OK)
}

async fn recovers(headers: HeaderMap) -> StatusCode {
    let attempt: u32 = header(&headers, "x-homing-attempt").parse().unwrap_or(1);
    let status = if attempt <= 2 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    answer("/recovers", &headers, status)
}

async fn dead(State(repaired): State<Repaired>, headers: HeaderMap) -> StatusCode {
    let up = repaired.load(Ordering::Relaxed);
    let status = if up { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    answer("/dead", &headers, status)
}

async fn repair(State(repaired): State<Repaired>) -> StatusCode {
    repaired.store(true, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let router = Router::new()
        .route("/healthy", post(healthy))
        .route("/recovers", post(recovers))
        .route("/dead", post(dead))
        .route("/repair", post(repair))
        .with_state(Repaired::default());
    axum::serve(listener, router).await?;
    Ok(())
}
