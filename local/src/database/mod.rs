//! The embedded database: DynamoDB's protocol over loopback, in memory or in a file.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{owner::Owner, stop::Stop, template::Template};

/// DynamoDB deletes within days; nothing may depend on when.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Where the changes of a table are told.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) arn: String,
    pub(crate) shard: String,
}

/// The database with its tables, and the directory that is its alone as long as somebody has it.
#[derive(Clone)]
pub(crate) struct Database(dynoxide::Database, Option<Arc<Owner>>);

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("owner", &self.1).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens `directory`/dynamodb.sqlite, or a database that is gone with the process, and creates the tables that
    /// are missing.
    ///
    /// # Errors
    /// When another process has the directory, when the file cannot be opened, when a table definition is refused.
    pub(crate) fn open(directory: Option<&Path>, template: &Template) -> anyhow::Result<Self> {
        let owner = directory.map(Owner::of).transpose()?.map(Arc::new);
        let database = match directory {
            None => {
                let empty = tempfile::tempdir()?;
                drop(indexed(empty.path())?);
                let database = dynoxide::Database::memory()?;
                database.restore_from(&file_in(empty.path())?)?;
                database
            }
            Some(directory) => indexed(directory)?,
        };
        for table in &template.tables {
            if database.get_table_metadata(&table.name)?.is_some() {
                continue;
            }
            let created = request(&table.create).and_then(|create| Ok(database.create_table(create)?));
            created.with_context(|| format!("cannot create table {}", table.logical))?;
            if let Some(time_to_live) = &table.time_to_live {
                database.update_time_to_live(request(time_to_live)?)?;
            }
        }
        Ok(Self(database, owner))
    }

    /// All items of a table as plain JSON, in no order. For a person's eyes: it reads the whole table.
    ///
    /// # Errors
    /// When the table does not exist or the file cannot be read.
    pub(crate) fn items(&self, table: &str) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut scan = json!({"TableName": table});
        loop {
            let page = serde_json::to_value(self.0.scan(request(&scan)?)?)?;
            items.extend(page.get("Items").and_then(Value::as_array).into_iter().flatten().map(plain_item));
            match page.get("LastEvaluatedKey") {
                Some(key) if !key.is_null() => scan = json!({"TableName": table, "ExclusiveStartKey": key}),
                _ => return Ok(items),
            }
        }
    }

    /// The stream of a table, if it has one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn stream_of(&self, table: &str) -> anyhow::Result<Option<Stream>> {
        let streams = serde_json::to_value(self.0.list_streams(request(&json!({"TableName": table}))?)?)?;
        let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let Some(arn) = text(&streams, "/Streams/0/StreamArn") else { return Ok(None) };
        let described = serde_json::to_value(self.0.describe_stream(request(&json!({"StreamArn": arn}))?)?)?;
        Ok(text(&described, "/StreamDescription/Shards/0/ShardId").map(|shard| Stream { arn, shard }))
    }

    /// A page of a stream's records, from the beginning or where the last page ended, and where to go on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn records(&self, stream: &Stream, from: Option<&str>) -> anyhow::Result<(Value, String)> {
        let Stream { arn, shard } = stream;
        let iterator = match from {
            Some(iterator) => iterator.to_owned(),
            None => {
                let asked = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
                self.0.get_shard_iterator(request(&asked)?)?.shard_iterator.context("no iterator")?
            }
        };
        let page = self.0.get_records(request(&json!({"ShardIterator": iterator, "Limit": 100}))?)?;
        let next = page.next_shard_iterator.clone().unwrap_or(iterator);
        let mut records = serde_json::to_value(&page.records)?;
        for record in records.as_array_mut().into_iter().flatten() {
            record["eventSourceARN"] = json!(arn);
        }
        Ok((records, next))
    }

    /// Answers until it is stopped, and deletes what has expired now and then.
    pub(crate) async fn serve(self, listener: TcpListener, stop: Stop) {
        let stopped = stop.clone();
        let database = self.0.clone();
        let shutdown = async move { stopped.requested().await };
        let server = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, shutdown));
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        sweeps.tick().await;
        loop {
            tokio::select! {
                _ = sweeps.tick() => {
                    let database = self.0.clone();
                    drop(tokio::task::spawn_blocking(move || database.sweep_ttl()).await);
                }
                _ = stop.requested() => break,
            }
        }
        drop(server.await);
    }
}

fn file_in(directory: &Path) -> anyhow::Result<String> {
    let path = directory.join("dynamodb.sqlite");
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// The database in the file of `directory`. With each write to a table that has a stream the library looks for the stream's
/// last record: without an index it reads all of them.
fn indexed(directory: &Path) -> anyhow::Result<dynoxide::Database> {
    let path = file_in(directory)?;
    let database = dynoxide::Database::new(&path).with_context(|| format!("cannot open {path}"))?;
    rusqlite::Connection::open(&path)?.execute_batch(
        "CREATE INDEX IF NOT EXISTS stream_order ON _stream_records (table_name, CAST(sequence_number AS INTEGER))",
    )?;
    Ok(database)
}

/// A request of the protocol as the library takes it.
fn request<T: DeserializeOwned>(request: &Value) -> anyhow::Result<T> {
    serde_json::from_value(request.clone()).map_err(|error| anyhow!("{error}"))
}

fn plain_item(item: &Value) -> Value {
    let entries = item.as_object().into_iter().flatten();
    Value::Object(entries.map(|(name, value)| (name.clone(), plain_value(value))).collect())
}

/// An attribute value without its type: `{"S": "x"}` is `"x"`.
fn plain_value(value: &Value) -> Value {
    let Some((kind, content)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Value::Null;
    };
    match (kind.as_str(), content) {
        ("N", Value::String(number)) => serde_json::from_str(number).unwrap_or_else(|_| json!(number)),
        ("NULL", _) => Value::Null,
        ("M", map) => plain_item(map),
        ("L", Value::Array(list)) => list.iter().map(plain_value).collect(),
        (_, content) => content.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(database: &Database, table: &str, item: &Value) {
        let put = request(&json!({"TableName": table, "Item": item})).unwrap();
        database.0.put_item(put).unwrap();
    }

    #[test]
    fn items_are_read_without_their_types() {
        let database = Database::open(None, &Template::of_the_stack().unwrap()).unwrap();
        let item = json!({
            "pk": {"S": "a"}, "sk": {"S": "b"}, "n": {"N": "12"}, "t": {"BOOL": true}, "z": {"NULL": true},
            "m": {"M": {"x": {"L": [{"N": "1.5"}]}}}, "ss": {"SS": ["q"]},
        });
        put(&database, "sallyport-local-outbox", &item);
        assert_eq!(
            database.items("sallyport-local-outbox").unwrap(),
            [json!({"pk": "a", "sk": "b", "n": 12, "t": true, "z": null, "m": {"x": [1.5]}, "ss": ["q"]})]
        );
        assert!(database.items("sallyport-local-orders").is_err());
    }

    #[test]
    fn a_directory_keeps_the_data_over_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let template = Template::of_the_stack().unwrap();
        let item = json!({"pk": {"S": "a"}, "sk": {"S": "b"}});
        put(&Database::open(Some(directory.path()), &template).unwrap(), "sallyport-local-users", &item);
        let reopened = Database::open(Some(directory.path()), &template).unwrap();
        assert_eq!(reopened.items("sallyport-local-users").unwrap(), [json!({"pk": "a", "sk": "b"})]);
    }

    #[test]
    fn an_expired_item_is_swept_and_a_living_one_stays() {
        let database = Database::open(None, &Template::of_the_stack().unwrap()).unwrap();
        let table = "sallyport-local-throttle";
        put(&database, table, &json!({"key": {"S": "old"}, "expires_at": {"N": "1000000000"}}));
        put(&database, table, &json!({"key": {"S": "new"}, "expires_at": {"N": "99000000000"}}));
        // DynamoDB leaves alone what expired more than five years ago, so the first item may stay as well.
        database.0.sweep_ttl().unwrap();
        let left = database.items(table).unwrap();
        assert!(left.iter().any(|item| item["key"] == "new"), "{left:?}");
    }
}
