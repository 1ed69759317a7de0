//! The schema of a store beside that of this homing.

use sqlx::migrate::Migrator;

use super::StoreError;

/// The migrations that the store has: version and checksum.
pub(super) const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";

/// True if a store that has the migrations `applied` needs none of `known`, and has no other. One
/// with as many versions may still have another history: that of a build of something else.
///
/// # Errors
///
/// [`StoreError::Newer`]: one of them is behind all that are known.
pub(super) fn is_current(applied: &[(i64, Vec<u8>)], known: &Migrator) -> Result<bool, StoreError> {
    let newest = known.iter().map(|migration| migration.version).max().unwrap_or_default();
    if let Some((found, _)) = applied.last().filter(|(found, _)| *found > newest) {
        return Err(StoreError::Newer { found: *found, known: newest });
    }
    let known = known.iter().map(|migration| (migration.version, &*migration.checksum));
    Ok(applied.iter().map(|(version, checksum)| (*version, checksum.as_slice())).eq(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite;

    #[cfg(feature = "postgres")]
    #[test]
    fn both_databases_have_the_same_migrations_and_each_has_its_own_number() {
        fn numbers_and_names(migrations: &Migrator) -> Vec<(i64, &str)> {
            migrations.iter().map(|it| (it.version, it.description.as_ref())).collect()
        }
        let sqlite = numbers_and_names(&sqlite::MIGRATIONS);
        assert_eq!(sqlite, numbers_and_names(&crate::postgres::MIGRATIONS));
        assert!(sqlite.is_sorted_by(|(one, _), (next, _)| one < next), "{sqlite:?}");
    }

    #[test]
    fn another_history_with_as_many_versions_is_not_current() {
        let known = &sqlite::MIGRATIONS;
        let ours: Vec<_> = known.iter().map(|it| (it.version, it.checksum.to_vec())).collect();
        assert!(is_current(&ours, known).unwrap());
        let mut changed = ours.clone();
        changed[3].1[0] ^= 1;
        let mut incomplete = ours.clone();
        incomplete.remove(3);
        let mut further = ours.clone();
        further.insert(1, (ours[0].0, Vec::new()));
        for other in [changed, incomplete, further, Vec::new()] {
            assert!(!is_current(&other, known).unwrap(), "{other:?}");
        }
        let mut newer = ours;
        newer.push((9_000, Vec::new()));
        assert!(matches!(is_current(&newer, known), Err(StoreError::Newer { found: 9_000, .. })));
    }
}
