//! Profiles: running installations that commands reach over their HTTP API, by name.
//!
//! They are in a file of the user's own, `~/.config/homing/profiles.toml`, and hold no secret: a
//! token is in a file that they name.
//!
//! Source: XDG Base Directory Specification 0.8 (`XDG_CONFIG_HOME`).

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use config::{Config, ConfigError, File, FileFormat};
use serde::Deserialize;

/// One installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The URL of its API.
    pub api: String,
    /// A file with a token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A file in PEM with certificates that are trusted beside the public ones.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// The reason why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no folder for it.
    #[error("there is no place for profiles: set HOME, or XDG_CONFIG_HOME")]
    NoPlace,
    /// The file cannot be read.
    #[error("cannot read the profiles in {file}")]
    Read {
        /// Its path.
        file: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The file has another form.
    #[error(
        "{file}: {message}; a profile is a section `[NAME]` with `api = \"https://…\"`, and \
             `token_file` and `ca_file` where they are needed"
    )]
    Form {
        /// Its path.
        file: String,
        /// The error.
        message: String,
    },
    /// No profile has this name.
    #[error("{file} has no profile `{name}`; it has {}", known(.names))]
    Unknown {
        /// The path of the file.
        file: String,
        /// The requested name.
        name: String,
        /// The names of the profiles.
        names: Vec<String>,
    },
}

fn known(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The file of the profiles, whether it exists or not; `None`: there is no home for it.
#[must_use]
pub fn profile_file() -> Option<PathBuf> {
    file_in(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

fn file_in(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let own = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = own.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))?;
    Some(folder.join("homing").join("profiles.toml"))
}

impl Profile {
    /// The profile with this name in `file`. Files that it names are relative to the folder of
    /// `file`; `~/` is the user's home.
    ///
    /// # Errors
    ///
    /// [`ProfileError`].
    pub fn load(file: &Path, name: &str) -> Result<Self, ProfileError> {
        let shown = file.display().to_string();
        let text = homing_files::read_text(file)
            .map_err(|source| ProfileError::Read { file: shown.clone(), source })?;
        let mut profiles = read(&text).map_err(|error| {
            // Without the excerpt, which is drawn over several lines.
            let message = error.to_string();
            let message = message.lines().next().unwrap_or_default().to_owned();
            ProfileError::Form { file: shown.clone(), message }
        })?;
        let Some(profile) = profiles.remove(name) else {
            let names = profiles.into_keys().collect();
            return Err(ProfileError::Unknown { file: shown, name: name.to_owned(), names });
        };
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let placed = |path: PathBuf| place(&path, file.parent(), home.as_deref());
        Ok(Self {
            token_file: profile.token_file.map(placed),
            ca_file: profile.ca_file.map(placed),
            ..profile
        })
    }
}

fn read(text: &str) -> Result<BTreeMap<String, Profile>, ConfigError> {
    let source = File::from_str(text, FileFormat::Toml);
    Config::builder().add_source(source).build()?.try_deserialize()
}

fn place(path: &Path, folder: Option<&Path>, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home, folder) {
        (Ok(rest), Some(home), _) => home.join(rest),
        (_, _, Some(folder)) => folder.join(path),
        (_, _, None) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use homing_domain::report::Chain;

    use super::*;

    const TEXT: &str = "[production]\napi = \"https://homing.example.com\"\n\
                        token_file = \"production.token\"\n[local]\napi = \"http://127.0.0.1:8080\"\n";

    fn load(text: &str, name: &str) -> Result<Profile, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profiles.toml");
        std::fs::write(&file, text).unwrap();
        let report = |error: ProfileError| {
            Chain(&error).to_string().replace(&folder.path().display().to_string(), "FOLDER")
        };
        let profile = Profile::load(&file, name).map_err(report)?;
        if let Some(token) = &profile.token_file {
            assert!(token.starts_with(folder.path()) || token.is_absolute());
        }
        Ok(profile)
    }

    #[test]
    fn a_profile_is_found_by_its_name() {
        assert_eq!(load(TEXT, "local").unwrap().api, "http://127.0.0.1:8080");
        let production = load(TEXT, "production").unwrap();
        assert!(production.token_file.unwrap().ends_with("production.token"));
        insta::assert_snapshot!(load(TEXT, "staging").unwrap_err(), @"FOLDER/profiles.toml has no profile `staging`; it has local, production");
    }

    #[test]
    fn a_profile_of_another_form_is_explained() {
        let error = load("[a]\napi = \"x\"\ntoken = \"secret\"\n", "a").unwrap_err();
        assert!(error.contains("unknown field `token`"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn files_are_beside_the_profiles_or_at_home() {
        let place = |path: &str| {
            place(Path::new(path), Some(Path::new("/c/homing")), Some(Path::new("/home/anna")))
        };
        assert_eq!(place("t"), Path::new("/c/homing/t"));
        assert_eq!(place("~/t"), Path::new("/home/anna/t"));
        assert_eq!(place("/t"), Path::new("/t"));
    }

    #[test]
    fn the_file_is_where_the_user_keeps_settings() {
        let file = |of: &[(&str, &str)]| {
            file_in(|name| of.iter().find(|(key, _)| *key == name).map(|(_, to)| to.into()))
        };
        let expected = Path::new("/home/anna/.config/homing/profiles.toml");
        assert_eq!(file(&[("HOME", "/home/anna")]).as_deref(), Some(expected));
        let own = file(&[("HOME", "/home/anna"), ("XDG_CONFIG_HOME", "/x")]);
        assert_eq!(own.as_deref(), Some(Path::new("/x/homing/profiles.toml")));
        assert_eq!(file(&[]), None);
    }
}
