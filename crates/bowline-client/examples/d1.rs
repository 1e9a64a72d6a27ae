//! Keeps a table in a D1 database, in one transaction, and reads it back as Rust values.
//!
//! `cargo run -p bowline-client --example d1 -- URL BINDING`; a service token is taken from
//! `CLOUDFLARE_ACCESS_CLIENT_ID` and `CLOUDFLARE_ACCESS_CLIENT_SECRET`.
#![expect(clippy::print_stdout, reason = "an example is a program")]

use bowline_client::d1::Statement;
use serde::Deserialize;

#[path = "shared/connect.rs"]
mod connect;

#[derive(Deserialize)]
struct Knot {
    name: String,
    strength: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, binding) = connect::from_command_line()?;
    let database = client.d1(binding).session("first-primary");

    let insert = |name: &str, strength: f64| {
        Statement::new("INSERT INTO knots (name, strength) VALUES (?, ?)")
            .bind(name)
            .bind(strength)
    };
    database
        .batch(&[
            "CREATE TABLE IF NOT EXISTS knots (name TEXT NOT NULL, strength REAL NOT NULL)".into(),
            "DELETE FROM knots".into(),
            insert("bowline", 0.65),
            insert("sheet bend", 0.55),
        ])
        .await?;
    let strong = Statement::new("SELECT name, strength FROM knots WHERE strength > ?").bind(0.6);
    for Knot { name, strength } in database.query_as(strong).await? {
        println!("{name} {strength}");
    }
    println!("bookmark {}", database.bookmark().unwrap_or_default());
    Ok(())
}
