//! The real PostgreSQL, and a database of it for each test.

use std::env;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

use super::wait_for;

/// The server that `make test` started.
#[expect(clippy::disallowed_methods, reason = "this is how `make test` names the server")]
fn server() -> Url {
    let url = env::var("HOMING_TEST_POSTGRES_URL").expect(
        "HOMING_TEST_POSTGRES_URL is not set: run `make test`, which starts a database server",
    );
    url.parse().expect("HOMING_TEST_POSTGRES_URL is a URL")
}

/// An empty database of its own; dropped, whoever is connected to it, when this is dropped.
pub(crate) struct Database {
    pub name: String,
}

impl Database {
    pub(crate) async fn new() -> Self {
        Self::with("ENCODING 'UTF8' TEMPLATE template0").await
    }

    pub(crate) async fn with(options: &str) -> Self {
        let name = format!("t_{:x}", uuid::Uuid::now_v7().as_u128());
        let create = format!("CREATE DATABASE {name} {options}");
        execute(&server(), create).await.expect("the server makes a database");
        Self { name }
    }

    /// For `store.url`.
    pub(crate) fn url(&self) -> String {
        self.at().into()
    }

    fn at(&self) -> Url {
        let mut url = server();
        url.set_path(&self.name);
        url
    }

    /// What a person does with psql, in homing's schema.
    pub(crate) async fn shell(&self, sql: &str) -> sqlx::Result<()> {
        execute(&self.at(), format!("SET search_path = homing; {sql}")).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        if wait_for(async move { execute(&server(), drop).await }).is_none_or(|done| done.is_err())
        {
            eprintln!("the database {} was left behind", self.name);
        }
    }
}

async fn execute(url: &Url, sql: String) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url.as_str()).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}
