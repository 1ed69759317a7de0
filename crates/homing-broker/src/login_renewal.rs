//! Renews a login that is replaced on disk while a connection lives: an `OAuth` 2 token expires,
//! and the broker then refuses everything on the connection unless it got the next token in time.
//!
//! Source: RabbitMQ documentation, *OAuth 2.0 Authentication Backend*, token expiration.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use lapin::Connection;
use tracing::{info, warn};

use super::{
    addresses::{Address, Addresses},
    error::{ROUND_TRIP_DEADLINE, within},
};
use crate::settings::Login;

/// Interval at which the file is read. Tokens are replaced minutes before they expire.
const READ_INTERVAL: Duration = Duration::from_secs(15);

/// Sends the broker every new password of `address` until the connection ends. Returns at once if
/// the URLs are not in a file.
pub(super) async fn renew(
    addresses: Arc<Addresses>,
    address: Arc<Address>,
    connection: Weak<Connection>,
) {
    if !addresses.are_in_a_file() {
        return;
    }
    let mut current = address.url.login.clone();
    loop {
        tokio::time::sleep(READ_INTERVAL).await;
        let is_up = |connection: &Arc<Connection>| connection.status().connected();
        let Some(connection) = connection.upgrade().filter(is_up) else { return };
        let Some(Login::Password { user, password }) = addresses.login_now(&address).await else {
            continue;
        };
        let login = Login::Password { user, password: password.clone() };
        if login == current {
            continue;
        }
        let renewed = connection.update_secret(password.into(), "it was replaced".into());
        match within(connection.as_ref(), ROUND_TRIP_DEADLINE, "renewing the login", renewed).await
        {
            Ok(()) => {
                info!(broker = address.shown(), "broker.login_renewed");
                current = login;
            }
            Err(error) => warn!(error = error.report(), "broker.login_not_renewed"),
        }
    }
}
