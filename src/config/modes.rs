//! Files with secrets that others on this machine can read.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use homing_store::settings::StoreUrl;

use super::{DEFAULTS, Layer, Settings, file_or_default, show};

/// All permissions of others, and write permission of the group.
const LOOSE: u32 = 0o027;

/// A file with secrets that others on this machine can read, or change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LooseFile {
    /// Its path.
    pub file: PathBuf,
    /// Its permissions, as for `chmod`.
    pub mode: u32,
}

impl Settings {
    /// The existing files with secrets that others on this machine can read, or that others than
    /// the owner can change: the settings file (`file`, or the default one), files that the
    /// settings name, and those of the embedded store.
    #[must_use]
    pub fn loose_files(&self, file: Option<&Path>) -> Vec<LooseFile> {
        let mut files = self.files_of_store();
        if has_secrets(file) {
            files.push(file_or_default(file).to_owned());
        }
        files.push(self.store.encryption_key_file.clone().into());
        files.push(self.endpoint.client_key_file.clone().into());
        files.push(self.endpoint.proxy_login_file.clone().into());
        let streams = self.source.livestream.values();
        files.extend(streams.map(|stream| stream.client_secret_file.clone()));
        let loose = |file: PathBuf| {
            let mode = fs::metadata(&file).ok()?.permissions().mode() & 0o777;
            (mode & LOOSE != 0).then_some(LooseFile { file, mode })
        };
        files.into_iter().filter_map(loose).collect()
    }

    fn files_of_store(&self) -> Vec<PathBuf> {
        let Ok(StoreUrl::Sqlite(file)) = self.store.place() else { return Vec::new() };
        let beside = |suffix: &str| PathBuf::from(format!("{file}{suffix}"));
        vec![beside(""), beside("-wal"), beside("-shm"), beside(".key")]
    }
}

/// True if the file holds a secret that is not one of the defaults.
fn has_secrets(file: Option<&Path>) -> bool {
    let read = || {
        let named = file_or_default(file);
        Settings::of(vec![Layer::text(DEFAULTS)?, Layer::file(named, file.is_some())?])
    };
    // A file that is not complete by itself may hold one too.
    let (Ok(alone), Ok(defaults)) = (read(), Settings::from_toml("")) else { return true };
    show::secrets(&alone) != show::secrets(&defaults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_secrets_that_others_can_read_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str, mode: u32| {
            fs::write(path(name), text).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        let database = path("homing.db");
        let store = format!("[store]\nurl = \"sqlite:{}\"\n", database.display());
        let loose = |toml: &str, mode: u32| {
            write("homing.toml", toml, mode);
            let settings = Settings::from_toml(toml).unwrap();
            let found = settings.loose_files(Some(&path("homing.toml")));
            let name = |loose: LooseFile| loose.file.file_name().unwrap().to_owned();
            found.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(loose(&store, 0o644), [""; 0], "nothing in it is secret, and there is no store");
        let secret = format!("{store}[api]\ntokens = [\"0123456789abcdef\"]\n");
        assert_eq!(loose(&secret, 0o644), ["homing.toml"]);
        assert_eq!(loose(&secret, 0o600), [""; 0]);
        assert_eq!(loose(&secret, 0o640), [""; 0], "a group that was chosen may read it");
        assert_eq!(loose(&secret, 0o660), ["homing.toml"]);
        for name in ["homing.db", "homing.db-wal", "homing.db-shm", "homing.db.key"] {
            write(name, "", 0o644);
        }
        let all = ["homing.db", "homing.db-wal", "homing.db-shm", "homing.db.key"];
        assert_eq!(loose(&store, 0o644), all);
        for name in all {
            write(name, "", 0o600);
        }
        write("keys", "", 0o604);
        write("secret", "", 0o666);
        let named = format!(
            "{store}encryption_key_file = \"{}\"\n[source.livestream.main]\nurl = \"https://a/\"\n\
             client_id = \"id\"\nclient_secret_file = \"{}\"\n",
            path("keys").display(),
            path("secret").display()
        );
        assert_eq!(loose(&named, 0o644), ["keys", "secret"]);
    }
}
