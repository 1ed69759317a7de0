//! The one who runs a command, for the audit.

use std::{fs, os::unix::fs::MetadataExt};

use homing_domain::audit::{Actor, Via};
use homing_telemetry::host_name;

/// `user@host` by the user's id, which no variable of the environment changes; `uid 1000@host` where
/// the id has no name.
pub(super) fn of_command() -> Actor {
    // A process's own folder belongs to its effective user.
    let uid = fs::metadata("/proc/self").map(|own| own.uid()).ok();
    let user = match uid {
        Some(uid) => name(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid)
            .unwrap_or_else(|| format!("uid {uid}")),
        None => "unknown".to_owned(),
    };
    Actor { via: Via::Cli, name: format!("{user}@{}", host_name()), ..Actor::default() }
}

/// The name of the user `uid`. Source: passwd(5), `name:password:uid:…`.
fn name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_as_the_system_names_them() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nbroken\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(name(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name(passwd, 1000).as_deref(), Some("anna"));
        assert_eq!(name(passwd, 1001), None);
        let actor = of_command();
        assert!(actor.name.contains('@'), "{}", actor.name);
    }
}
