//! `endpoint.proxy`, and the hosts that are called without it.

use std::{borrow::Cow, net::IpAddr};

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;

use homing_domain::settings::SettingsError;

/// The one that looks up the names of endpoints that are called through a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyDns {
    /// homing, which checks the addresses, and asks the proxy for one of them.
    #[default]
    Homing,
    /// The proxy, which is asked for the name.
    Proxy,
}

/// The protocol in which a proxy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyScheme {
    /// HTTP CONNECT.
    Http,
    /// The same, over TLS.
    Https,
    /// SOCKS, version 5.
    Socks5,
}

/// The URL of a proxy. Its `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProxyUrl {
    pub(crate) scheme: ProxyScheme,
    /// With brackets, if it is an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// User and password, decoded.
    pub(crate) login: Option<(String, String)>,
}

impl std::fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}://{}:{}", self.scheme, self.host, self.port)
    }
}

const KEY: &str = "endpoint.proxy";

/// Reads the URL of a proxy.
///
/// # Errors
///
/// [`SettingsError::Value`], which repeats nothing of the URL.
pub(super) fn read(text: &str, has_login_file: bool) -> Result<ProxyUrl, SettingsError> {
    let wrong = |message: &str| SettingsError::value(KEY, message);
    let no_url = || wrong("not the URL of a proxy; write it as http://host:3128");
    let url = Url::parse(text).map_err(|_| no_url())?;
    let (scheme, default) = match url.scheme() {
        "http" => (ProxyScheme::Http, Some(80)),
        "https" => (ProxyScheme::Https, Some(443)),
        "socks5" | "socks5h" => (ProxyScheme::Socks5, Some(1_080)),
        _ => return Err(wrong("a proxy is asked by http://, https:// or socks5://")),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(no_url)?.to_owned();
    let port = url.port().or(default).filter(|port| *port > 0).ok_or_else(no_url)?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("a proxy has a host and a port, nothing behind them"));
    }
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(Cow::into_owned).map_err(|_| wrong("the login is not UTF-8"))
    };
    let (user, password) = (decoded(url.username())?, url.password());
    let password = decoded(password.unwrap_or_default())?;
    let login = (!user.is_empty() || !password.is_empty()).then_some((user, password));
    if login.is_some() && has_login_file {
        let message = "user and password are in `endpoint.proxy`, too; one of both";
        return Err(SettingsError::value("endpoint.proxy_login_file", message));
    }
    let url = ProxyUrl { scheme, host, port, login };
    url.check_login(KEY)?;
    Ok(url)
}

impl ProxyUrl {
    /// Checks that the login can be sent in the proxy's protocol. `key` is the setting that has it.
    ///
    /// Source: RFC 7617, 2; RFC 1929, 2.
    pub(crate) fn check_login(&self, key: &str) -> Result<(), SettingsError> {
        let Some((user, password)) = &self.login else { return Ok(()) };
        let is_sound = |text: &String| !text.chars().any(char::is_control);
        if !is_sound(user) || !is_sound(password) {
            return Err(SettingsError::value(key, "the login has control characters"));
        }
        let fits = |text: &String| (1..=255).contains(&text.len());
        match self.scheme {
            ProxyScheme::Socks5 if !fits(user) || !fits(password) => {
                let message = "SOCKS5 takes a user and a password of 1 to 255 bytes each";
                Err(SettingsError::value(key, message))
            }
            ProxyScheme::Http | ProxyScheme::Https if user.contains(':') => {
                Err(SettingsError::value(key, "the user name of an HTTP proxy has no colon"))
            }
            ProxyScheme::Http | ProxyScheme::Https | ProxyScheme::Socks5 => Ok(()),
        }
    }
}

/// Checks an entry of `endpoint.no_proxy`.
pub(super) fn check_host(text: &str) -> Result<(), SettingsError> {
    let name = text.strip_prefix('.').unwrap_or(text);
    let is_name = |name: &str| {
        let is_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        name.split('.').all(|label| !label.is_empty() && label.chars().all(is_label))
    };
    let is_host = text == "*"
        || is_name(name)
        || text.parse::<IpNet>().is_ok()
        || text.parse::<IpAddr>().is_ok();
    if is_host {
        return Ok(());
    }
    let message = format!(
        "`{text}` is no host (\"example.com\"), address, network (\"10.0.0.0/8\") or \"*\"; it has \
         no scheme and no port"
    );
    Err(SettingsError::value("endpoint.no_proxy", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ProxyUrl {
        read(text, false).unwrap()
    }

    fn message(text: &str) -> String {
        read(text, false).unwrap_err().to_string()
    }

    #[test]
    fn proxies_of_three_kinds_are_read() {
        let of = |text| {
            let ProxyUrl { scheme, host, port, .. } = url(text);
            (scheme, host, port)
        };
        assert_eq!(of("http://proxy:3128"), (ProxyScheme::Http, "proxy".to_owned(), 3_128));
        assert_eq!(of("https://proxy/"), (ProxyScheme::Https, "proxy".to_owned(), 443));
        assert_eq!(of("socks5://[::1]"), (ProxyScheme::Socks5, "[::1]".to_owned(), 1_080));
        assert_eq!(of("socks5h://10.0.0.1:9").2, 9);
        let login = url("http://us%40er:p%3Aw@proxy:3128").login;
        assert_eq!(login, Some(("us@er".to_owned(), "p:w".to_owned())));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for text in [
            "proxy:3128",
            "ftp://u:secret@proxy",
            "http://u:secret@proxy:3128/path",
            "http://u:secret@proxy:0",
            "http://u%3Av:secret@proxy:3128",
            "socks5://u:secret%0a@proxy",
            "socks5://u@proxy",
            "//u:secret@proxy",
        ] {
            let message = message(text);
            assert!(message.contains("`endpoint.proxy`"), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(!format!("{:?}", url("http://u:secret@proxy")).contains("secret"));
        let both = read("http://u:secret@proxy", true).unwrap_err().to_string();
        assert!(both.contains("`endpoint.proxy_login_file`"), "{both}");
    }

    #[test]
    fn hosts_without_a_proxy_are_names_addresses_and_networks() {
        for host in ["*", "example.com", ".example.com", "a_b", "10.1.2.3", "::1", "fd00::/8"] {
            assert!(check_host(host).is_ok(), "{host}");
        }
        for host in ["", ".", "http://a", "a:80", "*.a", "a b", "10.0.0.0/99", "a..b"] {
            assert!(check_host(host).is_err(), "{host}");
        }
    }
}
