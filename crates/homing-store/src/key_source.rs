//! The source of the encryption keys: the settings, a key file, or, for a store of one machine, a
//! file beside the database that is created with it.

use std::{
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{StoreError, keyring::Keyring};
use crate::settings::StoreSettings;
use homing_domain::clock;
use homing_domain::encryption_key::{EncryptionKey, KeyId};

/// The keys that were given, and their source.
pub(super) struct GivenKeys {
    keys: Vec<EncryptionKey>,
    from: String,
}

impl GivenKeys {
    /// The keys that the settings name; `None`: they name none.
    pub(super) fn configured(settings: &StoreSettings) -> Result<Option<Self>, StoreError> {
        if !settings.encryption_key_file.is_empty() {
            let file = PathBuf::from(&settings.encryption_key_file);
            return Self::read(&file).map(Some);
        }
        let keys = settings.keys().map_err(StoreError::Key)?;
        let from = "`store.encryption_keys`".to_owned();
        Ok((!keys.is_empty()).then_some(Self { keys, from }))
    }

    /// The keys in the file beside the database, which is created if it is missing and `may_make`.
    pub(super) fn beside(database: &Path, may_make: bool) -> Result<Self, StoreError> {
        let mut name = database.as_os_str().to_owned();
        name.push(".key");
        let file = PathBuf::from(name);
        if may_make && !file.exists() {
            create(&file)?;
        }
        Self::read(&file)
    }

    fn read(file: &Path) -> Result<Self, StoreError> {
        let refused = |source| StoreError::KeyFile { file: file.to_owned(), source };
        let text = homing_files::read_text(file).map_err(refused)?;
        let lines = text.lines().enumerate();
        let keys = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let key = |(index, line): (usize, &str)| {
            EncryptionKey::try_from(line).map_err(|source| {
                let line = index.saturating_add(1);
                StoreError::KeyFileLine { file: file.to_owned(), line, source }
            })
        };
        let keys = keys.map(key).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { keys, from: file.display().to_string() })
    }

    /// The keyring, if no key in `used` is missing.
    pub(super) fn keyring(&self, used: &[KeyId]) -> Result<Keyring, StoreError> {
        let keyring = Keyring::new(&self.keys).ok_or(StoreError::NoKey)?;
        match used.iter().find(|id| !keyring.has(id)) {
            None => Ok(keyring),
            Some(missing) => {
                let ids: Vec<_> = self.keys.iter().map(|key| key.id().to_string()).collect();
                let given = format!("{} ({})", self.from, ids.join(", "));
                Err(StoreError::KeyMissing { missing: missing.clone(), given })
            }
        }
    }
}

/// Creates the file. A reader never finds a part of it; of several processes that create it at
/// once, one succeeds.
fn create(file: &Path) -> Result<(), StoreError> {
    let refused = |source| StoreError::KeyFile { file: file.to_owned(), source };
    let key = EncryptionKey::from_bytes(clock::random().map_err(StoreError::Randomness)?);
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", clock::new_id()));
    let draft = PathBuf::from(name);
    let written = write(&draft, &key).and_then(|()| std::fs::hard_link(&draft, file));
    let removed = std::fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(refused(error)),
        Ok(()) | Err(_) => removed.map_err(refused),
    }
}

fn write(draft: &Path, key: &EncryptionKey) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(draft)?;
    writeln!(file, "# Encrypts the secrets in homing's database beside this file.")?;
    writeln!(file, "# Without it they cannot be read again.")?;
    writeln!(file, "{}", key.reveal())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings(toml: &str) -> StoreSettings {
        StoreSettings::from_toml(toml).unwrap()
    }

    fn key(byte: u8) -> EncryptionKey {
        EncryptionKey::from_bytes([byte; 32])
    }

    #[test]
    fn a_key_file_is_made_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("homing.db");
        let first = GivenKeys::beside(&database, true).unwrap().keyring(&[]).unwrap();
        let again = GivenKeys::beside(&database, true).unwrap().keyring(&[]).unwrap();
        assert_eq!(first.primary(), again.primary());
        let names = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["homing.db.key"]);
        let mode = folder.path().join("homing.db.key").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_is_missing_is_named_and_no_other_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("homing.db");
        let error = GivenKeys::beside(&database, false).err().unwrap().report();
        assert!(error.contains("homing.db.key cannot be used"), "{error}");

        let given = settings(&format!("encryption_keys = [\"{}\"]", key(2).reveal()));
        let given = GivenKeys::configured(&given).unwrap().unwrap();
        assert!(given.keyring(&[key(2).id()]).is_ok());
        let error = given.keyring(&[key(1).id()]).err().unwrap().report();
        insta::assert_snapshot!(error, @"secrets in the store are encrypted with key 38fa03843b808493, which is not in `store.encryption_keys` (09ca8a90e23233ac); add that key, behind the one that is to encrypt from now on");
    }

    #[test]
    fn a_line_that_is_no_key_is_named_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, format!("# newest first\n{}\n\nnonsense\n", key(1).reveal()))
            .unwrap();
        let given = settings(&format!("encryption_key_file = \"{}\"", file.display()));
        let error = GivenKeys::configured(&given).err().unwrap().report();
        let error = error.replace(folder.path().to_str().unwrap(), "…");
        insta::assert_snapshot!(error, @"line 4 of the key file …/keys: an encryption key is 32 random bytes in base64 (44 characters); `homing keys generate` makes one");

        std::fs::write(&file, format!("{}\n{}\n", key(2).reveal(), key(1).reveal())).unwrap();
        let given = GivenKeys::configured(&given).unwrap().unwrap();
        assert_eq!(given.keyring(&[key(1).id()]).unwrap().primary(), &key(2).id());
    }

    #[test]
    fn without_any_key_nothing_is_given() {
        assert!(GivenKeys::configured(&settings("")).unwrap().is_none());
    }
}
