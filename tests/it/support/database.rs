//! The real PostgreSQL, and a database of it for each test.

use std::{
    env, fs,
    process::{Command, Stdio},
};

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

/// An empty database of its own; dropped, with all connections to it, when this is dropped.
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

    /// Transactions so far, committed or rolled back. Those of a connection are counted at the
    /// latest when it ends.
    pub(crate) async fn transactions(&self) -> i64 {
        let mut connection =
            PgConnection::connect(server().as_str()).await.expect("the server answers");
        let counted = sqlx::query_scalar(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1",
        );
        let counted = counted.bind(&self.name).fetch_one(&mut connection).await;
        connection.close().await.expect("the connection ends");
        counted.expect("the database is known")
    }

    fn at(&self) -> Url {
        let mut url = server();
        url.set_path(&self.name);
        url
    }

    /// Keeps everybody else from these tables until the connection is dropped.
    pub(crate) async fn lock(&self, tables: &str) -> PgConnection {
        let at = self.at();
        let mut connection = PgConnection::connect(at.as_str()).await.expect("it answers");
        let lock = format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE");
        let locked = sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut connection).await;
        locked.expect("the tables exist");
        connection
    }

    /// All rows of homing's tables as text, bytes in hexadecimal digits.
    pub(crate) async fn rows(&self) -> String {
        let mut connection =
            PgConnection::connect(self.at().as_str()).await.expect("the server answers");
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'homing'";
        let tables: Vec<String> = sqlx::query_scalar(tables)
            .fetch_all(&mut connection)
            .await
            .expect("the tables can be listed");
        let mut all = String::new();
        for table in tables {
            let rows = format!("SELECT one::text FROM homing.{table} AS one");
            let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(rows))
                .fetch_all(&mut connection)
                .await
                .expect("the table can be read");
            all += &rows.join("\n");
        }
        connection.close().await.expect("the connection ends");
        all
    }

    /// Changes homing's schema as an operator does with psql.
    pub(crate) async fn shell(&self, sql: &str) -> sqlx::Result<()> {
        execute(&self.at(), format!("SET search_path = homing; {sql}")).await
    }

    /// A number that a query of homing's schema finds.
    pub(crate) async fn number(&self, sql: &'static str) -> sqlx::Result<i64> {
        let mut connection = PgConnection::connect(self.at().as_str()).await?;
        sqlx::raw_sql("SET search_path = homing").execute(&mut connection).await?;
        let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(number)
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

/// A server of its own, for tests that lose it; stopped and deleted when dropped.
pub(crate) struct Server {
    instance: String,
    url: String,
}

impl Server {
    pub(crate) fn new() -> Self {
        let number = uuid::Uuid::now_v7().as_u128();
        let instance = format!("t-{:012x}", number & 0xffff_ffff_ffff);
        let url = script("up", &["--instance", &instance]).expect("a server can be started");
        Self { instance, url }
    }

    /// For `store.url`: an empty database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ends the server at once, as a crash does: what was committed is found at the next start.
    pub(crate) fn lose(&self) {
        let file = script("up", &["--instance", &self.instance, "--print-pidfile"]);
        let file = fs::read_to_string(file.expect("the server has a file"));
        let pid = file.expect("the server runs").lines().next().map(str::to_owned);
        let pid = pid.expect("the first line is the process id");
        let killed = Command::new("kill").args(["-QUIT", &pid]).status();
        assert!(killed.expect("kill can be run").success());
        self.stop();
    }

    /// Starts it again.
    pub(crate) fn find(&self) {
        let url = script("up", &["--instance", &self.instance]);
        assert_eq!(url.as_ref(), Some(&self.url), "the server comes back where it was");
    }

    /// Waits for the end.
    fn stop(&self) {
        script("down", &["--instance", &self.instance]).expect("the server can be stopped");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if script("down", &["--instance", &self.instance, "--delete-data"]).is_none() {
            eprintln!("the database server {} was left behind", self.instance);
            return;
        }
        // Other instances have another turn to take; this one never.
        let lock =
            format!("{}/.homing/postgres-{}.lock", env!("CARGO_MANIFEST_DIR"), self.instance);
        fs::remove_file(lock).expect("the lock of the server can be removed");
    }
}

/// The output of `postgres/up` or `postgres/down`; `None`: it failed, and said why.
fn script(name: &str, arguments: &[&str]) -> Option<String> {
    let path = format!("{}/postgres/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).output().ok()?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| printed.trim().to_owned())
}
