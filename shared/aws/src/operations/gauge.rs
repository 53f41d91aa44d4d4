//! Ops table: how many sessions end when. An item a day, an attribute per five minutes, and one item per shard of the stream.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{Put, Update};
use sallyport_core::{clock::Timestamp, store::StoreResult};
use sallyport_operations::gauge::{Bucket, CountSessions, Deltas, HORIZON_DAYS, Sequence};
use serde_json::Value;

use crate::platform::{
    item::{ITEM_FORMAT, Item, Reader, n, s},
    store::{Committed, Store, Transaction, if_held, unavailable, unbuildable},
};

const TABLE: &str = "ops";
pub(crate) const PARTITION: &str = "GAUGE";

fn key(sort: &str) -> Item {
    HashMap::from([("pk".to_owned(), s(PARTITION)), ("sk".to_owned(), s(sort))])
}

/// Sorted by time.
fn day_key(day: u64) -> String {
    format!("DAY#{day:06}")
}

fn shard_key(shard: &str) -> String {
    format!("SHARD#{shard}")
}

/// The counts of a day.
fn read_day(item: &Item) -> StoreResult<Vec<(Bucket, i64)>> {
    let reader = Reader::new(TABLE, PARTITION, item);
    reader.format()?;
    let day = reader.text("sk")?.strip_prefix("DAY#").and_then(|day| day.parse().ok());
    let day = day.ok_or_else(|| reader.corrupt("sk", "not a day"))?;
    reader
        .named("b")
        .map(|(name, slot)| {
            let slot = slot.parse().map_err(|_| reader.corrupt(name, "not a bucket"))?;
            Ok((Bucket::new(day, slot), reader.number(name)?))
        })
        .collect()
}

fn read_shard(item: &Item) -> StoreResult<Sequence> {
    let reader = Reader::new(TABLE, PARTITION, item);
    reader.format()?;
    reader.optional_number::<u64>("day")?;
    Sequence::new(reader.text("last")?).ok_or_else(|| reader.corrupt("last", "not a number"))
}

/// Decodes an item of the partition.
pub(crate) fn validate(item: &Item) -> StoreResult<()> {
    let reader = Reader::new(TABLE, PARTITION, item);
    if reader.text("sk")?.starts_with("SHARD#") {
        read_shard(item).map(drop)
    } else {
        read_day(item).map(drop)
    }
}

impl CountSessions for Store {
    async fn counted(&self, shard: &str) -> StoreResult<Option<Sequence>> {
        let item = self.ops_item(key(&shard_key(shard)), "read shard").await?;
        item.map(|item| read_shard(&item)).transpose()
    }

    async fn count_in(
        &self,
        shard: &str,
        before: Option<&Sequence>,
        last: &Sequence,
        day: u64,
        deltas: &Deltas,
    ) -> StoreResult<bool> {
        let operation = "count sessions";
        let mut item = key(&shard_key(shard));
        item.insert("v".to_owned(), n(ITEM_FORMAT));
        item.insert("last".to_owned(), s(last.as_str()));
        item.insert("day".to_owned(), n(day));
        let mut put = Put::builder().table_name(&self.tables.ops).set_item(Some(item));
        put = match before {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(before) => put
                .condition_expression("#last = :before")
                .expression_attribute_names("#last", "last")
                .expression_attribute_values(":before", s(before.as_str())),
        };
        let mut transaction = Transaction::default().put(put.build().map_err(unbuildable(operation))?);
        let mut days: BTreeMap<u64, Vec<(Bucket, i64)>> = BTreeMap::new();
        for (bucket, delta) in deltas {
            days.entry(bucket.day()).or_default().push((*bucket, *delta));
        }
        for (day, changes) in days {
            let mut update = Update::builder()
                .table_name(&self.tables.ops)
                .set_key(Some(key(&day_key(day))))
                .expression_attribute_values(":v", n(ITEM_FORMAT));
            let mut added = Vec::new();
            for (bucket, delta) in changes {
                let slot = bucket.slot();
                added.push(format!("b{slot} :d{slot}"));
                update = update.expression_attribute_values(format!(":d{slot}"), n(delta));
            }
            let expression = format!("SET v = :v ADD {}", added.join(", "));
            let update = update.update_expression(expression).build().map_err(unbuildable(operation))?;
            transaction = transaction.update(update);
        }
        Ok(transaction.commit(&self.client, operation).await? == Committed::Yes)
    }

    async fn sum(&self, first: Bucket) -> StoreResult<i64> {
        let mut days = self
            .client
            .query()
            .table_name(&self.tables.ops)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", s(PARTITION))
            .expression_attribute_values(":first", s(day_key(first.day())))
            .expression_attribute_values(":last", s(day_key(first.day() + HORIZON_DAYS)))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut sum = 0;
        while let Some(item) = days.next().await {
            let counts = read_day(&item.map_err(unavailable("read gauge"))?)?;
            sum += counts.iter().filter(|(bucket, _)| *bucket >= first).map(|(_, count)| count).sum::<i64>();
        }
        Ok(sum)
    }

    async fn forget_before(&self, day: u64, today: u64) -> StoreResult<()> {
        self.forget_days(day).await?;
        self.forget_shards(day, today).await
    }
}

impl Store {
    async fn forget_days(&self, day: u64) -> StoreResult<()> {
        let mut days = self
            .client
            .query()
            .table_name(&self.tables.ops)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", s(PARTITION))
            .expression_attribute_values(":first", s(day_key(0)))
            .expression_attribute_values(":last", s(day_key(day.saturating_sub(1))))
            .projection_expression("sk")
            .into_paginator()
            .items()
            .send();
        while let Some(item) = days.next().await {
            let item = item.map_err(unavailable("read gauge"))?;
            let reader = Reader::new(TABLE, PARTITION, &item);
            self.client
                .delete_item()
                .table_name(&self.tables.ops)
                .set_key(Some(key(reader.text("sk")?)))
                .send()
                .await
                .map_err(unavailable("forget gauge"))?;
        }
        Ok(())
    }

    /// Each under the condition that nothing of the shard was counted meanwhile.
    async fn forget_shards(&self, day: u64, today: u64) -> StoreResult<()> {
        let mut shards = self
            .client
            .query()
            .table_name(&self.tables.ops)
            .key_condition_expression("pk = :pk AND begins_with(sk, :shard)")
            .filter_expression("attribute_not_exists(#day) OR #day < :day")
            .expression_attribute_names("#day", "day")
            .expression_attribute_values(":pk", s(PARTITION))
            .expression_attribute_values(":shard", s(shard_key("")))
            .expression_attribute_values(":day", n(day))
            .projection_expression("sk, #day")
            .into_paginator()
            .items()
            .send();
        while let Some(item) = shards.next().await {
            let item = item.map_err(unavailable("read gauge"))?;
            let reader = Reader::new(TABLE, PARTITION, &item);
            let shard = key(reader.text("sk")?);
            if reader.has("day") {
                let delete = self.client.delete_item().table_name(&self.tables.ops).set_key(Some(shard));
                let sent = delete
                    .condition_expression("#day < :day")
                    .expression_attribute_names("#day", "day")
                    .expression_attribute_values(":day", n(day))
                    .send()
                    .await;
                // One that does not hold is as good: a batch of the shard came meanwhile.
                if_held(sent, "forget gauge")?;
            } else {
                // Of a release that did not note it.
                let update = self.client.update_item().table_name(&self.tables.ops).set_key(Some(shard));
                let sent = update
                    .update_expression("SET #day = :today")
                    .condition_expression("attribute_exists(pk) AND attribute_not_exists(#day)")
                    .expression_attribute_names("#day", "day")
                    .expression_attribute_values(":today", n(today))
                    .send()
                    .await;
                if_held(sent, "forget gauge")?;
            }
        }
        Ok(())
    }
}

/// When the sessions of an item end, by an image of it as a stream carries it, and how many of them do not read. A record
/// that does not read must not stop those behind it.
pub fn session_ends(image: &Value) -> (Vec<Timestamp>, u64) {
    let (mut ends, mut unreadable) = (Vec::new(), 0);
    let sessions = image.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("s_"));
    for (_, session) in sessions {
        let time = |name: &str| {
            session.get("M")?.get(name)?.get("N")?.as_str()?.parse().ok().map(Timestamp::from_millis)
        };
        match (time("i"), time("a")) {
            (Some(idle), Some(absolute)) => ends.push(idle.min(absolute)),
            _ => unreadable += 1,
        }
    }
    (ends, unreadable)
}

impl Store {
    /// Counts the live sessions by reading them all: exact, slow, and paid for by the item. `tell` is given, page by page, how
    /// many users' sessions have been read, and how many of them live.
    pub async fn scan_sessions(&self, now: Timestamp, tell: &dyn Fn(usize, u64)) -> StoreResult<u64> {
        let (mut users, mut live) = (0_usize, 0);
        let mut pages = self.client.scan().table_name(&self.tables.sessions).into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.map_err(unavailable("scan sessions"))?.items() {
                let user = Reader::new("sessions", "scan", item).parsed("user_id")?;
                let sessions = crate::identity::sessions::read_sessions(user, item)?;
                users += 1;
                live += sessions.sessions.iter().filter(|session| session.is_live(now)).count() as u64;
            }
            tell(users, live);
        }
        Ok(live)
    }
}
