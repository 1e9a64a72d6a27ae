//! The tables, by version. One text serves both databases; what they spell differently stands in braces.

/// A database's own words.
pub(crate) struct Dialect {
    /// Bytes.
    pub(crate) bytes: &'static str,
    /// Whole numbers of 64 bits.
    pub(crate) integer: &'static str,
    /// A primary key that counts by itself.
    pub(crate) serial: &'static str,
    /// What follows a table's closing parenthesis.
    pub(crate) table: &'static str,
    /// Statements that only this database needs, after version 2.
    pub(crate) extra: &'static str,
}

pub(crate) const SQLITE: Dialect = Dialect {
    bytes: "BLOB",
    integer: "INTEGER",
    serial: "INTEGER PRIMARY KEY AUTOINCREMENT",
    table: "STRICT",
    // An older Bowline that opens this file knows nothing of the counter; its writes must be noticed all the same.
    extra: "
        CREATE TRIGGER service_token_inserted AFTER INSERT ON service_token
            BEGIN UPDATE change_counter SET version = version + 1; END;
        CREATE TRIGGER service_token_updated
            AFTER UPDATE OF name, secret_hash, previous_hash, previous_expires_at, expires_at, enabled ON service_token
            BEGIN UPDATE change_counter SET version = version + 1; END;
        CREATE TRIGGER service_token_deleted AFTER DELETE ON service_token
            BEGIN UPDATE change_counter SET version = version + 1; END;
    ",
};

pub(crate) const POSTGRES: Dialect = Dialect {
    bytes: "BYTEA",
    integer: "BIGINT",
    serial: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    table: "",
    extra: "",
};

/// The versions, oldest first. A released one is never edited.
const VERSIONS: [&str; 2] = [
    // What the first release wrote, by itself, into `access.sqlite`.
    "
    CREATE TABLE IF NOT EXISTS service_token (
        client_id   TEXT PRIMARY KEY,
        id          TEXT NOT NULL UNIQUE,
        name        TEXT NOT NULL,
        secret_hash {bytes} NOT NULL CHECK (length(secret_hash) = 32),
        created_at  {integer} NOT NULL,
        expires_at  {integer},
        enabled     {integer} NOT NULL
    ) {table};
    ",
    "
    ALTER TABLE service_token ADD COLUMN previous_hash {bytes};
    ALTER TABLE service_token ADD COLUMN previous_expires_at {integer};
    ALTER TABLE service_token ADD COLUMN secret_version {integer} NOT NULL DEFAULT 1;
    ALTER TABLE service_token ADD COLUMN duration TEXT NOT NULL DEFAULT '8760h';
    ALTER TABLE service_token ADD COLUMN updated_at {integer} NOT NULL DEFAULT 0;
    ALTER TABLE service_token ADD COLUMN last_seen_at {integer};
    UPDATE service_token SET updated_at = created_at;
    UPDATE service_token SET duration = 'forever' WHERE expires_at IS NULL;

    CREATE TABLE application (
        id         TEXT PRIMARY KEY,
        aud        TEXT NOT NULL UNIQUE,
        document   TEXT NOT NULL,
        created_at {integer} NOT NULL,
        updated_at {integer} NOT NULL
    ) {table};

    CREATE TABLE policy (
        id             TEXT PRIMARY KEY,
        application_id TEXT REFERENCES application (id) ON DELETE CASCADE,
        document       TEXT NOT NULL,
        created_at     {integer} NOT NULL,
        updated_at     {integer} NOT NULL
    ) {table};

    CREATE TABLE application_policy (
        application_id TEXT NOT NULL REFERENCES application (id) ON DELETE CASCADE,
        policy_id      TEXT NOT NULL REFERENCES policy (id),
        precedence     {integer} NOT NULL,
        PRIMARY KEY (application_id, policy_id)
    ) {table};

    CREATE TABLE access_group (
        id         TEXT PRIMARY KEY,
        document   TEXT NOT NULL,
        created_at {integer} NOT NULL,
        updated_at {integer} NOT NULL
    ) {table};

    CREATE TABLE signing_key (
        kid         TEXT PRIMARY KEY,
        public_jwk  TEXT NOT NULL,
        certificate TEXT NOT NULL,
        created_at  {integer} NOT NULL
    ) {table};

    CREATE TABLE signing_key_private (
        kid   TEXT PRIMARY KEY REFERENCES signing_key (kid) ON DELETE CASCADE,
        pkcs8 {bytes} NOT NULL
    ) {table};

    CREATE TABLE revocation (
        subject    TEXT PRIMARY KEY,
        revoked_at {integer} NOT NULL,
        forget_at  {integer} NOT NULL
    ) {table};

    CREATE TABLE api_token (
        id         TEXT PRIMARY KEY,
        name       TEXT NOT NULL,
        token_hash {bytes} NOT NULL UNIQUE CHECK (length(token_hash) = 32),
        created_at {integer} NOT NULL,
        expires_at {integer}
    ) {table};

    CREATE TABLE setting (
        name  TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) {table};

    CREATE TABLE audit (
        sequence    {serial},
        at          {integer} NOT NULL,
        event       TEXT NOT NULL,
        decision    TEXT NOT NULL,
        identity    TEXT,
        policy      TEXT,
        application TEXT,
        reason      TEXT,
        address     TEXT,
        host        TEXT,
        request     TEXT
    ) {table};

    CREATE TABLE change_counter (
        id      {integer} PRIMARY KEY CHECK (id = 1),
        version {integer} NOT NULL
    ) {table};
    INSERT INTO change_counter (id, version) VALUES (1, 1);
    ",
];

/// The newest version.
pub(crate) const NEWEST: i64 = VERSIONS.len() as i64;

/// The statements that lead from `version` to the newest.
pub(crate) fn upgrade(version: i64, dialect: &Dialect) -> String {
    let mut script = String::new();
    for (index, text) in VERSIONS.iter().enumerate() {
        if (index as i64) < version {
            continue;
        }
        script.push_str(
            &text
                .replace("{bytes}", dialect.bytes)
                .replace("{integer}", dialect.integer)
                .replace("{serial}", dialect.serial)
                .replace("{table}", dialect.table),
        );
        if index == 1 {
            script.push_str(dialect.extra);
        }
    }
    script
}
