//! Records of the attempt log in PostgreSQL: one statement, which is planned once, however many.

use std::mem;

use sqlx::Postgres;

use crate::{
    attempt_row::{AttemptRow, COLUMNS, with_fields},
    statement::{Statement, Tx, sql},
};
use homing_domain::record::Record;

/// The types of the columns, in their order; the last record of its delivery is each for now.
const VALUES: &str = "SELECT *, 1 FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], \
    $5::bytea[], $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::bigint[], \
    $11::bigint[], $12::text[], $13::bigint[], $14::bytea[], $15::bigint[], $16::text[], \
    $17::text[], $18::bigint[], $19::text[], $20::bigint[], $21::bigint[], $22::text[], \
    $23::bigint[], $24::text[], $25::bigint[], $26::bigint[], $27::bigint[])";

/// Adds those of `records` that are not in the log yet, and returns their ids.
pub(super) async fn insert(
    transaction: &mut Tx<Postgres>,
    records: &[&Record],
) -> sqlx::Result<Vec<(Vec<u8>,)>> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    statement(records).push(" RETURNING id").all(transaction).await
}

/// Adds those of `records` that are not in the log yet, and returns their number.
pub(super) async fn count_inserted(
    transaction: &mut Tx<Postgres>,
    records: &[&Record],
) -> sqlx::Result<u64> {
    if records.is_empty() {
        return Ok(0);
    }
    statement(records).execute(transaction).await
}

fn statement(records: &[&Record]) -> Statement<Postgres> {
    let mut rows: Vec<_> = records.iter().map(|record| AttemptRow::from(*record)).collect();
    let insert =
        format!("INSERT INTO attempts ({COLUMNS}, latest) {VALUES} ON CONFLICT (id) DO NOTHING");
    macro_rules! columns {
        ($($field:ident),*) => {
            sql(insert)$(.bind_array(
                rows.iter_mut().map(|row| mem::take(&mut row.$field)).collect::<Vec<_>>(),
            ))*
        };
    }
    with_fields!(columns)
}
