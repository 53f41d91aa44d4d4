//! Users table: factors and recovery codes, and the transaction that completes a sign-in.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, Update};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sallyport_core::{
    accounts::{Email, FactorKind, FactorSummary},
    audit::SecurityEvent,
    clock::Timestamp,
    ids::{FactorId, OperationId, UserId},
    mfa::{
        Claim, CodeHash, Completed, Completion, Confirmation, Enrolling, Factor, FactorChange, FactorPorts,
        ManageFactors, RecoveryCodes, Removal, SealedSeed, SignInCompletion,
    },
    store::StoreResult,
};

use crate::{
    identity::{
        accounts::{login_key, profile_key, write_summary},
        sessions::adding,
    },
    platform::{
        item::{ITEM_FORMAT, Item, Reader, b, millis, n, s},
        store::{Committed, Store, Transaction, unavailable, unbuildable},
    },
};

const TABLE: &str = "users";

pub(crate) fn factor_key(user: UserId, factor: FactorId) -> Item {
    HashMap::from([
        ("pk".to_owned(), s(format!("USER#{user}"))),
        ("sk".to_owned(), s(format!("FACTOR#{factor}"))),
    ])
}

pub(crate) fn recovery_key(user: UserId) -> Item {
    HashMap::from([("pk".to_owned(), s(format!("USER#{user}"))), ("sk".to_owned(), s("RECOVERY"))])
}

fn code_text(code: &CodeHash) -> String {
    URL_SAFE_NO_PAD.encode(code.as_bytes())
}

pub(crate) fn write_factor(factor: &Factor) -> Item {
    let mut item = factor_key(factor.user, factor.id);
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item.insert("kind".to_owned(), s("totp"));
    item.insert("label".to_owned(), s(&factor.label));
    item.insert("seed".to_owned(), b(factor.seed.as_bytes()));
    item.insert("confirmed".to_owned(), AttributeValue::Bool(factor.confirmed));
    item.insert("created_at".to_owned(), millis(factor.created_at));
    if let Some(step) = factor.last_step {
        item.insert("last_step".to_owned(), n(step));
    }
    if let Some(at) = factor.last_used_at {
        item.insert("last_used_at".to_owned(), millis(at));
    }
    item
}

pub(crate) fn read_factor(user: UserId, item: &Item) -> StoreResult<Factor> {
    let key = user.to_string();
    let reader = Reader::new(TABLE, &key, item);
    reader.format()?;
    let id = reader.text("sk")?.strip_prefix("FACTOR#").and_then(|id| id.parse().ok());
    Ok(Factor {
        user,
        id: id.ok_or_else(|| reader.corrupt("sk", "not a factor's key"))?,
        label: reader.text("label")?.to_owned(),
        seed: SealedSeed::from_bytes(reader.bytes("seed")?.to_vec()),
        confirmed: reader.flag("confirmed")?,
        last_step: reader.optional_number("last_step")?,
        created_at: reader.instant("created_at")?,
        last_used_at: reader.optional_number("last_used_at")?.map(Timestamp::from_millis),
    })
}

pub(crate) fn write_recovery_codes(codes: &RecoveryCodes) -> Item {
    let mut item = recovery_key(codes.user);
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item.insert("issued_at".to_owned(), millis(codes.issued_at));
    // A set is never empty: the last code takes the attribute with it.
    if !codes.left.is_empty() {
        item.insert("codes".to_owned(), AttributeValue::Ss(codes.left.iter().map(code_text).collect()));
    }
    item
}

pub(crate) fn read_recovery_codes(user: UserId, item: &Item) -> StoreResult<RecoveryCodes> {
    let key = user.to_string();
    let reader = Reader::new(TABLE, &key, item);
    reader.format()?;
    let texts = if reader.has("codes") { reader.texts("codes")? } else { &[] };
    let left = texts
        .iter()
        .map(|text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.map(CodeHash::from_bytes).ok_or_else(|| reader.corrupt("codes", "not a hash"))
        })
        .collect::<StoreResult<BTreeSet<_>>>()?;
    Ok(RecoveryCodes { user, left, issued_at: reader.instant("issued_at")? })
}

/// The key, the update and the condition that take a code: once.
struct Taking {
    key: Item,
    update: &'static str,
    condition: &'static str,
    values: Vec<(&'static str, AttributeValue)>,
}

fn taking(user: UserId, claim: &Claim, now: Timestamp) -> Taking {
    match claim {
        Claim::TotpStep { factor, step } => Taking {
            key: factor_key(user, *factor),
            update: "SET last_step = :step, last_used_at = :now",
            condition: "confirmed = :yes AND (attribute_not_exists(last_step) OR last_step < :step)",
            values: vec![(":step", n(step)), (":now", millis(now)), (":yes", AttributeValue::Bool(true))],
        },
        Claim::RecoveryCode { code } => Taking {
            key: recovery_key(user),
            update: "DELETE codes :codes",
            condition: "contains(codes, :code)",
            values: vec![
                (":codes", AttributeValue::Ss(vec![code_text(code)])),
                (":code", s(code_text(code))),
            ],
        },
    }
}

impl FactorPorts for Store {
    async fn factor(&self, user: UserId, factor: FactorId) -> StoreResult<Option<Factor>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.users)
            .set_key(Some(factor_key(user, factor)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read factor"))?;
        answer.item.map(|item| read_factor(user, &item)).transpose()
    }

    async fn recovery_codes(&self, user: UserId) -> StoreResult<Option<RecoveryCodes>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.users)
            .set_key(Some(recovery_key(user)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read recovery codes"))?;
        answer.item.map(|item| read_recovery_codes(user, &item)).transpose()
    }

    /// A transaction, be it of one part: its idempotency token tells a repeated write from a second use.
    async fn claim(
        &self,
        user: UserId,
        claim: &Claim,
        events: &[SecurityEvent],
        now: Timestamp,
    ) -> StoreResult<bool> {
        let mut transaction = Transaction::default().update(self.taking_update(user, claim, now)?);
        for event in events {
            transaction = transaction.put(self.event_put(event)?);
        }
        let committed = transaction.commit(&self.client, "take code").await?;
        self.announce_if(committed == Committed::Yes, events);
        Ok(committed == Committed::Yes)
    }
}

impl Store {
    fn taking_update(&self, user: UserId, claim: &Claim, now: Timestamp) -> StoreResult<Update> {
        let taking = taking(user, claim, now);
        let mut update = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(taking.key))
            .update_expression(taking.update)
            .condition_expression(taking.condition);
        for (name, value) in taking.values {
            update = update.expression_attribute_values(name, value);
        }
        update.build().map_err(unbuildable("take code"))
    }
}

fn spent_key(token: OperationId) -> AttributeValue {
    s(format!("mfa_token#{token}"))
}

impl SignInCompletion for Store {
    async fn is_spent(&self, token: OperationId) -> StoreResult<bool> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.throttle)
            .key("key", spent_key(token))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read MFA token"))?;
        Ok(answer.item.is_some())
    }

    async fn complete(&self, completion: &Completion<'_>) -> StoreResult<Completed> {
        let operation = "complete sign-in";
        let spent = Put::builder()
            .table_name(&self.tables.throttle)
            .item("key", spent_key(completion.token))
            .item("v", n(ITEM_FORMAT))
            .item("expires_at", n(completion.token_until.seconds().saturating_add(60)))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", "key")
            .build()
            .map_err(unbuildable(operation))?;
        let session = adding(
            &self.tables.sessions,
            completion.user,
            completion.epoch,
            completion.session,
            completion.surplus,
        )?;
        let mut transaction = Transaction::default()
            .put(spent)
            .update(self.taking_update(completion.user, completion.claim, completion.now)?)
            .update(session);
        for event in completion.events {
            transaction = transaction.put(self.event_put(event)?);
        }
        let committed = transaction.commit(&self.client, operation).await?;
        self.announce_if(committed == Committed::Yes, completion.events);
        Ok(match committed {
            Committed::Yes => Completed::Yes,
            Committed::Refused(parts) if parts.contains(&0) => Completed::TokenSpent,
            Committed::Refused(parts) if parts.contains(&2) => Completed::EpochPassed,
            Committed::Refused(_) => Completed::CodeTaken,
        })
    }
}

/// Changes of factors go by what was read of them: in a transaction each, of which one comes first.
const AS_SEEN: &str = "size(factors) = :seen";

/// The first part of each change is the factor, or the codes; all others depend on what was read.
fn change(committed: &Committed) -> FactorChange {
    match committed {
        Committed::Yes => FactorChange::Done,
        Committed::Refused(parts) if parts.contains(&0) => FactorChange::Gone,
        Committed::Refused(_) => FactorChange::Overtaken,
    }
}

impl ManageFactors for Store {
    async fn factors(&self, user: UserId) -> StoreResult<Vec<Factor>> {
        let mut factors = Vec::new();
        let mut pages = self
            .client
            .query()
            .table_name(&self.tables.users)
            .key_condition_expression("pk = :pk AND begins_with(sk, :factor)")
            .expression_attribute_values(":pk", s(format!("USER#{user}")))
            .expression_attribute_values(":factor", s("FACTOR#"))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            factors.push(read_factor(user, &item.map_err(unavailable("list factors"))?)?);
        }
        Ok(factors)
    }

    async fn add_factor(&self, enrolling: &Enrolling<'_>) -> StoreResult<FactorChange> {
        let Enrolling { factor, seen, replaced, event } = *enrolling;
        let operation = "add factor";
        let put = Put::builder()
            .table_name(&self.tables.users)
            .set_item(Some(write_factor(factor)))
            .build()
            .map_err(unbuildable(operation))?;
        let mut profile = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(profile_key(factor.user)))
            .update_expression("SET enrolling = :factor")
            .expression_attribute_values(":factor", s(factor.id));
        profile = match seen {
            Some(seen) => profile
                .condition_expression("enrolling = :seen")
                .expression_attribute_values(":seen", s(seen)),
            // Otherwise the update would make a profile of an account that has none.
            None => profile.condition_expression("attribute_exists(pk) AND attribute_not_exists(enrolling)"),
        };
        let profile = profile.build().map_err(unbuildable(operation))?;
        let mut transaction = Transaction::default().put(put).update(profile).put(self.event_put(event)?);
        for id in replaced {
            let delete = Delete::builder()
                .table_name(&self.tables.users)
                .set_key(Some(factor_key(factor.user, *id)))
                // It may have been confirmed since it was read.
                .condition_expression("attribute_not_exists(pk) OR confirmed = :no")
                .expression_attribute_values(":no", AttributeValue::Bool(false))
                .build()
                .map_err(unbuildable(operation))?;
            transaction = transaction.delete(delete);
        }
        let committed = transaction.commit(&self.client, operation).await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(if committed == Committed::Yes { FactorChange::Done } else { FactorChange::Overtaken })
    }

    async fn confirm_factor(&self, confirmation: &Confirmation<'_>) -> StoreResult<FactorChange> {
        let operation = "confirm factor";
        let factor = confirmation.factor;
        let confirm = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(factor_key(factor.user, factor.id)))
            .update_expression("SET confirmed = :yes, last_step = :step, last_used_at = :now")
            .condition_expression("confirmed = :no")
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .expression_attribute_values(":step", n(confirmation.step))
            .expression_attribute_values(":now", millis(confirmation.now))
            .build()
            .map_err(unbuildable(operation))?;
        let summary = FactorSummary { id: factor.id, kind: FactorKind::Totp, label: factor.label.clone() };
        let offer = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(login_key(confirmation.email)))
            .update_expression("SET factors.#id = :summary, recovery_codes = :yes")
            .condition_expression(AS_SEEN)
            .expression_attribute_names("#id", factor.id.to_string())
            .expression_attribute_values(":summary", write_summary(&summary))
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":seen", n(confirmation.seen))
            .build()
            .map_err(unbuildable(operation))?;
        let mut transaction = Transaction::default().update(confirm).update(offer);
        for event in confirmation.events {
            transaction = transaction.put(self.event_put(event)?);
        }
        if let Some(codes) = confirmation.recovery_codes {
            let put = Put::builder()
                .table_name(&self.tables.users)
                .set_item(Some(write_recovery_codes(codes)))
                .build()
                .map_err(unbuildable(operation))?;
            transaction = transaction.put(put);
        }
        let committed = transaction.commit(&self.client, operation).await?;
        self.announce_if(committed == Committed::Yes, confirmation.events);
        Ok(change(&committed))
    }

    async fn remove_factor(&self, removal: &Removal<'_>) -> StoreResult<FactorChange> {
        let Removal { user, email, factor, seen, last, event } = *removal;
        let operation = "remove factor";
        let delete = Delete::builder()
            .table_name(&self.tables.users)
            .set_key(Some(factor_key(user, factor)))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(unbuildable(operation))?;
        let mut withdraw = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(login_key(email)))
            .condition_expression(AS_SEEN)
            .expression_attribute_names("#id", factor.to_string())
            .expression_attribute_values(":seen", n(seen));
        withdraw = if last {
            withdraw
                .update_expression("SET recovery_codes = :no REMOVE factors.#id")
                .expression_attribute_values(":no", AttributeValue::Bool(false))
        } else {
            withdraw.update_expression("REMOVE factors.#id")
        };
        let mut transaction = Transaction::default()
            .delete(delete)
            .update(withdraw.build().map_err(unbuildable(operation))?)
            .put(self.event_put(event)?);
        if last {
            let codes = Delete::builder()
                .table_name(&self.tables.users)
                .set_key(Some(recovery_key(user)))
                .build()
                .map_err(unbuildable(operation))?;
            transaction = transaction.delete(codes);
        }
        let committed = transaction.commit(&self.client, operation).await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(change(&committed))
    }

    async fn replace_recovery_codes(
        &self,
        email: &Email,
        seen: usize,
        codes: &RecoveryCodes,
        event: &SecurityEvent,
    ) -> StoreResult<FactorChange> {
        let operation = "replace recovery codes";
        let put = Put::builder()
            .table_name(&self.tables.users)
            .set_item(Some(write_recovery_codes(codes)))
            .build()
            .map_err(unbuildable(operation))?;
        let offer = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(login_key(email)))
            .update_expression("SET recovery_codes = :yes")
            .condition_expression(AS_SEEN)
            .expression_attribute_values(":seen", n(seen))
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .build()
            .map_err(unbuildable(operation))?;
        let committed = Transaction::default()
            .put(put)
            .update(offer)
            .put(self.event_put(event)?)
            .commit(&self.client, operation)
            .await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(change(&committed))
    }
}
