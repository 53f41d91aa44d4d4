//! Sessions table: the devices that an account knows, in the item of its sessions.
//!
//! Each is attributes of its own, named by a letter and the device's key, so that one update raises a count whether or not
//! it is there yet: `d_` when it was used last, `g_` its generation, where a refresh was repeated by its token, and its pool
//! only while this holds something: `u_`, `t_`, `b_`, `l_`, `c_`, `n_` (used, total, probes, last, cleared, version), and
//! `r_` with an operation's id for what is reserved.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::{UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder},
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sallyport_core::{
    clock::Timestamp,
    ids::{DeviceKey, OperationId, UserId},
    sessions::{Added, DeviceAttempts, DeviceReserved, DeviceSuccess, UserSessions},
    store::StoreResult,
    throttle::{Clearing, Device, DeviceAttempt, DeviceUse, Generation, KnownDevice, Pool},
};

use crate::{
    identity::{
        sessions::{EPOCH_HOLDS, KEPT, attribute, read_sessions, write_session},
        throttle::{RESERVE, ROOM},
    },
    platform::{
        item::{ITEM_FORMAT, Item, Reader, millis, n, s},
        store::{Store, if_held, unavailable},
    },
};

/// Set where strangers have shut their pool.
pub(crate) const STRANGERS_SHUT: &str = "shut";

pub(crate) fn use_attribute(device: DeviceKey) -> String {
    format!("d_{}", device.name())
}

pub(crate) fn generation_attribute(device: DeviceKey) -> String {
    format!("g_{}", device.name())
}

fn version_attribute(device: DeviceKey) -> String {
    format!("n_{}", device.name())
}

/// Placeholders, and the attributes of a pool that they stand for.
fn pool_attributes(device: DeviceKey) -> [(&'static str, String); 6] {
    let name = device.name();
    [
        ("#used", format!("u_{name}")),
        ("#total", format!("t_{name}")),
        ("#probes", format!("b_{name}")),
        ("#last", format!("l_{name}")),
        ("#cleared", format!("c_{name}")),
        ("#ver", format!("n_{name}")),
    ]
}

fn reservation(device: DeviceKey, operation: OperationId) -> String {
    format!("r_{}{}", device.name(), URL_SAFE_NO_PAD.encode(operation.as_bytes()))
}

/// Versions of a pool that is forgotten when it holds nothing begin anew: at a number that no writer has seen.
fn first_version(operation: OperationId) -> u32 {
    let [a, b, c, d, ..] = *operation.as_bytes();
    u32::from_be_bytes([a, b, c, d]) >> 4
}

/// All that the item holds of these devices, for removing it.
pub(crate) fn attributes_of(device: DeviceKey, held: &Device) -> Vec<String> {
    let mut names = vec![use_attribute(device), generation_attribute(device)];
    names.extend(attributes_of_pool(device, &held.pool));
    names
}

fn attributes_of_pool(device: DeviceKey, pool: &Pool) -> Vec<String> {
    let mut names: Vec<_> = pool_attributes(device).into_iter().map(|(_, name)| name).collect();
    names.extend(pool.reserved.keys().map(|operation| reservation(device, *operation)));
    names
}

pub(crate) fn write_generation(generation: Generation) -> AttributeValue {
    AttributeValue::M(HashMap::from([
        ("g".to_owned(), n(generation.number)),
        ("c".to_owned(), n(generation.counter)),
    ]))
}

#[cfg(test)]
pub(crate) fn write_device(key: DeviceKey, device: &Device) -> Item {
    let mut item = Item::new();
    if let Some(used) = device.known {
        item.insert(use_attribute(key), n(used.stored()));
    }
    if device.generation.number > 0 {
        item.insert(generation_attribute(key), write_generation(device.generation));
    }
    let pool = &device.pool;
    if pool.version > 0 {
        let values = [
            n(pool.used),
            n(pool.total),
            n(pool.probes),
            millis(pool.last),
            n(pool.cleared),
            n(pool.version),
        ];
        item.extend(pool_attributes(key).into_iter().map(|(_, name)| name).zip(values));
        item.extend(
            pool.reserved.iter().map(|(operation, until)| (reservation(key, *operation), millis(*until))),
        );
    }
    item
}

fn key_of<'a>(reader: &Reader<'_>, name: &str, text: &'a str) -> StoreResult<(DeviceKey, &'a str)> {
    text.split_at_checked(DeviceKey::TEXT)
        .and_then(|(device, rest)| Some((DeviceKey::from_name(device)?, rest)))
        .ok_or_else(|| reader.corrupt(name, "not a device's"))
}

pub(crate) fn read_devices(reader: Reader<'_>) -> StoreResult<BTreeMap<DeviceKey, Device>> {
    let mut devices: BTreeMap<DeviceKey, Device> = BTreeMap::new();
    for (name, text) in reader.named("d_") {
        let (key, _) = key_of(&reader, name, text)?;
        devices.entry(key).or_default().known = Some(DeviceUse::from_stored(reader.number(name)?));
    }
    for (name, text) in reader.named("g_") {
        let (key, _) = key_of(&reader, name, text)?;
        let generation = reader.map(name)?;
        devices.entry(key).or_default().generation =
            Generation { number: generation.number("g")?, counter: generation.number("c")? };
    }
    for (name, text) in reader.named("n_") {
        let (key, _) = key_of(&reader, name, text)?;
        devices.entry(key).or_default().pool = read_pool(&reader, key)?;
    }
    for (name, text) in reader.named("r_") {
        let (key, operation) = key_of(&reader, name, text)?;
        let bytes = URL_SAFE_NO_PAD.decode(operation).ok().and_then(|bytes| bytes.try_into().ok());
        let operation = bytes.map(OperationId::from_bytes);
        let operation = operation.ok_or_else(|| reader.corrupt(name, "not an operation's id"))?;
        let until = reader.instant(name)?;
        // One that was on its way when its pool was forgotten counts for nothing.
        if let Some(device) = devices.get_mut(&key).filter(|device| device.pool.version > 0) {
            device.pool.reserved.insert(operation, until);
        }
    }
    Ok(devices)
}

fn read_pool(reader: &Reader<'_>, device: DeviceKey) -> StoreResult<Pool> {
    let name = device.name();
    Ok(Pool {
        used: reader.number(&format!("u_{name}"))?,
        total: reader.number(&format!("t_{name}"))?,
        probes: reader.number(&format!("b_{name}"))?,
        last: reader.instant(&format!("l_{name}"))?,
        cleared: reader.number(&format!("c_{name}"))?,
        version: reader.number(&version_attribute(device))?,
        reserved: BTreeMap::new(),
    })
}

impl DeviceAttempts for Store {
    async fn reserve_device(&self, attempt: &DeviceAttempt, now: Timestamp) -> StoreResult<DeviceReserved> {
        let DeviceAttempt { of, operation, policy, .. } = *attempt;
        let condition = format!("{KNOWN} AND (attribute_not_exists(#ver) OR ({ROOM}))");
        let mut update = self
            .device_update(of, operation)
            .update_expression(RESERVE)
            .condition_expression(condition)
            .expression_attribute_names("#device", use_attribute(of.device.key()))
            .expression_attribute_values(":epoch", n(of.epoch.0))
            .expression_attribute_values(":full", n(attempt.full(now)))
            .expression_attribute_values(":later", n(DeviceUse::later(now)))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":first", n(first_version(operation)))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":until", millis(now + policy.reservation))
            .expression_attribute_values(":quiet", millis(now.minus(policy.window)))
            .expression_attribute_values(":limit", n(policy.limit))
            .expression_attribute_values(":shut", n(policy.shut_after));
        for (placeholder, name) in pool_attributes(of.device.key()) {
            update = update.expression_attribute_names(placeholder, name);
        }
        reserved(of.user, shown(update).send().await, "reserve attempt of device")
    }

    async fn replace_device(
        &self,
        attempt: &DeviceAttempt,
        seen: &Pool,
        next: &Pool,
    ) -> StoreResult<DeviceReserved> {
        let DeviceAttempt { of, operation, policy, .. } = *attempt;
        let (device, now) = (of.device.key(), next.last);
        let mut expression = "SET #used = :used, #total = :total, #probes = :probes, #last = :now, \
                              #cleared = :cleared, #ver = :version, #op = :until"
            .to_owned();
        let mut update = self
            .device_update(of, operation)
            .expression_attribute_names("#device", use_attribute(device))
            .expression_attribute_values(":epoch", n(of.epoch.0))
            .expression_attribute_values(":full", n(attempt.full(now)))
            .expression_attribute_values(":later", n(DeviceUse::later(now)))
            .expression_attribute_values(":used", n(next.used))
            .expression_attribute_values(":total", n(next.total))
            .expression_attribute_values(":probes", n(next.probes))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":cleared", n(next.cleared))
            .expression_attribute_values(":version", n(next.version))
            .expression_attribute_values(":until", millis(now + policy.reservation));
        for (placeholder, name) in pool_attributes(device) {
            update = update.expression_attribute_names(placeholder, name);
        }
        let gone: Vec<_> = seen.reserved.keys().filter(|id| !next.reserved.contains_key(*id)).collect();
        for (index, operation) in gone.into_iter().enumerate() {
            let name = format!("#gone{index}");
            expression.push_str(if index == 0 { " REMOVE " } else { ", " });
            expression.push_str(&name);
            update = update.expression_attribute_names(name, reservation(device, *operation));
        }
        let version = if seen.version == 0 {
            "attribute_not_exists(#ver)"
        } else {
            update = update.expression_attribute_values(":seen", n(seen.version));
            "#ver = :seen"
        };
        let update =
            update.update_expression(expression).condition_expression(format!("{KNOWN} AND {version}"));
        reserved(of.user, shown(update).send().await, "reserve attempt of device after a look")
    }

    async fn settle_device_failure(
        &self,
        of: KnownDevice,
        operation: OperationId,
        now: Timestamp,
    ) -> StoreResult<Option<Pool>> {
        let device = of.device.key();
        let update = self
            .device_update(of, operation)
            .update_expression("SET #last = :now, #ver = #ver + :one REMOVE #op")
            .condition_expression(RESERVED)
            .expression_attribute_names("#last", format!("l_{}", device.name()))
            .expression_attribute_names("#ver", version_attribute(device))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":one", n(1));
        let held = match reserved(of.user, shown(update).send().await, "settle failed attempt of device")? {
            DeviceReserved::Yes(held) => Some(held),
            DeviceReserved::No(held) => held,
        };
        let pool = held.and_then(|held| held.device(device).map(|device| device.pool.clone()));
        Ok(pool.filter(|pool| pool.version > 0))
    }

    async fn settle_device_success(&self, success: &DeviceSuccess<'_>) -> StoreResult<Added> {
        let device = success.of.device.key();
        let pool = success.seen.device(device).map(|device| &device.pool);
        // Nobody else is in it, and what has failed goes: so the whole pool does, where nobody came in between.
        if let Some(pool) = pool.filter(|pool| pool.total == success.clearing.total.saturating_add(1)) {
            let alone = Settling::Alone { pool };
            if let Some(added) = self.settle_device(success, alone).await? {
                return Ok(added);
            }
        }
        if !success.clearing.is_empty()
            && let Some(added) = self.settle_device(success, Settling::Clearing).await?
        {
            return Ok(added);
        }
        if let Some(added) = self.settle_device(success, Settling::Leaving).await? {
            return Ok(added);
        }
        // Settled before, or forgotten by an operator.
        Ok(self.settle_device(success, Settling::Settled).await?.unwrap_or(Added::EpochPassed))
    }

    async fn clear_devices(&self, user: UserId, devices: &[(DeviceKey, Pool)]) -> StoreResult<()> {
        let names = devices.iter().flat_map(|(device, pool)| attributes_of_pool(*device, pool));
        let mut update = self
            .client
            .update_item()
            .table_name(&self.tables.sessions)
            .key("user_id", s(user))
            .condition_expression("attribute_exists(user_id)");
        let mut expression = String::new();
        for (index, name) in names.enumerate() {
            let placeholder = format!("#p{index}");
            expression.push_str(if index == 0 { "REMOVE " } else { ", " });
            expression.push_str(&placeholder);
            update = update.expression_attribute_names(placeholder, name);
        }
        if expression.is_empty() {
            return Ok(());
        }
        let sent = update.update_expression(expression).send().await;
        if_held(sent, "clear pools of devices").map(drop)
    }

    async fn note_strangers_shut(&self, user: UserId, shut: bool) -> StoreResult<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.tables.sessions)
            .key("user_id", s(user))
            .condition_expression("attribute_exists(user_id)")
            .expression_attribute_names("#shut", STRANGERS_SHUT);
        let update = if shut {
            update
                .update_expression("SET #shut = :yes")
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
        } else {
            update.update_expression("REMOVE #shut")
        };
        if_held(update.send().await, "note that strangers are shut out").map(drop)
    }
}

/// The epoch is the one that the device became known under, it is known, and its budget has room.
const KNOWN: &str = "epoch = :epoch AND (#device < :full OR #device >= :later)";

/// The attempt is still reserved, in a pool that was not forgotten.
const RESERVED: &str = "attribute_exists(#op) AND attribute_exists(#ver)";

/// How a success is settled, from the best case to the last.
#[derive(Clone, Copy)]
enum Settling<'a> {
    /// The pool as it was shown goes.
    Alone { pool: &'a Pool },
    /// The attempt leaves it, and takes the failures along that it saw.
    Clearing,
    /// The attempt leaves it.
    Leaving,
    /// It is settled already; only the session is still to be added.
    Settled,
}

impl Store {
    fn device_update(&self, of: KnownDevice, operation: OperationId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.tables.sessions)
            .key("user_id", s(of.user))
            .expression_attribute_names("#op", reservation(of.device.key(), operation))
    }

    /// `None` when the condition did not hold.
    async fn settle_device(
        &self,
        success: &DeviceSuccess<'_>,
        settling: Settling<'_>,
    ) -> StoreResult<Option<Added>> {
        let DeviceSuccess { of, operation, seen, clearing, counts, session, now } = *success;
        let device = of.device.key();
        let (mut sets, mut removes, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        let mut update =
            self.client.update_item().table_name(&self.tables.sessions).key("user_id", s(of.user));
        if let Some(session) = session {
            sets.push("#session = :session, epoch = :epoch, v = :v, expires_at = :expires".to_owned());
            conditions.push(format!("({EPOCH_HOLDS})"));
            update = update
                .expression_attribute_names("#session", attribute(session.id))
                .expression_attribute_values(":session", write_session(session))
                .expression_attribute_values(":epoch", n(of.epoch.0))
                .expression_attribute_values(":v", n(ITEM_FORMAT))
                .expression_attribute_values(":expires", n((session.created_at + KEPT).seconds()));
        }
        if counts {
            let before = seen.device(device).and_then(|device| device.known);
            let used = before.map_or_else(|| DeviceUse::first(now), |used| used.again(now));
            sets.push("#device = :use".to_owned());
            // An account that forgot the device meanwhile goes on without it.
            if session.is_none() {
                conditions.push("attribute_exists(#device)".to_owned());
            }
            update = update
                .expression_attribute_names("#device", use_attribute(device))
                .expression_attribute_values(":use", n(used.stored()));
        }
        let none = Clearing::default();
        match settling {
            Settling::Alone { pool } => {
                conditions.push("#ver = :seen AND attribute_exists(#op)".to_owned());
                update = update
                    .expression_attribute_names("#op", reservation(device, operation))
                    .expression_attribute_values(":seen", n(pool.version));
                for (placeholder, name) in pool_attributes(device) {
                    removes.push(placeholder.to_owned());
                    update = update.expression_attribute_names(placeholder, name);
                }
                removes.push("#op".to_owned());
                let others = pool.reserved.keys().filter(|other| **other != operation);
                for (index, other) in others.enumerate() {
                    let name = format!("#expired{index}");
                    removes.push(name.clone());
                    update = update.expression_attribute_names(name, reservation(device, *other));
                }
            }
            Settling::Clearing | Settling::Leaving => {
                let clears = matches!(settling, Settling::Clearing);
                let taken = if clears { clearing } else { &none };
                sets.push("#used = #used - :used, #total = #total - :total, #ver = #ver + :one".to_owned());
                conditions.push(RESERVED.to_owned());
                removes.push("#op".to_owned());
                let name = device.name();
                update = update
                    .expression_attribute_names("#op", reservation(device, operation))
                    .expression_attribute_names("#used", format!("u_{name}"))
                    .expression_attribute_names("#total", format!("t_{name}"))
                    .expression_attribute_names("#ver", version_attribute(device))
                    .expression_attribute_values(":used", n(taken.used.saturating_add(1)))
                    .expression_attribute_values(":total", n(taken.total.saturating_add(1)))
                    .expression_attribute_values(":one", n(1));
                if clears {
                    sets.push("#probes = :zero, #cleared = #cleared + :one".to_owned());
                    conditions.push("#cleared = :cleared".to_owned());
                    update = update
                        .expression_attribute_names("#probes", format!("b_{name}"))
                        .expression_attribute_names("#cleared", format!("c_{name}"))
                        .expression_attribute_values(":zero", n(0))
                        .expression_attribute_values(":cleared", n(clearing.cleared));
                }
                for (index, expired) in taken.expired.iter().enumerate() {
                    let name = format!("#expired{index}");
                    conditions.push(format!("attribute_exists({name})"));
                    removes.push(name.clone());
                    update = update.expression_attribute_names(name, reservation(device, *expired));
                }
            }
            Settling::Settled => {}
        }
        if sets.is_empty() && removes.is_empty() {
            // An attempt that is given back, and was settled before.
            return Ok(Some(Added::Among(seen.clone())));
        }
        let mut expression = String::new();
        if !sets.is_empty() {
            expression.push_str(&format!("SET {} ", sets.join(", ")));
        }
        if !removes.is_empty() {
            expression.push_str(&format!("REMOVE {}", removes.join(", ")));
        }
        let sent = update
            .update_expression(expression)
            .set_condition_expression((!conditions.is_empty()).then(|| conditions.join(" AND ")))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        let answer = if_held(sent, "settle attempt of device")?;
        answer
            .map(|answer| read_sessions(of.user, &answer.attributes.unwrap_or_default()).map(Added::Among))
            .transpose()
    }
}

fn shown(update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
    update
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

fn reserved(
    user: UserId,
    sent: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
    operation: &'static str,
) -> StoreResult<DeviceReserved> {
    let read = |item: &Item| -> StoreResult<UserSessions> { read_sessions(user, item) };
    match sent {
        Ok(answer) => Ok(DeviceReserved::Yes(read(&answer.attributes.unwrap_or_default())?)),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                let held = failed.item.as_ref().filter(|item| !item.is_empty());
                Ok(DeviceReserved::No(held.map(read).transpose()?))
            }
            _ => Err(unavailable(operation)(error)),
        },
    }
}
