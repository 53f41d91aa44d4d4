//! One server process of the races: the functions behind the local gateway, until its standard input ends.
//!
//! The argument is a JSON object: `environment`, the functions' variables, among them where the shared database and
//! keyring are (`AWS_ENDPOINT_URL`; absent, this process's own). It answers one line, `{"url","services"}`, once
//! it serves.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use anyhow::Context as _;
use local::{Backend, Options};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    environment: BTreeMap<String, String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let order = std::env::args().nth(1).context("the order is missing")?;
    let Order { environment } = serde_json::from_str(&order)?;
    let backend = Backend::start(Options { quiet: true, environment, ..Options::default() }).await?;
    let serving = json!({"url": backend.url(), "services": backend.dynamodb_url()});
    writeln!(std::io::stdout(), "{serving}")?;
    // Whoever started this process holds the other end: it closes however that one ends.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    drop(backend);
    Ok(())
}
