//! Promises of a PostgreSQL store only that need no server; the promises of every store are in
//! `tests/it/store`.

use url::Url;

use super::*;

#[test]
fn the_location_shows_neither_password_nor_parameters() {
    for (url, shown) in [
        (
            "postgres://homing:hid%2Fden@db:5433/homing?sslmode=require",
            "postgres://homing@db:5433/homing",
        ),
        ("postgresql://db/homing", "postgresql://db/homing"),
        ("postgres:///homing?host=/run/postgresql", "postgres:///homing"),
    ] {
        assert_eq!(location(&Url::parse(url).unwrap()), shown);
    }
}
