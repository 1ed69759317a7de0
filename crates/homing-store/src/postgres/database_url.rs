//! The form of a PostgreSQL URL in the settings.

use url::Url;

use homing_domain::{settings::SettingsError, url::in_words};

/// Parameters allowed behind the `?` of a PostgreSQL URL. Not the password, which would be shown.
const PARAMETERS: [&str; 9] = [
    "application_name",
    "dbname",
    "host",
    "options",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
];

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Reads a URL; its errors do not repeat it, because it may hold a password.
///
/// # Errors
///
/// [`SettingsError::Value`].
pub(crate) fn parse(text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text).map_err(in_words).map_err(|error| {
        let message = format!(
            "not a PostgreSQL URL: {error}; write it as \
             postgres://user:password@host:5432/database, with %40 for @, %2F for / and so on in \
             the password"
        );
        SettingsError::value("store.url", message)
    })?;
    check_parameters(&url)?;
    Ok(url)
}

fn check_parameters(url: &Url) -> Result<(), SettingsError> {
    let wrong = |message: String| Err(SettingsError::value("store.url", message));
    for (name, value) in url.query_pairs() {
        if name == "password" || name == "user" {
            return wrong(format!("the {name} belongs before the @, not behind the ?"));
        }
        if !PARAMETERS.contains(&&*name) {
            let known = PARAMETERS.join(", ");
            return wrong(format!(
                "there is no parameter `{name}` behind the ?; known are {known}"
            ));
        }
        if name == "sslmode" && !SSL_MODES.contains(&&*value) {
            return wrong(format!("`sslmode` is one of {}", SSL_MODES.join(", ")));
        }
        if name == "port" && value.parse::<u16>().is_err() {
            return wrong("`port` is a number from 1 to 65535".to_owned());
        }
    }
    Ok(())
}
