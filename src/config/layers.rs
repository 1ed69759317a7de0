//! Sources of settings: each is read by itself, so that an error can name it.

use std::io;

use config::{
    Config, ConfigBuilder, ConfigError, Environment, File, FileFormat, Map, Source, Value,
    ValueKind, builder::DefaultState,
};

use super::{
    SettingsError,
    renamed::{Renamed, rename},
    show,
    tables::{fields, find, table},
};
use homing_domain::report::without_types;

/// Names more alike than this are suggested, as in clap.
const ALIKE: f64 = 0.7;

/// The settings of one source.
#[derive(Clone)]
pub(super) struct Layer {
    origin: Origin,
    values: Config,
    renamed: Vec<Renamed>,
}

#[derive(Clone)]
enum Origin {
    /// A text inside of the program.
    Text,
    /// The name of a file.
    File(String),
    Environment,
    Flags,
}

impl Layer {
    /// A TOML text inside of the program.
    pub(super) fn text(text: &str) -> Result<Self, SettingsError> {
        Self::toml(Origin::Text, text)
    }

    /// A TOML file; one that is not `required` may be missing.
    pub(super) fn file(name: &std::path::Path, required: bool) -> Result<Self, SettingsError> {
        let file = name.display().to_string();
        match homing_files::read_text(name) {
            Ok(text) => Self::toml(Origin::File(file), &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {
                Self::toml(Origin::File(file), "")
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let message = format!("{error}: be root or the service's user (`sudo -u homing`)");
                Err(SettingsError::File { file, message })
            }
            Err(error) => Err(SettingsError::File { file, message: error.to_string() }),
        }
    }

    fn toml(origin: Origin, text: &str) -> Result<Self, SettingsError> {
        let file = match &origin {
            Origin::File(name) => name.clone(),
            Origin::Text | Origin::Environment | Origin::Flags => "a text".to_owned(),
        };
        let read = Self::read(origin, File::from_str(text, FileFormat::Toml));
        if let Err(SettingsError::Read(error)) = &read
            && let Some(ConfigError::FileParse { cause, .. }) = error.downcast_ref()
        {
            let message = without_the_line(&cause.to_string());
            return Err(SettingsError::File { file, message });
        }
        read
    }

    /// Variables `HOMING__SECTION__KEY`.
    pub(super) fn environment() -> Result<Self, SettingsError> {
        let variables = Environment::with_prefix("HOMING").prefix_separator("__").separator("__");
        Self::read(Origin::Environment, variables)
    }

    /// Dotted keys with values.
    pub(super) fn flags(overrides: &[(&str, String)]) -> Result<Self, SettingsError> {
        let mut builder = Config::builder();
        for (key, value) in overrides {
            builder = builder.set_override(key, value.clone()).map_err(unreadable)?;
        }
        Self::of(Origin::Flags, builder)
    }

    fn read(
        origin: Origin,
        source: impl Source + Send + Sync + 'static,
    ) -> Result<Self, SettingsError> {
        Self::of(origin, Config::builder().add_source(source))
    }

    fn of(origin: Origin, builder: ConfigBuilder<DefaultState>) -> Result<Self, SettingsError> {
        let mut values = builder.build().map_err(unreadable)?;
        by_name(&mut values.cache, &["source", "livestream"])?;
        let renamed = origin.rename(&mut values.cache)?;
        Ok(Self { origin, values, renamed })
    }

    /// Refuses keys that the defaults do not have.
    fn check_keys(&self, defaults: &Self) -> Result<(), SettingsError> {
        let mut keys = Vec::new();
        unknown(&defaults.values.cache, &self.values.cache, "", &mut keys);
        keys.sort_unstable();
        SettingsError::all(keys.into_iter().map(|key| self.unknown(defaults, key)).collect())
    }

    /// Refuses variables of the environment that name a setting with one underscore, which are not
    /// read.
    pub(super) fn check_variables(
        &self,
        names: impl Iterator<Item = String>,
    ) -> Result<(), SettingsError> {
        let misspelt = names.filter_map(|name| {
            let key = name.strip_prefix("HOMING_")?.to_lowercase();
            let (section, setting) =
                table(&self.values.cache)?.iter().find_map(|(section, it)| {
                    let setting = key.strip_prefix(section.as_str())?.strip_prefix('_')?;
                    table(it)?.contains_key(setting).then_some((section, setting))
                })?;
            let meant = format!("HOMING__{section}__{setting}").to_uppercase();
            let message = format!("variables of settings have two underscores twice: `{meant}`");
            Some(SettingsError::value(&name, message))
        });
        SettingsError::all(misspelt.collect())
    }

    /// The error for an unknown `key`, with a suggestion.
    fn unknown(&self, defaults: &Self, key: String) -> SettingsError {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key.as_str()));
        let there = find(&defaults.values.cache, section).and_then(table);
        let alike = there.into_iter().flat_map(Map::keys).map(|there| {
            let dot = if section.is_empty() { "" } else { "." };
            (strsim::jaro(name, there), format!("did you mean `{section}{dot}{there}`? "))
        });
        let elsewhere = section.is_empty().then(|| sections_with(&defaults.values.cache, name));
        let elsewhere = elsewhere.into_iter().flatten();
        let elsewhere = elsewhere.map(|there| (1.0, format!("did you mean `{there}.{name}`? ")));
        let alike = alike.chain(elsewhere);
        let nearest = alike.filter(|(alike, _)| *alike > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
        let meant = nearest.map(|(_, meant)| meant).unwrap_or_default();
        let message = format!("there is no such setting; {meant}`homing config` lists all");
        SettingsError::Value { origin: self.report(&key), key, message }
    }

    /// The place where `key` is set, in words; `None`: not here.
    fn report(&self, key: &str) -> Option<String> {
        find(&self.values.cache, key)?;
        let former = self.renamed.iter().find(|renamed| renamed.name == Some(key));
        match (&self.origin, former) {
            (Origin::File(name), Some(Renamed { former, .. })) => {
                Some(format!("{name}, as `{former}`"))
            }
            (origin, former) => origin.place(former.map_or(key, |renamed| renamed.former)),
        }
    }
}

impl Origin {
    /// Where this source has `key`, in words for people; `None`: in the program.
    fn place(&self, key: &str) -> Option<String> {
        match self {
            Self::Text => None,
            Self::File(name) => Some(name.clone()),
            Self::Environment => Some(format!("HOMING__{}", key.replace('.', "__").to_uppercase())),
            Self::Flags => Some("flag".to_owned()),
        }
    }

    /// Renames what has a former name here.
    fn rename(&self, values: &mut Value) -> Result<Vec<Renamed>, SettingsError> {
        rename(values).map_err(|(key, message)| {
            let origin = self.place(key);
            SettingsError::Value { key: key.to_owned(), origin, message }
        })
    }
}

/// The layers of a process, the lowest first: the defaults, then what overrides them.
pub(super) struct Layers(pub(super) Vec<Layer>);

impl Layers {
    /// All layers as one; refuses keys that the lowest does not have.
    pub(super) fn merge(&self) -> Result<Config, SettingsError> {
        let mut builder = Config::builder();
        for layer in &self.0 {
            if let Some(defaults) = self.0.first() {
                layer.check_keys(defaults)?;
            }
            builder = builder.add_source(layer.values.clone());
        }
        builder.build().map_err(unreadable)
    }

    /// The settings that are written with a former name.
    pub(super) fn renamed(&self) -> Vec<Renamed> {
        self.0.iter().flat_map(|layer| layer.renamed.iter().cloned()).collect()
    }

    /// Names the source of a wrong value.
    pub(super) fn blame(&self, error: SettingsError) -> SettingsError {
        if let SettingsError::Several(errors) = error {
            return SettingsError::Several(errors.into_iter().map(|one| self.blame(one)).collect());
        }
        let SettingsError::Value { key, origin: None, message } = error else { return error };
        let set = self.0.iter().rev().find(|layer| find(&layer.values.cache, &key).is_some());
        SettingsError::Value { origin: set.and_then(|layer| layer.report(&key)), key, message }
    }

    /// The error for a value of the wrong type: names the key, and the default as an example.
    pub(super) fn misfit(&self, error: ConfigError) -> SettingsError {
        let (key, message) = if let ConfigError::At { error, key: Some(key), .. } = &error {
            (key, error.to_string())
        } else if let ConfigError::Type { unexpected, expected, key: Some(key), .. } = &error {
            (key, format!("invalid type: {unexpected}, expected {expected}"))
        } else {
            return unreadable(error);
        };
        let default = |key| self.0.first().and_then(|layer| find(&layer.values.cache, key));
        if message.contains(", expected struct ")
            && let Some((entries, name)) = key.rsplit_once('.')
            && default(entries).and_then(table).is_some_and(Map::is_empty)
        {
            let message = format!(
                "each of `{entries}` has a name: write [{entries}.NAME] and `{name}` below"
            );
            return self.blame(SettingsError::Value { key: key.clone(), origin: None, message });
        }
        let (default, message) = (default(key), without_types(&message).into_owned());
        if default.and_then(table).is_some() {
            let message = format!("this is a section; write [{key}] and its settings below");
            return self.blame(SettingsError::Value { key: key.clone(), origin: None, message });
        }
        if show::is_secret(key) {
            // The value may be the secret itself, so the message does not repeat it.
            let expected = message.rsplit_once(", expected ");
            let message = expected.map_or(message.clone(), |(_, it)| format!("it has to be {it}"));
            return self.blame(SettingsError::Value { key: key.clone(), origin: None, message });
        }
        let example = match default.map(|value| &value.kind) {
            Some(ValueKind::String(text)) => format!("; for example \"{text}\""),
            Some(ValueKind::I64(number)) => format!("; for example {number}"),
            _ if key.starts_with("schedule.custom.") => "; for example [\"5s\", \"1m\"]".to_owned(),
            _ => String::new(),
        };
        let message = format!("{message}{example}");
        self.blame(SettingsError::Value { key: key.clone(), origin: None, message })
    }
}

fn unreadable(error: ConfigError) -> SettingsError {
    SettingsError::Read(error.into())
}

/// Turns a list of tables at `path` into a table by their `name`s: then layers add up, and every
/// entry can be named in errors, variables and flags.
fn by_name(root: &mut Value, path: &[&str]) -> Result<(), SettingsError> {
    let place = path.iter().try_fold(root, |value, name| fields(value)?.get_mut(*name));
    let Some(Value { kind, .. }) = place else { return Ok(()) };
    let ValueKind::Array(entries) = kind else { return Ok(()) };
    let key = path.join(".");
    let mut named = Map::new();
    for mut entry in std::mem::take(entries) {
        let name = fields(&mut entry).and_then(|fields| fields.remove("name"));
        let name = name.and_then(|name| name.into_string().ok()).ok_or_else(|| {
            SettingsError::value(&key, format!("every [[{key}]] has a `name`, a text"))
        })?;
        if named.insert(name.clone(), entry).is_some() {
            return Err(SettingsError::value(&key, format!("`{name}` is given twice")));
        }
    }
    *kind = ValueKind::Table(named);
    Ok(())
}

/// The sections that have a setting of this name.
fn sections_with(root: &Value, name: &str) -> Vec<String> {
    let sections = table(root).into_iter().flatten();
    let with = sections.filter(|(_, it)| table(it).is_some_and(|it| it.contains_key(name)));
    with.map(|(section, _)| section.clone()).collect()
}

/// Collects the keys of `found` that `known` does not have. A section without keys accepts any.
fn unknown(known: &Value, found: &Value, path: &str, keys: &mut Vec<String>) {
    let (Some(known), Some(found)) = (table(known), table(found)) else { return };
    if known.is_empty() {
        return;
    }
    let dot = if path.is_empty() { "" } else { "." };
    for (name, value) in found {
        let path = format!("{path}{dot}{name}");
        match known.get(name) {
            Some(known) => unknown(known, value, &path, keys),
            None => keys.push(path),
        }
    }
}

/// Place and reason of an error of the TOML reader, without the line, which it draws beside a bar.
fn without_the_line(error: &str) -> String {
    let number = |c: char| c == ' ' || c.is_ascii_digit();
    let said = error.lines().filter(|line| !line.trim_start_matches(number).starts_with('|'));
    said.map(str::trim).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;
    use homing_domain::report::Chain;

    /// The error for `text` in a file, without the name of its folder.
    fn error(text: &str, overrides: &[(&str, String)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("homing.toml");
        std::fs::write(&file, text).unwrap();
        let error = Settings::load(Some(&file), overrides).unwrap_err();
        Chain(&error).to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn errors_name_the_file() {
        insta::assert_snapshot!(error("[broker]\nurll = \"x\"", &[]), @"`broker.urll` (homing.toml): there is no such setting; did you mean `broker.url`? `homing config` lists all");
        insta::assert_snapshot!(error("[api]\nlisten = \"8080\"", &[]), @r#"`api.listen` (homing.toml): `8080` is no address with a port; for example "127.0.0.1:8080""#);
        insta::assert_snapshot!(error("[worker]\nmax_in_flight = 1", &[]), @"`worker.max_in_flight` (homing.toml): between 2 and 100000");
        insta::assert_snapshot!(error("[schedule.custom]\nfast = [\"soon\"]", &[]), @r#"`schedule.custom.fast[0]` (homing.toml): invalid value: string "soon", expected a duration; for example ["5s", "1m"]"#);
        insta::assert_snapshot!(error("worker = 3", &[]), @"`worker` (homing.toml): this is a section; write [worker] and its settings below");
    }

    #[test]
    fn errors_name_the_highest_source_that_has_the_key() {
        let flags = [("worker.max_in_flight", "many".to_owned())];
        insta::assert_snapshot!(error("[worker]\nmax_in_flight = 1", &flags), @r#"`worker.max_in_flight` (flag): invalid type: string "many", expected an integer; for example 1024"#);
        let flags = [("colour", "x".to_owned())];
        insta::assert_snapshot!(error("", &flags), @"`colour` (flag): there is no such setting; did you mean `api.colour`? `homing config` lists all");
    }
}
