//! Backups of the tables: what is on, and bringing them back beside the live ones.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        create_table::CreateTableError, delete_table::DeleteTableError, describe_table::DescribeTableError,
        restore_table_to_point_in_time::RestoreTableToPointInTimeError,
    },
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
        PointInTimeRecoveryStatus, PutRequest, ScalarAttributeType, TableDescription, TableStatus,
        TimeToLiveStatus, WriteRequest,
    },
};
use sallyport_core::{
    accounts::{Credential, Email},
    clock::Timestamp,
    store::{StoreError, StoreResult},
};
use sallyport_operations::{
    recovery::{
        Backups, InspectTables, Protection, Role, Window,
        drill::{Page, Readiness, RestoreTables, Scratch},
    },
    rotation::{KeyKind, KeyName},
};

use crate::{
    platform::{
        item::{Item, Reader},
        store::{Store, Tables, unavailable, unbuildable},
    },
    validate_item,
};

/// Items of a page that is copied or checked.
const PAGE: i32 = 400;

/// Times that items which DynamoDB did not take are sent again.
const PATIENCE: usize = 8;

/// Whether an endpoint does not know an operation at all, as emulators answer.
fn is_unknown<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code().is_some_and(|code| {
        ["UnknownOperation", "UnknownOperationException", "InvalidAction", "NotImplemented"].contains(&code)
    })
}

fn instant(time: Option<&aws_sdk_dynamodb::primitives::DateTime>) -> Option<Timestamp> {
    time.and_then(|time| u64::try_from(time.secs()).ok()).map(Timestamp::from_seconds)
}

impl Store {
    fn name_of(&self, role: Role) -> &str {
        let tables = &self.tables;
        match role {
            Role::Users => &tables.users,
            Role::Sessions => &tables.sessions,
            Role::Throttle => &tables.throttle,
            Role::Outbox => &tables.outbox,
            Role::Audit => &tables.audit,
            Role::Ops => &tables.ops,
        }
    }

    /// `None` when there is no such table.
    async fn describe(&self, name: &str) -> StoreResult<Option<TableDescription>> {
        match self.client.describe_table().table_name(name).send().await {
            Ok(answer) => Ok(answer.table),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeTableError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(unavailable("describe table")(error)),
        }
    }

    async fn point_in_time(&self, name: &str) -> StoreResult<Option<Option<Window>>> {
        let answer = match self.client.describe_continuous_backups().table_name(name).send().await {
            Ok(answer) => answer,
            Err(error) if is_unknown(&error) => return Ok(None),
            Err(error) => return Err(unavailable("describe backups")(error)),
        };
        let description = answer
            .continuous_backups_description
            .and_then(|description| description.point_in_time_recovery_description);
        let on =
            description.as_ref().and_then(|description| description.point_in_time_recovery_status.as_ref())
                == Some(&PointInTimeRecoveryStatus::Enabled);
        if !on {
            return Ok(Some(None));
        }
        let time = |pick: fn(&_) -> Option<&aws_sdk_dynamodb::primitives::DateTime>| {
            instant(description.as_ref().and_then(pick))
        };
        let earliest = time(|d: &aws_sdk_dynamodb::types::PointInTimeRecoveryDescription| {
            d.earliest_restorable_date_time()
        });
        let latest = time(|d: &aws_sdk_dynamodb::types::PointInTimeRecoveryDescription| {
            d.latest_restorable_date_time()
        });
        match (earliest, latest) {
            (Some(earliest), Some(latest)) => Ok(Some(Some(Window { earliest, latest }))),
            // An emulator says that it is on, and of no time that it could restore.
            _ => Ok(None),
        }
    }

    async fn expires(&self, name: &str) -> StoreResult<Option<bool>> {
        let answer = match self.client.describe_time_to_live().table_name(name).send().await {
            Ok(answer) => answer,
            Err(error) if is_unknown(&error) => return Ok(None),
            Err(error) => return Err(unavailable("describe expiry")(error)),
        };
        let description = answer.time_to_live_description;
        let status = description.as_ref().and_then(|description| description.time_to_live_status.as_ref());
        let attribute = description.as_ref().and_then(|description| description.attribute_name.as_deref());
        let on = matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
        Ok(Some(on && attribute == Some("expires_at")))
    }
}

impl InspectTables for Store {
    async fn protection(&self, role: Role) -> StoreResult<Protection> {
        let name = self.name_of(role);
        let point_in_time = if role.is_retained() { self.point_in_time(name).await? } else { None };
        let expires = if role.expires() { self.expires(name).await? } else { None };
        let described = self.describe(name).await?.ok_or_else(|| StoreError::Unavailable {
            operation: "describe table",
            reason: format!("there is no table {name}"),
        })?;
        let deletion_protected = described.deletion_protection_enabled.unwrap_or_default();
        Ok(Protection { role, point_in_time, deletion_protected, expires })
    }

    async fn backups(&self, role: Role) -> StoreResult<Option<Backups>> {
        let answer = match self.client.list_backups().table_name(self.name_of(role)).send().await {
            Ok(answer) => answer,
            Err(error) if is_unknown(&error) => return Ok(None),
            Err(error) => return Err(unavailable("list backups")(error)),
        };
        let backups = answer.backup_summaries();
        let newest = backups.iter().filter_map(|backup| instant(backup.backup_creation_date_time())).max();
        Ok(Some(Backups { number: backups.len(), newest }))
    }
}

fn key_names(role: Role) -> &'static [&'static str] {
    match role {
        Role::Sessions => &["user_id"],
        Role::Throttle => &["key"],
        Role::Users | Role::Outbox | Role::Audit | Role::Ops => &["pk", "sk"],
    }
}

/// A key as text: its attributes are strings, all of them.
fn write_cursor(key: Option<Item>) -> Option<String> {
    let key = key.filter(|key| !key.is_empty())?;
    let texts: HashMap<_, _> =
        key.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_s().ok()?))).collect();
    serde_json::to_string(&texts).ok()
}

fn read_cursor(cursor: Option<&str>) -> StoreResult<Option<Item>> {
    let Some(cursor) = cursor else { return Ok(None) };
    let texts: HashMap<String, String> = serde_json::from_str(cursor).map_err(|_| StoreError::Corrupt {
        table: "ops",
        key: "PROOF".to_owned(),
        problem: "the cursor does not read".to_owned(),
    })?;
    Ok(Some(texts.into_iter().map(|(name, text)| (name, AttributeValue::S(text))).collect()))
}

impl RestoreTables for Store {
    type Store = Self;

    fn scratch_store(&self, scratch: &Scratch) -> Self {
        let table = |role| scratch.table(role);
        let tables = Tables {
            users: table(Role::Users),
            sessions: table(Role::Sessions),
            throttle: table(Role::Throttle),
            outbox: table(Role::Outbox),
            audit: table(Role::Audit),
            ops: table(Role::Ops),
        };
        Self::new(self.client.clone(), tables)
    }

    async fn restore(&self, role: Role, to: &str) -> StoreResult<bool> {
        let sent = self
            .client
            .restore_table_to_point_in_time()
            .source_table_name(self.name_of(role))
            .target_table_name(to)
            .use_latest_restorable_time(true)
            .billing_mode_override(BillingMode::PayPerRequest)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(error) if is_unknown(&error) => Ok(false),
            // It was begun before.
            Err(error)
                if error.as_service_error().is_some_and(|error| {
                    matches!(
                        error,
                        RestoreTableToPointInTimeError::TableAlreadyExistsException(_)
                            | RestoreTableToPointInTimeError::TableInUseException(_)
                    )
                }) =>
            {
                Ok(true)
            }
            Err(error) => Err(unavailable("restore table")(error)),
        }
    }

    async fn create_empty(&self, role: Role, name: &str) -> StoreResult<()> {
        let operation = "create table";
        let mut create = self.client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        for (index, attribute) in key_names(role).iter().enumerate() {
            let kind = if index == 0 { KeyType::Hash } else { KeyType::Range };
            let definition = AttributeDefinition::builder()
                .attribute_name(*attribute)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(unbuildable(operation))?;
            let element = KeySchemaElement::builder()
                .attribute_name(*attribute)
                .key_type(kind)
                .build()
                .map_err(unbuildable(operation))?;
            create = create.attribute_definitions(definition).key_schema(element);
        }
        match create.send().await {
            Ok(_) => Ok(()),
            // It was created before.
            Err(error)
                if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(unavailable(operation)(error)),
        }
    }

    async fn copy(&self, role: Role, to: &str, from: Option<&str>) -> StoreResult<Option<String>> {
        let page = self
            .client
            .scan()
            .table_name(self.name_of(role))
            .limit(PAGE)
            .set_exclusive_start_key(read_cursor(from)?)
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read table"))?;
        for chunk in page.items().chunks(25) {
            let mut requests = chunk
                .iter()
                .map(|item| {
                    let put = PutRequest::builder().set_item(Some(item.clone())).build();
                    put.map(|put| WriteRequest::builder().put_request(put).build())
                        .map_err(unbuildable("copy items"))
                })
                .collect::<StoreResult<Vec<_>>>()?;
            let mut tries = 0;
            while !requests.is_empty() {
                tries += 1;
                if tries > PATIENCE {
                    return Err(StoreError::Unavailable {
                        operation: "copy items",
                        reason: "DynamoDB does not take them".to_owned(),
                    });
                }
                let answer = self
                    .client
                    .batch_write_item()
                    .request_items(to, requests)
                    .send()
                    .await
                    .map_err(unavailable("copy items"))?;
                requests = answer.unprocessed_items.and_then(|mut left| left.remove(to)).unwrap_or_default();
            }
        }
        Ok(write_cursor(page.last_evaluated_key))
    }

    async fn readiness(&self, name: &str) -> StoreResult<Readiness> {
        let Some(table) = self.describe(name).await? else { return Ok(Readiness::Absent) };
        let restoring = table.restore_summary.as_ref().is_some_and(|summary| summary.restore_in_progress);
        match table.table_status {
            Some(TableStatus::Active) if !restoring => Ok(Readiness::Ready),
            _ => Ok(Readiness::Busy),
        }
    }

    async fn check(&self, role: Role, name: &str, from: Option<&str>) -> StoreResult<Page> {
        let page = self
            .client
            .scan()
            .table_name(name)
            .limit(PAGE)
            .set_exclusive_start_key(read_cursor(from)?)
            .send()
            .await
            .map_err(unavailable("read scratch table"))?;
        let mut checked = Page { items: page.items().len() as u64, ..Page::default() };
        for item in page.items() {
            match validate_item(role.as_str(), item) {
                Ok(()) => checked.needs.extend(needs(role, item)),
                Err(StoreError::Corrupt { problem, .. }) => {
                    let parts = key_names(role).iter().filter_map(|name| item.get(*name)?.as_s().ok());
                    let key = parts.map(String::as_str).collect::<Vec<_>>().join(" / ");
                    checked.corrupt.push((key, problem));
                }
                Err(error) => return Err(error),
            }
        }
        checked.next = write_cursor(page.last_evaluated_key);
        Ok(checked)
    }

    async fn discard(&self, name: &str) -> StoreResult<bool> {
        match self.client.delete_table().table_name(name).send().await {
            Ok(_) => Ok(self.readiness(name).await? == Readiness::Absent),
            Err(error) => match error.as_service_error() {
                Some(DeleteTableError::ResourceNotFoundException(_)) => Ok(true),
                // It is still being made, or already being deleted.
                Some(DeleteTableError::ResourceInUseException(_)) => Ok(false),
                _ => Err(unavailable("delete scratch table")(error)),
            },
        }
    }

    async fn live_count(&self, role: Role) -> StoreResult<u64> {
        let table = self.describe(self.name_of(role)).await?;
        Ok(table
            .and_then(|table| table.item_count)
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or_default())
    }
}

/// The keys without which an item is lost.
fn needs(role: Role, item: &Item) -> BTreeSet<KeyName> {
    let mut needs = BTreeSet::new();
    let reader = Reader::new(role.as_str(), "", item);
    if role != Role::Users {
        return needs;
    }
    let Ok(pk) = reader.text("pk") else { return needs };
    if let Some(email) = pk.strip_prefix("EMAIL#").and_then(|email| email.parse::<Email>().ok()) {
        if let Ok(record) = crate::identity::accounts::read_login_record(&email, item)
            && let Credential::Password(hash) = record.credential
            && let Some(id) = hash.pepper()
        {
            needs.insert(KeyName { kind: KeyKind::Pepper, id: id.to_string() });
        }
    } else if let Ok(seed) = reader.bytes("seed")
        && let Some(id) = sallyport_core::mfa::SealedSeed::from_bytes(seed.to_vec()).key()
    {
        needs.insert(KeyName { kind: KeyKind::Aead, id: id.to_string() });
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::item::s;

    #[test]
    fn a_cursor_reads_back() -> StoreResult<()> {
        let key = Item::from([("pk".to_owned(), s("a\"b")), ("sk".to_owned(), s("c"))]);
        let text = write_cursor(Some(key.clone()));
        assert_eq!(read_cursor(text.as_deref())?, Some(key));
        assert_eq!(read_cursor(None)?, None);
        assert_eq!(write_cursor(None), None);
        assert!(read_cursor(Some("{")).is_err());
        Ok(())
    }
}
