//! One statement with its values, for either database: numbered placeholders (`$1`) are understood
//! by both. Those that a statement is continued with have no numbers in SQLite: it looks each number
//! up in a list of all, again and again, which takes longer than the rest where there are thousands.
//! So a statement has one kind or the other.

use std::borrow::Cow;

use sqlx::{
    Arguments, AssertSqlSafe, Database, Encode, FromRow, SqlSafeStr, SqlStr, Sqlite, Transaction,
    Type,
    error::BoxDynError,
    sqlite::{SqliteConnection, SqliteRow},
};
#[cfg(feature = "postgres")]
use sqlx::{
    Postgres,
    postgres::{PgConnection, PgRow},
};

/// A transaction on a connection of a pool.
pub(super) type Tx<DB> = Transaction<'static, DB>;

/// A value that PostgreSQL can store, and a row of it that can be read.
#[cfg(feature = "postgres")]
mod in_postgres {
    use super::{Encode, FromRow, PgRow, Postgres, Type};

    pub(crate) trait Value<'t>: Encode<'t, Postgres> + Type<Postgres> {}
    impl<'t, T: Encode<'t, Postgres> + Type<Postgres>> Value<'t> for T {}

    pub(crate) trait Record: for<'r> FromRow<'r, PgRow> {}
    impl<T: for<'r> FromRow<'r, PgRow>> Record for T {}
}

/// No bounds in a build without PostgreSQL.
#[cfg(not(feature = "postgres"))]
mod in_postgres {
    pub(crate) trait Value<'t> {}
    impl<T> Value<'_> for T {}

    pub(crate) trait Record {}
    impl<T> Record for T {}
}

/// A value that both databases can store.
pub(super) trait Value<'t>:
    Encode<'t, Sqlite> + Type<Sqlite> + in_postgres::Value<'t>
{
}

impl<'t, T> Value<'t> for T where T: Encode<'t, Sqlite> + Type<Sqlite> + in_postgres::Value<'t> {}

/// A value that a row of either database can be read as.
pub(super) trait Record:
    for<'r> FromRow<'r, SqliteRow> + in_postgres::Record + Send
{
}

impl<T> Record for T where T: for<'r> FromRow<'r, SqliteRow> + in_postgres::Record + Send {}

/// A database that statements can be run in.
pub(super) trait SqlDatabase: Database {
    /// The placeholder of the value with this number, counted from 1.
    fn placeholder(number: usize) -> Cow<'static, str>;

    /// Adds a value behind the others.
    fn add<'t>(arguments: &mut Self::Arguments, value: impl Value<'t>) -> Result<(), BoxDynError>;

    /// Runs a statement; returns how many rows it changed.
    fn execute(
        connection: &mut Self::Connection,
        sql: SqlStr,
        arguments: Self::Arguments,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Reads all rows that a statement returns.
    fn fetch<T: Record>(
        connection: &mut Self::Connection,
        sql: SqlStr,
        arguments: Self::Arguments,
    ) -> impl Future<Output = sqlx::Result<Vec<T>>> + Send;
}

// The bounds under which sqlx runs a statement cannot be inherited from a trait: generic code would
// have to repeat all of them everywhere.
macro_rules! sql_database {
    ($database:ty, $connection:ty, $row:ty, $placeholder:expr) => {
        impl SqlDatabase for $database {
            fn placeholder(number: usize) -> Cow<'static, str> {
                $placeholder(number)
            }

            fn add<'t>(
                arguments: &mut Self::Arguments,
                value: impl Value<'t>,
            ) -> Result<(), BoxDynError> {
                arguments.add(value)
            }

            async fn execute(
                connection: &mut $connection,
                sql: SqlStr,
                arguments: Self::Arguments,
            ) -> sqlx::Result<u64> {
                let query = sqlx::query_with::<Self, _>(sql, arguments);
                Ok(query.execute(connection).await?.rows_affected())
            }

            async fn fetch<T: Record>(
                connection: &mut $connection,
                sql: SqlStr,
                arguments: Self::Arguments,
            ) -> sqlx::Result<Vec<T>> {
                let query = sqlx::query_with::<Self, _>(sql, arguments);
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(<T as FromRow<'_, $row>>::from_row).collect()
            }
        }
    };
}

sql_database!(Sqlite, SqliteConnection, SqliteRow, |_| Cow::Borrowed("?"));
#[cfg(feature = "postgres")]
sql_database!(Postgres, PgConnection, PgRow, |number| Cow::Owned(format!("${number}")));

/// SQL and the values of its placeholders.
pub(super) struct Statement<DB: SqlDatabase> {
    sql: Cow<'static, str>,
    arguments: sqlx::Result<DB::Arguments>,
}

/// A pattern for [`Dialect::like`](super::backend::Dialect) and `ESCAPE '\\'` that all match in which
/// `part` is, in whatever case.
pub(super) fn containing(part: &str) -> String {
    let escaped = part.to_lowercase().replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
    format!("%{escaped}%")
}

/// A statement whose values are bound in the order of their numbers.
pub(super) fn sql<DB: SqlDatabase>(sql: impl Into<Cow<'static, str>>) -> Statement<DB> {
    Statement { sql: sql.into(), arguments: Ok(DB::Arguments::default()) }
}

impl<DB: SqlDatabase> Statement<DB> {
    /// Binds the next value. One that cannot be encoded fails the statement when it is run.
    pub(super) fn bind<'t>(mut self, value: impl Value<'t>) -> Self {
        if let Ok(arguments) = &mut self.arguments
            && let Err(error) = DB::add(arguments, value)
        {
            self.arguments = Err(sqlx::Error::Encode(error));
        }
        self
    }

    /// Continues the SQL; never with text from outside.
    pub(super) fn push(mut self, sql: &str) -> Self {
        self.sql.to_mut().push_str(sql);
        self
    }

    /// Continues the SQL, which has no numbered placeholders, with one for `value`.
    pub(super) fn push_bind<'t>(mut self, value: impl Value<'t>) -> Self {
        self = self.bind(value);
        let number = self.arguments.as_ref().map_or(0, Arguments::len);
        self.push(&DB::placeholder(number))
    }

    /// Runs the statement; returns how many rows it changed.
    pub(super) async fn execute(self, transaction: &mut Tx<DB>) -> sqlx::Result<u64> {
        self.execute_in(transaction).await
    }

    /// All rows.
    pub(super) async fn all<T: Record>(self, transaction: &mut Tx<DB>) -> sqlx::Result<Vec<T>> {
        self.fetch(transaction).await
    }

    /// The only row, if there is one.
    pub(super) async fn optional<T: Record>(
        self,
        transaction: &mut Tx<DB>,
    ) -> sqlx::Result<Option<T>> {
        Ok(self.fetch(transaction).await?.pop())
    }

    /// The only row.
    pub(super) async fn one<T: Record>(self, transaction: &mut Tx<DB>) -> sqlx::Result<T> {
        self.optional(transaction).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Runs the statement on a connection without a transaction.
    pub(super) async fn execute_in(self, connection: &mut DB::Connection) -> sqlx::Result<u64> {
        DB::execute(connection, AssertSqlSafe(self.sql).into_sql_str(), self.arguments?).await
    }

    /// All rows, on a connection without a transaction.
    pub(super) async fn fetch<T: Record>(
        self,
        connection: &mut DB::Connection,
    ) -> sqlx::Result<Vec<T>> {
        DB::fetch(connection, AssertSqlSafe(self.sql).into_sql_str(), self.arguments?).await
    }
}

#[cfg(feature = "postgres")]
impl Statement<Postgres> {
    /// Binds a whole column as the next value.
    pub(super) fn bind_array<'t>(
        mut self,
        values: impl Encode<'t, Postgres> + Type<Postgres>,
    ) -> Self {
        if let Ok(arguments) = &mut self.arguments
            && let Err(error) = arguments.add(values)
        {
            self.arguments = Err(sqlx::Error::Encode(error));
        }
        self
    }
}

#[cfg(test)]
impl Statement<Sqlite> {
    /// The steps in which SQLite would run the statement.
    pub(super) async fn plan(mut self, transaction: &mut Tx<Sqlite>) -> Vec<String> {
        self.sql = format!("EXPLAIN QUERY PLAN {}", self.sql).into();
        let steps: Vec<(i64, i64, i64, String)> = self.all(transaction).await.unwrap();
        steps.into_iter().map(|(.., step)| step).collect()
    }
}
