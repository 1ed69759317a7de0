//! One URL of the broker, parsed once: connections use exactly what was parsed here.
//!
//! It follows RabbitMQ's rules with two exceptions: a lone `/` is the default virtual host
//! (operators on Kubernetes write it, and no virtual host has an empty name), and what homing does
//! not act on is refused by name instead of ignored.
//!
//! Source: RabbitMQ documentation, *URI Specification* and *URI Query Parameters*.

use std::{fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::{Host, Url};

/// The form of a URL, for error messages.
const FORM: &str = "write it as amqp://user:password@host:5672/vhost";

/// Characters that are escaped when a name is shown.
const SHOWN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Address of one node of the broker, and the login there.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// True for TLS (`amqps`).
    pub tls: bool,
    /// A name in ASCII, or an address.
    pub host: Host<String>,
    /// 5672, or 5671 with TLS, where none is written.
    pub port: u16,
    /// The credentials.
    pub login: Login,
    /// `/` where none is written.
    pub vhost: String,
    /// The query.
    pub parameters: Parameters,
}

/// The credentials of homing.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// By user and password (SASL PLAIN). An `OAuth` 2 token is a password.
    Password {
        /// May be empty where the password is a token.
        user: String,
        /// In the clear.
        password: String,
    },
    /// By the client certificate (SASL EXTERNAL).
    Certificate,
}

/// The parameters of a URL; each wins over the setting of the same meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `heartbeat`, in seconds.
    pub heartbeat: Option<Duration>,
    /// `connection_timeout`, in milliseconds.
    pub connect_deadline: Option<Duration>,
    /// `channel_max`
    pub max_channels: Option<u16>,
    /// `frame_max`, in bytes.
    pub max_frame_bytes: Option<u32>,
    /// `cacertfile`
    pub ca_file: Option<PathBuf>,
    /// `certfile`
    pub certificate_file: Option<PathBuf>,
    /// `keyfile`
    pub key_file: Option<PathBuf>,
    /// `server_name_indication`: the name that the broker's certificate is for.
    pub server_name: Option<String>,
    /// `auth_mechanism=external`
    external: bool,
}

impl BrokerUrl {
    /// Reads one URL. The error says what is wrong and what is allowed; it never repeats what may
    /// be a part of a password.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| not_a_url(text, error))?;
        let tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(format!("not an AMQP URL; {FORM}")),
        };
        let tail =
            [url.path(), url.query().unwrap_or_default(), url.fragment().unwrap_or_default()];
        if tail.iter().any(|part| part.contains('@')) {
            return Err(
                "an @ behind the host: in a password, write / as %2F, ? as %3F and # as %23; \
                        anywhere behind the host, write @ as %40"
                    .to_owned(),
            );
        }
        if url.fragment().is_some() {
            return Err(
                "nothing may follow a #; in a password or a name, write it as %23".to_owned()
            );
        }
        let parameters = Parameters::parse(url.query().unwrap_or_default())?;
        parameters.check(tls)?;
        let host = host(&url)?;
        let port = url.port().unwrap_or(if tls { 5671 } else { 5672 });
        if port == 0 {
            return Err("a port is a number from 1 to 65535".to_owned());
        }
        let login = login(&url, parameters.external)?;
        Ok(Self { tls, host, port, login, vhost: vhost(url.path())?, parameters })
    }

    /// `host:port/vhost`: all of the URL that anyone may see. The default virtual host is left out.
    #[must_use]
    pub fn shown(&self) -> String {
        let (host, port) = (&self.host, self.port);
        if self.vhost == "/" {
            return format!("{host}:{port}");
        }
        format!("{host}:{port}/{}", utf8_percent_encode(&self.vhost, SHOWN))
    }

    /// The whole URL without password and parameters: for operators.
    #[must_use]
    pub fn location(&self) -> String {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let user = match &self.login {
            Login::Password { user, .. } if !user.is_empty() => {
                format!("{}@", utf8_percent_encode(user, SHOWN))
            }
            Login::Password { .. } | Login::Certificate => String::new(),
        };
        format!("{scheme}://{user}{}", self.shown())
    }

    /// The user as whom homing logs in, for messages.
    #[must_use]
    pub fn user(&self) -> &str {
        match &self.login {
            Login::Password { user, .. } => user,
            Login::Certificate => "(of the client certificate)",
        }
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BrokerUrl").field(&self.location()).finish()
    }
}

/// Explains what is wrong with a text that is not a URL.
fn not_a_url(text: &str, error: url::ParseError) -> String {
    let is_ours = text.starts_with("amqp://") || text.starts_with("amqps://");
    if !is_ours || error == url::ParseError::EmptyHost {
        return format!("not an AMQP URL; {FORM}");
    }
    format!(
        "not an AMQP URL ({error}); {FORM}, with %40 for @, %2F for / and so on in the password"
    )
}

fn host(url: &Url) -> Result<Host<String>, String> {
    let host = match url.host() {
        Some(Host::Domain(name)) if !name.is_empty() => Host::parse(&decoded(name, "the host")?)
            .map_err(|error| format!("the host: {error}"))?,
        Some(Host::Ipv4(address)) => Host::Ipv4(address),
        Some(Host::Ipv6(address)) => Host::Ipv6(address),
        Some(Host::Domain(_)) | None => return Err(format!("there is no host; {FORM}")),
    };
    Ok(host)
}

fn login(url: &Url, external: bool) -> Result<Login, String> {
    let (user, password) = (url.username(), url.password());
    if external {
        return if user.is_empty() && password.is_none() {
            Ok(Login::Certificate)
        } else {
            Err("with `auth_mechanism=external` the user is that of the client certificate; leave \
                 user and password out"
                .to_owned())
        };
    }
    let password = match password {
        // RabbitMQ's own default, which works from the broker's machine only.
        None if user.is_empty() => {
            return Ok(Login::Password { user: "guest".to_owned(), password: "guest".to_owned() });
        }
        None => return Err(format!("there is a user and no password; {FORM}")),
        Some(password) => decoded(password, "the password")?,
    };
    Ok(Login::Password { user: decoded(user, "the user")?, password })
}

fn vhost(path: &str) -> Result<String, String> {
    let name = path.strip_prefix('/').unwrap_or(path);
    // Nothing, `/`, and `//` as some libraries write it.
    if name.is_empty() || name == "/" {
        return Ok("/".to_owned());
    }
    if name.contains('/') {
        return Err(
            "a virtual host is one word behind the host; a / in its name is written %2F".to_owned()
        );
    }
    decoded(name, "the virtual host")
}

fn decoded(text: &str, what: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| format!("{what} is not UTF-8 once its % are decoded"))
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, String> {
        let mut parameters = Self::default();
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(format!("the parameter `{}` is there twice", word(name)));
            }
            seen.push(name);
            parameters.set(name, decoded(value, "a parameter")?)?;
        }
        Ok(parameters)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let file = |value: String| {
            if value.is_empty() { Err(format!("`{name}` names no file")) } else { Ok(value.into()) }
        };
        match name {
            "heartbeat" => {
                self.heartbeat = Some(Duration::from_secs(number(name, &value, &(1..=3_600))?));
            }
            "connection_timeout" => {
                let millis = number(name, &value, &(1..=3_600_000))?;
                self.connect_deadline = Some(Duration::from_millis(millis));
            }
            "channel_max" => self.max_channels = Some(number(name, &value, &(8..=u16::MAX))?),
            "frame_max" => self.max_frame_bytes = Some(number(name, &value, &(4_096..=1_048_576))?),
            "cacertfile" => self.ca_file = Some(file(value)?),
            "certfile" => self.certificate_file = Some(file(value)?),
            "keyfile" => self.key_file = Some(file(value)?),
            "server_name_indication" if value == "disable" || value.is_empty() => {
                return Err(
                    "`server_name_indication` is the name that the broker's certificate is \
                            for, and cannot be disabled"
                        .to_owned(),
                );
            }
            "server_name_indication" => self.server_name = Some(value),
            "verify" if value == "verify_peer" => {}
            "verify" => {
                return Err(
                    "`verify` is verify_peer: homing always checks the broker's certificate; \
                            name its authority in `cacertfile` or `broker.ca_file`"
                        .to_owned(),
                );
            }
            "auth_mechanism" => match value.to_ascii_lowercase().as_str() {
                "external" => self.external = true,
                "plain" => {}
                _ => return Err("`auth_mechanism` is plain or external".to_owned()),
            },
            _ => {
                let known = "heartbeat, connection_timeout, channel_max, frame_max, cacertfile, \
                             certfile, keyfile, verify, server_name_indication, auth_mechanism";
                return Err(format!(
                    "homing knows no parameter `{}`; it knows {known}",
                    word(name)
                ));
            }
        }
        Ok(())
    }

    fn check(&self, tls: bool) -> Result<(), String> {
        let for_tls = [&self.ca_file, &self.certificate_file, &self.key_file];
        let needs_tls = for_tls.iter().any(|file| file.is_some()) || self.server_name.is_some();
        if needs_tls && !tls {
            return Err("certificates are for TLS: write amqps:// instead of amqp://".to_owned());
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return Err("`certfile` and `keyfile` come together".to_owned());
        }
        if self.external && !tls {
            return Err(
                "`auth_mechanism=external` needs a client certificate, and so amqps://".to_owned()
            );
        }
        Ok(())
    }
}

/// The name of a parameter, if it may be shown: it may be a part of a password.
fn word(name: &str) -> &str {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if plain && name.len() <= 32 { name } else { "…" }
}

fn number<T>(name: &str, value: &str, allowed: &RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    let number = value.parse().ok().filter(|number| allowed.contains(number));
    let (least, most) = (allowed.start(), allowed.end());
    number.ok_or_else(|| format!("`{name}` is a number from {least} to {most}"))
}

#[cfg(test)]
mod tests;
