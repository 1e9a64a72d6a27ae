//! The state in PostgreSQL, for gateways on several machines.
//!
//! One connection works, one listens. Every change is announced with `NOTIFY`; because a notification can be lost with its
//! connection, and a connection can be dead without anybody saying so, the listener also reads the change counter four
//! times a second. While it cannot, [`Database::may_have_changed`] says `true`, so that requests are judged by what the
//! database says or not at all: a revocation is never missed for longer than that.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bowline_secret::Secret;
use futures_util::future::poll_fn;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut};
use tokio_postgres::{AsyncMessage, Client, Config, IsolationLevel};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::StoreError;
use crate::database::{Database, Purpose, Row, Statement, Value};
use crate::schema::{NEWEST, POSTGRES, upgrade};

/// How long a transaction may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the listener looks by itself.
const LOOK: Duration = Duration::from_millis(250);
/// How long its look may take, and the pause between attempts to connect again.
const LOOK_ANSWER: Duration = Duration::from_millis(500);
/// Where the tables are.
const SCHEMA: &str = "bowline_access";

/// PostgreSQL.
pub(crate) struct Postgres {
    connector: Connector,
    /// The working connection, made again when it broke.
    client: Mutex<Option<Client>>,
    changed: Arc<AtomicBool>,
    _listener: DropGuard,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

#[derive(Clone)]
struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    changed: Arc<AtomicBool>,
    /// Nobody looks at the database's changes: the listener has no connection.
    blind: Arc<AtomicBool>,
}

impl Connector {
    /// Connects, and drives the connection until it breaks.
    async fn connect(&self) -> Result<Client, StoreError> {
        let connect = self.config.connect(self.tls.clone());
        let (client, mut connection) = timeout(ANSWER, connect)
            .await
            .map_err(|_| StoreError::TimedOut(ANSWER.as_secs()))??;
        let changed = Arc::clone(&self.changed);
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(_)) => changed.store(true, Ordering::Release),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(error = %error, "the connection to PostgreSQL broke");
                        break;
                    }
                }
            }
        });
        timeout(
            ANSWER,
            client.batch_execute(&format!("SET search_path TO {SCHEMA}")),
        )
        .await
        .map_err(|_| StoreError::TimedOut(ANSWER.as_secs()))??;
        Ok(client)
    }
}

impl Postgres {
    pub(crate) async fn open(url: &Secret) -> Result<Self, StoreError> {
        let mut config: Config = url
            .expose()
            .parse()
            // The error may quote the string.
            .map_err(|_| {
                StoreError::ConnectionString("it is neither a postgres:// URL nor key=value pairs")
            })?;
        config.connect_timeout(ANSWER).application_name("bowline");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(StoreError::Tls)?
            .with_no_client_auth();
        let changed = Arc::new(AtomicBool::new(true));
        let connector = Connector {
            config,
            tls: MakeRustlsConnect::new(tls),
            changed: Arc::clone(&changed),
            blind: Arc::new(AtomicBool::new(true)),
        };
        let mut client = connector.connect().await?;
        timeout(ANSWER, migrate(&mut client))
            .await
            .map_err(|_| StoreError::TimedOut(ANSWER.as_secs()))??;
        let stop = CancellationToken::new();
        tokio::spawn(listen(connector.clone(), stop.clone()));
        Ok(Self {
            connector,
            client: Mutex::new(Some(client)),
            changed,
            _listener: stop.drop_guard(),
        })
    }
}

async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    let transaction = client.transaction().await?;
    // One migration at a time, whoever starts together. The number is only ours to know.
    transaction
        .execute("SELECT pg_advisory_xact_lock(7310310)", &[])
        .await?;
    transaction
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {SCHEMA};
             CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
        ))
        .await?;
    let found: Option<i64> = transaction
        .query_one("SELECT max(version) FROM schema_version", &[])
        .await?
        .get(0);
    let found = found.unwrap_or(0);
    if found > NEWEST {
        return Err(StoreError::Newer { found, known: NEWEST });
    }
    if found < NEWEST {
        transaction.batch_execute(&upgrade(found, &POSTGRES)).await?;
        transaction
            .execute("INSERT INTO schema_version (version) VALUES ($1)", &[&NEWEST])
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Keeps `changed` honest until the store is dropped.
async fn listen(connector: Connector, stop: CancellationToken) {
    let watch = async {
        loop {
            if let Err(error) = watch(&connector).await {
                tracing::warn!(error = %error, "cannot watch PostgreSQL for changes");
            }
            connector.blind.store(true, Ordering::Release);
            tokio::time::sleep(LOOK_ANSWER).await;
        }
    };
    tokio::select! {
        () = watch => {}
        () = stop.cancelled() => {}
    }
}

async fn watch(connector: &Connector) -> Result<(), StoreError> {
    let client = connector.connect().await?;
    client.batch_execute(&format!("LISTEN {SCHEMA}")).await?;
    let mut known: Option<i64> = None;
    loop {
        let look = client.query_one("SELECT version FROM change_counter", &[]);
        let row = timeout(LOOK_ANSWER, look)
            .await
            .map_err(|_| StoreError::TimedOut(0))??;
        let version: i64 = row.get(0);
        if known.replace(version) != Some(version) {
            connector.changed.store(true, Ordering::Release);
        }
        connector.blind.store(false, Ordering::Release);
        tokio::time::sleep(LOOK).await;
    }
}

#[async_trait]
impl Database for Postgres {
    async fn transact(
        &self,
        purpose: Purpose,
        statements: Vec<Statement>,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let work = async {
            let mut slot = self.client.lock().await;
            // Taken out while in use: a future dropped in mid-transaction leaves no half-used connection behind.
            let mut client = match slot.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => self.connector.connect().await?,
            };
            let done = run(&mut client, purpose, &statements).await;
            *slot = Some(client);
            done
        };
        let done = timeout(ANSWER, work)
            .await
            .map_err(|_| StoreError::TimedOut(ANSWER.as_secs()))
            .flatten();
        if purpose == Purpose::Change {
            // Our own changes need no way round by the database.
            self.changed.store(true, Ordering::Release);
        }
        done
    }

    fn may_have_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel) || self.connector.blind.load(Ordering::Acquire)
    }
}

async fn run(
    client: &mut Client,
    purpose: Purpose,
    statements: &[Statement],
) -> Result<Vec<Vec<Row>>, StoreError> {
    let isolation = match purpose {
        Purpose::Read => IsolationLevel::RepeatableRead,
        Purpose::Aside | Purpose::Change => IsolationLevel::ReadCommitted,
    };
    let transaction = client
        .build_transaction()
        .isolation_level(isolation)
        .read_only(purpose == Purpose::Read)
        .start()
        .await?;
    if purpose == Purpose::Change {
        // The counter's row is also the lock by which changes exclude each other.
        transaction
            .execute("UPDATE change_counter SET version = version + 1", &[])
            .await?;
    }
    let mut answers = Vec::with_capacity(statements.len());
    for Statement { sql, parameters } in statements {
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|value| value as _).collect();
        let rows = transaction.query(*sql, &parameters).await?;
        answers.push(rows.iter().map(read).collect::<Result<_, _>>()?);
    }
    if purpose == Purpose::Change {
        transaction
            .execute("SELECT pg_notify($1, '')", &[&SCHEMA])
            .await?;
    }
    transaction.commit().await?;
    Ok(answers)
}

fn read(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let mut values = Vec::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        values.push(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.into(),
            Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map(i64::from).into(),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index)?.into(),
            _ => row.try_get::<_, Option<String>>(index)?.into(),
        });
    }
    Ok(Row::new(values))
}

impl ToSql for Value {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql(of, out),
            Self::Text(text) => text.to_sql(of, out),
            Self::Bytes(bytes) => bytes.to_sql(of, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}
