//! stub
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
/// stub
pub struct Api;
impl Api {
    /// stub
    pub fn new(_p: &crate::service::Parts, _s: Option<Arc<crate::worker::Subscriptions>>) -> Self {
        Self
    }
}
/// stub
pub async fn serve(_l: TcpListener, _a: Api, stop: CancellationToken) {
    stop.cancelled().await
}
