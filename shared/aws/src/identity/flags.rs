//! Ops table: modes and blocks, one item; and its copy in the process.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, Put};
use sallyport_core::{
    audit::SecurityEvent,
    clock::{Clock, Timestamp},
    flags::{Block, BlockSubject, ChangeFlags, Flags, Mode, ModeName, ReadFlags, Reason},
    ids::OperationId,
    store::StoreResult,
};
use sallyport_operations::rotate::OutdateCopies;

use crate::platform::{
    cache::LastGood,
    item::{ITEM_FORMAT, Item, Reader, b, millis, n, s},
    store::{Committed, Store, Transaction, if_held, unbuildable},
};

const TABLE: &str = "ops";
const KEY: &str = "FLAGS";

fn key() -> Item {
    HashMap::from([("pk".to_owned(), s(KEY)), ("sk".to_owned(), s("CURRENT"))])
}

pub(crate) fn write_flags(flags: &Flags) -> Item {
    let modes = flags.modes.iter().map(|(name, mode)| {
        let mut entry = write_entry(&mode.reason, mode.set_at, mode.expires_at, &mode.by);
        if let Some(factor) = mode.factor {
            entry.insert("factor".to_owned(), n(factor));
        }
        (name.to_string(), AttributeValue::M(entry))
    });
    let blocks = flags.blocks.iter().map(|(subject, block)| {
        let entry = write_entry(&block.reason, block.set_at, block.expires_at, &block.by);
        (subject.to_string(), AttributeValue::M(entry))
    });
    let recent: Vec<u8> = flags.recent.iter().flat_map(|operation| *operation.as_bytes()).collect();
    let mut item = key();
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item.insert("ver".to_owned(), n(flags.version));
    item.insert("modes".to_owned(), AttributeValue::M(modes.collect()));
    item.insert("blocks".to_owned(), AttributeValue::M(blocks.collect()));
    item.insert("recent".to_owned(), b(recent));
    if let Some(from) = flags.keyring_from {
        item.insert("keyring_from".to_owned(), millis(from));
    }
    item
}

fn write_entry(reason: &Reason, set_at: Timestamp, expires_at: Timestamp, by: &str) -> Item {
    HashMap::from([
        ("reason".to_owned(), s(reason)),
        ("set_at".to_owned(), millis(set_at)),
        ("expires_at".to_owned(), millis(expires_at)),
        ("by".to_owned(), s(by)),
    ])
}

/// Modes and kinds of blocks that this release does not know are left out: it could not obey them, and an operator's newer
/// command must not bring down the functions before it.
pub(crate) fn read_flags(item: &Item) -> StoreResult<Flags> {
    let reader = Reader::new(TABLE, KEY, item);
    reader.format()?;
    let mut flags = Flags {
        version: reader.number("ver")?,
        keyring_from: reader.optional_number("keyring_from")?.map(Timestamp::from_millis),
        ..Flags::default()
    };
    let modes = reader.map("modes")?;
    for (attribute, name) in modes.named("") {
        let Ok(name) = name.parse::<ModeName>() else { continue };
        let entry = modes.map(attribute)?;
        let mode = Mode {
            reason: Reason::stored(entry.text("reason")?),
            set_at: entry.instant("set_at")?,
            expires_at: entry.instant("expires_at")?,
            by: entry.text("by")?.to_owned(),
            factor: entry.optional_number("factor")?,
        };
        flags.modes.insert(name, mode);
    }
    let blocks = reader.map("blocks")?;
    for (attribute, subject) in blocks.named("") {
        if !["network#", "account#"].iter().any(|kind| subject.starts_with(kind)) {
            continue;
        }
        let subject: BlockSubject =
            subject.parse().map_err(|_| blocks.corrupt(attribute, "not the subject of a block"))?;
        let entry = blocks.map(attribute)?;
        let block = Block {
            reason: Reason::stored(entry.text("reason")?),
            set_at: entry.instant("set_at")?,
            expires_at: entry.instant("expires_at")?,
            by: entry.text("by")?.to_owned(),
        };
        flags.blocks.insert(subject, block);
    }
    let (recent, rest) = reader.bytes("recent")?.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(reader.corrupt("recent", "not a list of operations"));
    }
    flags.recent = recent.iter().map(|bytes| OperationId::from_bytes(*bytes)).collect();
    Ok(flags)
}

impl ReadFlags for Store {
    async fn flags(&self) -> StoreResult<Flags> {
        let item = self.ops_item(key(), "read flags").await?;
        item.map_or_else(|| Ok(Flags::default()), |item| read_flags(&item))
    }
}

impl ChangeFlags for Store {
    async fn change_flags(&self, seen: u64, after: &Flags, event: &SecurityEvent) -> StoreResult<bool> {
        let operation = "change flags";
        let put = Put::builder().table_name(&self.tables.ops).set_item(Some(write_flags(after)));
        let put = if seen == 0 {
            put.condition_expression("attribute_not_exists(pk)")
        } else {
            put.condition_expression("ver = :seen").expression_attribute_values(":seen", n(seen))
        };
        let committed = Transaction::default()
            .put(put.build().map_err(unbuildable(operation))?)
            .put(self.event_put(event)?)
            .commit(&self.client, operation)
            .await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(committed == Committed::Yes)
    }
}

impl OutdateCopies for Store {
    /// Beside whatever modes and blocks hold: an operator who sets one at the same time tries again.
    async fn outdate_copies(&self, from: Timestamp) -> StoreResult<()> {
        let operation = "outdate copies of the keyring";
        let empty = || AttributeValue::M(HashMap::new());
        let sent = self
            .client
            .update_item()
            .table_name(&self.tables.ops)
            .set_key(Some(key()))
            .update_expression(
                "SET keyring_from = :from, v = if_not_exists(v, :format), ver = if_not_exists(ver, :none) + :one, \
                 modes = if_not_exists(modes, :empty), blocks = if_not_exists(blocks, :empty), \
                 recent = if_not_exists(recent, :nothing)",
            )
            .condition_expression("attribute_not_exists(keyring_from) OR keyring_from < :from")
            .expression_attribute_values(":from", millis(from))
            .expression_attribute_values(":format", n(ITEM_FORMAT))
            .expression_attribute_values(":none", n(0))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":empty", empty())
            .expression_attribute_values(":nothing", b(Vec::new()))
            .send()
            .await;
        // Where the condition does not hold, this was done before, or a later revocation has done more.
        if_held(sent, operation).map(drop)
    }
}

/// How long ago flags may have been read that are trusted to know of every revocation.
const CURRENT: Duration = Duration::from_secs(60);

/// The flags in the process: read when they are older than `max_age`, kept when the read fails.
pub struct FlagsCache<S> {
    source: S,
    copy: LastGood<Flags>,
}

impl<S: ReadFlags> FlagsCache<S> {
    pub fn new(source: S, clock: Arc<dyn Clock>, max_age: Duration) -> Self {
        Self { source, copy: LastGood::new("the flags", clock, max_age) }
    }

    /// # Errors
    /// The read failed and there is no copy: what is blocked is not known.
    pub async fn get(&self) -> StoreResult<Arc<Flags>> {
        let read = async { self.source.flags().await.map(Some) };
        Ok(self.copy.get(|_| false, read).await?.unwrap_or_default())
    }

    /// Whether they could be read lately: what was changed since is not known otherwise.
    pub fn are_current(&self) -> bool {
        self.copy.was_read_within(CURRENT)
    }

    /// The last good copy, however old, without asking anybody.
    pub fn last(&self) -> Option<Arc<Flags>> {
        self.copy.last()
    }
}

impl<S> std::fmt::Debug for FlagsCache<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlagsCache").field("max_age", &self.copy.max_age()).finish_non_exhaustive()
    }
}
