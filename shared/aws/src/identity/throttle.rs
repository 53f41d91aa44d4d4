//! Throttle table: pools of attempts and budgets of addresses.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{Delete, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sallyport_core::{
    address::ClientAddress,
    audit::SecurityEvent,
    clock::Timestamp,
    ids::OperationId,
    store::StoreResult,
    throttle::{
        AddressLimit, Attempts, BucketState, ClaimWait, Clearing, CountAddress, Pool, PoolKey, PoolPolicy,
        ReopenPool, Reserved, ShowLimits, WAIT, WAIT_WINDOW, WaitKey, Waiting,
    },
};

use crate::platform::{
    item::{ITEM_FORMAT, Item, Reader, millis, n, s},
    store::{Committed, Store, Transaction, if_held, unavailable, unbuildable},
};

const TABLE: &str = "throttle";

fn reservation(operation: OperationId) -> String {
    format!("r_{}", URL_SAFE_NO_PAD.encode(operation.as_bytes()))
}

fn operation_of(name: &str) -> Option<OperationId> {
    let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
    bytes.try_into().ok().map(OperationId::from_bytes)
}

pub(crate) fn write_pool(key: &PoolKey, pool: &Pool, policy: &PoolPolicy) -> Item {
    let mut item = HashMap::from([
        ("key".to_owned(), s(key)),
        ("v".to_owned(), n(ITEM_FORMAT)),
        ("used".to_owned(), n(pool.used)),
        ("total".to_owned(), n(pool.total)),
        ("probes".to_owned(), n(pool.probes)),
        ("last".to_owned(), millis(pool.last)),
        ("cleared".to_owned(), n(pool.cleared)),
        ("ver".to_owned(), n(pool.version)),
        ("expires_at".to_owned(), n((pool.last + policy.memory).seconds())),
    ]);
    for (operation, expires) in &pool.reserved {
        item.insert(reservation(*operation), millis(*expires));
    }
    item
}

pub(crate) fn read_pool(key: &str, item: &Item) -> StoreResult<Pool> {
    let reader = Reader::new(TABLE, key, item);
    reader.format()?;
    let reserved = reader
        .named("r_")
        .map(|(name, id)| {
            let operation = operation_of(id).ok_or_else(|| reader.corrupt(name, "not an operation's id"))?;
            Ok((operation, reader.instant(name)?))
        })
        .collect::<StoreResult<BTreeMap<_, _>>>()?;
    Ok(Pool {
        used: reader.number("used")?,
        total: reader.number("total")?,
        probes: reader.number("probes")?,
        last: reader.instant("last")?,
        cleared: reader.number("cleared")?,
        version: reader.number("ver")?,
        reserved,
    })
}

/// The pool in an answer; no item is a pool that nobody has used.
fn shown(key: &PoolKey, item: Option<&Item>) -> StoreResult<Pool> {
    match item.filter(|item| !item.is_empty()) {
        Some(item) => read_pool(&key.to_string(), item),
        None => Ok(Pool::default()),
    }
}

/// One attempt more in a pool, wherever its attributes are.
pub(crate) const RESERVE: &str = "SET #used = if_not_exists(#used, :zero) + :one, \
    #total = if_not_exists(#total, :zero) + :one, #ver = if_not_exists(#ver, :first) + :one, \
    #probes = if_not_exists(#probes, :zero), #cleared = if_not_exists(#cleared, :zero), #last = :now, #op = :until";

/// Whether a pool that is there takes one, without a further look.
pub(crate) const ROOM: &str = "attribute_not_exists(#op) AND #used < :limit AND #total < :shut \
    AND (#used = :zero OR #last > :quiet)";

impl Attempts for Store {
    async fn reserve(
        &self,
        key: &PoolKey,
        operation: OperationId,
        policy: &PoolPolicy,
        now: Timestamp,
    ) -> StoreResult<Reserved> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.tables.throttle)
            .key("key", s(key))
            .update_expression(format!("{RESERVE}, v = :v, expires_at = :expires"))
            .condition_expression(format!("attribute_not_exists(#key) OR ({ROOM})"))
            .expression_attribute_names("#key", "key")
            .expression_attribute_names("#used", "used")
            .expression_attribute_names("#total", "total")
            .expression_attribute_names("#ver", "ver")
            .expression_attribute_names("#probes", "probes")
            .expression_attribute_names("#cleared", "cleared")
            .expression_attribute_names("#last", "last")
            .expression_attribute_names("#op", reservation(operation))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":first", n(0))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":until", millis(now + policy.reservation))
            .expression_attribute_values(":quiet", millis(now.minus(policy.window)))
            .expression_attribute_values(":limit", n(policy.limit))
            .expression_attribute_values(":shut", n(policy.shut_after))
            .expression_attribute_values(":v", n(ITEM_FORMAT))
            .expression_attribute_values(":expires", n((now + policy.memory).seconds()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(answer) => Ok(Reserved::Yes(shown(key, answer.attributes.as_ref())?)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Reserved::No(shown(key, failed.item.as_ref())?))
                }
                _ => Err(unavailable("reserve attempt")(error)),
            },
        }
    }

    async fn replace(
        &self,
        key: &PoolKey,
        seen: u64,
        next: &Pool,
        policy: &PoolPolicy,
    ) -> StoreResult<Reserved> {
        let put = self
            .client
            .put_item()
            .table_name(&self.tables.throttle)
            .set_item(Some(write_pool(key, next, policy)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = if seen == 0 {
            put.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", "key")
        } else {
            put.condition_expression("ver = :seen").expression_attribute_values(":seen", n(seen))
        };
        match put.send().await {
            Ok(_) => Ok(Reserved::Yes(next.clone())),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Reserved::No(shown(key, failed.item.as_ref())?))
                }
                _ => Err(unavailable("reserve attempt after a look")(error)),
            },
        }
    }

    async fn settle_failure(
        &self,
        key: &PoolKey,
        operation: OperationId,
        now: Timestamp,
    ) -> StoreResult<Option<Pool>> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.tables.throttle)
            .key("key", s(key))
            .update_expression("SET #last = :now, #ver = #ver + :one REMOVE #op")
            .condition_expression("attribute_exists(#op)")
            .expression_attribute_names("#last", "last")
            .expression_attribute_names("#ver", "ver")
            .expression_attribute_names("#op", reservation(operation))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":one", n(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let item = match sent {
            Ok(answer) => answer.attributes,
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => failed.item.clone(),
                _ => return Err(unavailable("settle failed attempt")(error)),
            },
        };
        item.filter(|item| !item.is_empty()).map(|item| read_pool(&key.to_string(), &item)).transpose()
    }

    async fn settle_success(
        &self,
        key: &PoolKey,
        operation: OperationId,
        clearing: &Clearing,
    ) -> StoreResult<()> {
        if !clearing.is_empty() && self.leave(key, operation, Some(clearing)).await? {
            return Ok(());
        }
        // Nothing to clear, or another success has cleared it since. An attempt that was settled before stays settled.
        self.leave(key, operation, None).await.map(drop)
    }

    async fn pool(&self, key: &PoolKey) -> StoreResult<Option<Pool>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.throttle)
            .key("key", s(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read pool"))?;
        answer.item.map(|item| read_pool(&key.to_string(), &item)).transpose()
    }

    async fn forget(&self, key: &PoolKey) -> StoreResult<()> {
        let delete = self.client.delete_item().table_name(&self.tables.throttle).key("key", s(key));
        delete.send().await.map(drop).map_err(unavailable("forget pool"))
    }
}

impl ReopenPool for Store {
    async fn reopen(&self, key: &PoolKey, seen: u64, event: &SecurityEvent) -> StoreResult<()> {
        let operation = "re-open pool";
        let delete = Delete::builder()
            .table_name(&self.tables.throttle)
            .key("key", s(key))
            .condition_expression("ver = :seen")
            .expression_attribute_values(":seen", n(seen))
            .build()
            .map_err(unbuildable(operation))?;
        let transaction = Transaction::default().delete(delete).put(self.event_put(event)?);
        let committed = transaction.commit(&self.client, operation).await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(())
    }
}

impl Store {
    /// Takes a reservation off its pool, with what it clears. `false` when the condition did not hold.
    async fn leave(
        &self,
        key: &PoolKey,
        operation: OperationId,
        clearing: Option<&Clearing>,
    ) -> StoreResult<bool> {
        let none = Clearing::default();
        let cleared = clearing.unwrap_or(&none);
        let mut expression =
            "SET #used = #used - :used, #total = #total - :total, #ver = #ver + :one".to_owned();
        let mut condition = "attribute_exists(#op)".to_owned();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.tables.throttle)
            .key("key", s(key))
            .expression_attribute_names("#used", "used")
            .expression_attribute_names("#total", "total")
            .expression_attribute_names("#ver", "ver")
            .expression_attribute_names("#op", reservation(operation))
            .expression_attribute_values(":used", n(cleared.used.saturating_add(1)))
            .expression_attribute_values(":total", n(cleared.total.saturating_add(1)))
            .expression_attribute_values(":one", n(1));
        if clearing.is_some() {
            expression.push_str(", #probes = :zero, #cleared = #cleared + :one");
            condition.push_str(" AND #cleared = :cleared");
            update = update
                .expression_attribute_names("#probes", "probes")
                .expression_attribute_names("#cleared", "cleared")
                .expression_attribute_values(":zero", n(0))
                .expression_attribute_values(":cleared", n(cleared.cleared));
        }
        expression.push_str(" REMOVE #op");
        for (index, expired) in cleared.expired.iter().enumerate() {
            let name = format!("#expired{index}");
            expression.push_str(", ");
            expression.push_str(&name);
            // One that was settled late after all has left the count already: it must not be taken off twice.
            condition.push_str(" AND attribute_exists(");
            condition.push_str(&name);
            condition.push(')');
            update = update.expression_attribute_names(name, reservation(*expired));
        }
        let sent = update.update_expression(expression).condition_expression(condition).send().await;
        Ok(if_held(sent, "settle attempt")?.is_some())
    }
}

impl CountAddress for Store {
    async fn count(
        &self,
        address: ClientAddress,
        limit: &AddressLimit,
        now: Timestamp,
    ) -> StoreResult<BucketState> {
        let (key, ends) = limit.window_of(address, now);
        let answer = self
            .client
            .update_item()
            .table_name(&self.tables.throttle)
            .key("key", s(&key))
            .update_expression("SET expires_at = :expires, v = :v ADD n :one")
            .expression_attribute_values(":expires", n(ends.seconds() + 60))
            .expression_attribute_values(":v", n(ITEM_FORMAT))
            .expression_attribute_values(":one", n(1))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await
            .map_err(unavailable("count address"))?;
        let item = answer.attributes.unwrap_or_default();
        let used = Reader::new(TABLE, &key, &item).number("n")?;
        let state = limit.state(used, ends, now);
        if state.is_scarce() {
            self.scarce.note(key, ends, now);
        }
        Ok(state)
    }

    fn is_known_scarce(&self, address: ClientAddress, limit: &AddressLimit, now: Timestamp) -> bool {
        self.scarce.holds(&limit.window_of(address, now).0)
    }
}

impl ClaimWait for Store {
    async fn claim_wait(&self, key: &WaitKey, now: Timestamp) -> StoreResult<Waiting> {
        let kept = WAIT + WAIT_WINDOW;
        let sent = self
            .client
            .update_item()
            .table_name(&self.tables.throttle)
            .key("key", s(key))
            .update_expression("SET #since = :now, v = :v, expires_at = :expires")
            .condition_expression("attribute_not_exists(#since) OR #since <= :stale")
            .expression_attribute_names("#since", "since")
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":stale", millis(now.minus(kept)))
            .expression_attribute_values(":v", n(ITEM_FORMAT))
            .expression_attribute_values(":expires", n((now + kept).seconds() + 60))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Waiting::First),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let item = failed.item.clone().unwrap_or_default();
                    let since = Reader::new(TABLE, &key.to_string(), &item).instant("since")?;
                    Ok(Waiting::Since(since))
                }
                _ => Err(unavailable("claim wait")(error)),
            },
        }
    }
}

impl ShowLimits for Store {
    async fn counted(
        &self,
        address: ClientAddress,
        limit: &AddressLimit,
        now: Timestamp,
    ) -> StoreResult<BucketState> {
        let (key, ends) = limit.window_of(address, now);
        let item = self.limit_item(&key).await?;
        let used = item.map(|item| Reader::new(TABLE, &key, &item).number("n")).transpose()?;
        Ok(limit.state(used.unwrap_or_default(), ends, now))
    }

    async fn waiting(&self, key: &WaitKey) -> StoreResult<Option<Timestamp>> {
        let key = key.to_string();
        let item = self.limit_item(&key).await?;
        item.map(|item| Reader::new(TABLE, &key, &item).instant("since")).transpose()
    }
}

impl Store {
    async fn limit_item(&self, key: &str) -> StoreResult<Option<Item>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.throttle)
            .key("key", s(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read limit"))?;
        Ok(answer.item)
    }
}
