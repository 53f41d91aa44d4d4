//! Users table: login records and profiles.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, Update};
use sallyport_core::{
    accounts::{
        Credential, Email, Epoch, FactorKind, FactorSummary, LoginRecord, LoginRecords, Profile, RenewHash,
        Status, StoredHash,
    },
    administration::{CreateAccount, FactorReset, ManageAccounts},
    audit::SecurityEvent,
    ids::UserId,
    store::{StoreError, StoreResult},
};

use crate::{
    identity::{
        mfa::{factor_key, recovery_key},
        sessions::emptied_item,
    },
    platform::{
        item::{ITEM_FORMAT, Item, Reader, millis, n, s},
        store::{Committed, Store, Transaction, unavailable, unbuildable},
    },
};

const TABLE: &str = "users";

pub(crate) fn login_key(email: &Email) -> Item {
    HashMap::from([("pk".to_owned(), s(format!("EMAIL#{email}"))), ("sk".to_owned(), s("LOGIN"))])
}

pub(crate) fn profile_key(user: UserId) -> Item {
    HashMap::from([("pk".to_owned(), s(format!("USER#{user}"))), ("sk".to_owned(), s("PROFILE"))])
}

pub(crate) fn write_login_record(record: &LoginRecord) -> Item {
    let mut item = login_key(&record.email);
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item.insert("user_id".to_owned(), s(record.user));
    item.insert("status".to_owned(), s(status_text(record.status)));
    item.insert("verified".to_owned(), AttributeValue::Bool(record.verified));
    item.insert("epoch".to_owned(), n(record.epoch.0));
    item.insert("recovery_codes".to_owned(), AttributeValue::Bool(record.recovery_codes));
    if let Credential::Password(hash) = &record.credential {
        item.insert("password".to_owned(), s(hash.as_str()));
    }
    let factors =
        record.factors.iter().map(|factor| (factor.id.to_string(), write_summary(factor))).collect();
    item.insert("factors".to_owned(), AttributeValue::M(factors));
    item
}

/// A factor within the login record.
pub(crate) fn write_summary(factor: &FactorSummary) -> AttributeValue {
    let kind = match factor.kind {
        FactorKind::Totp => "totp",
    };
    AttributeValue::M(HashMap::from([("kind".to_owned(), s(kind)), ("label".to_owned(), s(&factor.label))]))
}

pub(crate) fn read_login_record(email: &Email, item: &Item) -> StoreResult<LoginRecord> {
    let key = email.account_key().to_string();
    let reader = Reader::new(TABLE, &key, item);
    reader.format()?;
    let credential = if reader.has("password") {
        let hash = reader.text("password")?.parse::<StoredHash>();
        Credential::Password(hash.map_err(|error| reader.corrupt("password", &error.to_string()))?)
    } else {
        Credential::None
    };
    let factors = reader.map("factors")?;
    let mut summaries = factors
        .named("")
        .map(|(name, id)| {
            let factor = factors.map(name)?;
            let kind = match factor.text("kind")? {
                "totp" => FactorKind::Totp,
                _ => return Err(factor.corrupt("kind", "unknown")),
            };
            let id = id.parse().map_err(|_| factors.corrupt(name, "not a factor's id"))?;
            Ok(FactorSummary { id, kind, label: factor.text("label")?.to_owned() })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    summaries.sort_by_key(|factor| factor.id);
    Ok(LoginRecord {
        email: email.clone(),
        user: reader.parsed("user_id")?,
        credential,
        status: match reader.text("status")? {
            "active" => Status::Active,
            "disabled" => Status::Disabled,
            _ => return Err(reader.corrupt("status", "unknown")),
        },
        verified: reader.flag("verified")?,
        epoch: Epoch(reader.number("epoch")?),
        factors: summaries,
        recovery_codes: reader.flag("recovery_codes")?,
    })
}

fn status_text(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Disabled => "disabled",
    }
}

pub(crate) fn write_profile(profile: &Profile) -> Item {
    let mut item = profile_key(profile.user);
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item.insert("email".to_owned(), s(&profile.email));
    item.insert("created_at".to_owned(), millis(profile.created_at));
    if let Some(factor) = profile.enrolling {
        item.insert("enrolling".to_owned(), s(factor));
    }
    item
}

pub(crate) fn read_profile(user: UserId, item: &Item) -> StoreResult<Profile> {
    let key = user.to_string();
    let reader = Reader::new(TABLE, &key, item);
    reader.format()?;
    Ok(Profile {
        user,
        email: reader.parsed("email")?,
        created_at: reader.instant("created_at")?,
        enrolling: if reader.has("enrolling") { Some(reader.parsed("enrolling")?) } else { None },
    })
}

impl LoginRecords for Store {
    async fn login_record(&self, email: &Email) -> StoreResult<Option<LoginRecord>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.users)
            .set_key(Some(login_key(email)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read login record"))?;
        answer.item.map(|item| read_login_record(email, &item)).transpose()
    }

    async fn profile(&self, user: UserId) -> StoreResult<Option<Profile>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.users)
            .set_key(Some(profile_key(user)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read profile"))?;
        answer.item.map(|item| read_profile(user, &item)).transpose()
    }
}

impl RenewHash for Store {
    async fn renew_hash(
        &self,
        email: &Email,
        checked: &StoredHash,
        renewed: &StoredHash,
        event: &SecurityEvent,
    ) -> StoreResult<()> {
        let operation = "renew hash";
        let renewal = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(login_key(email)))
            .update_expression("SET password = :renewed")
            .condition_expression("password = :checked")
            .expression_attribute_values(":renewed", s(renewed.as_str()))
            .expression_attribute_values(":checked", s(checked.as_str()))
            .build()
            .map_err(unbuildable(operation))?;
        let transaction = Transaction::default().update(renewal).put(self.event_put(event)?);
        // Refused: somebody set another password, or renewed it first. Contended: many sign-ins at once renew the same
        // hash, and one of them will do.
        let committed = transaction.commit_unless_contended(&self.client, operation).await?;
        self.announce_if(committed == Some(Committed::Yes), [event]);
        Ok(())
    }
}

impl ManageAccounts for Store {
    async fn create(&self, account: CreateAccount<'_>) -> StoreResult<bool> {
        let operation = "create account";
        let new = |item| {
            Put::builder()
                .table_name(&self.tables.users)
                .set_item(Some(item))
                .condition_expression("attribute_not_exists(pk)")
                .build()
                .map_err(unbuildable(operation))
        };
        let committed = Transaction::default()
            .put(new(write_login_record(account.record))?)
            .put(new(write_profile(account.profile))?)
            .put(self.event_put(account.event)?)
            .commit(&self.client, operation)
            .await?;
        self.announce_if(committed == Committed::Yes, [account.event]);
        Ok(committed == Committed::Yes)
    }

    async fn change(
        &self,
        before: &LoginRecord,
        after: &LoginRecord,
        event: &SecurityEvent,
    ) -> StoreResult<bool> {
        let operation = "change account";
        let mut update = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(login_key(&before.email)))
            .condition_expression("#epoch = :before")
            .expression_attribute_names("#epoch", "epoch")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":before", n(before.epoch.0))
            .expression_attribute_values(":after", n(after.epoch.0))
            .expression_attribute_values(":status", s(status_text(after.status)));
        // The password is written only where it changes: a hash that is renewed meanwhile is not put back.
        update = match &after.credential {
            Credential::Password(hash) if before.credential != after.credential => update
                .update_expression("SET #epoch = :after, #status = :status, password = :password")
                .expression_attribute_values(":password", s(hash.as_str())),
            Credential::None if before.credential != after.credential => {
                update.update_expression("SET #epoch = :after, #status = :status REMOVE password")
            }
            _ => update.update_expression("SET #epoch = :after, #status = :status"),
        };
        let sessions = Put::builder()
            .table_name(&self.tables.sessions)
            .set_item(Some(emptied_item(after.user, after.epoch, event.at)))
            .build()
            .map_err(unbuildable(operation))?;
        let committed = Transaction::default()
            .update(update.build().map_err(unbuildable(operation))?)
            .put(sessions)
            .put(self.event_put(event)?)
            .commit(&self.client, operation)
            .await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(committed == Committed::Yes)
    }

    async fn reset_factors(&self, reset: &FactorReset<'_>) -> StoreResult<bool> {
        let FactorReset { before, after, factors, event } = *reset;
        let operation = "reset factors";
        // With as many factors as were read, and those of them that are removed there still, there is no other.
        let record = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(login_key(&before.email)))
            .condition_expression("#epoch = :before AND size(factors) = :seen")
            .update_expression("SET #epoch = :after, factors = :none, recovery_codes = :no")
            .expression_attribute_names("#epoch", "epoch")
            .expression_attribute_values(":before", n(before.epoch.0))
            .expression_attribute_values(":seen", n(before.factors.len()))
            .expression_attribute_values(":after", n(after.epoch.0))
            .expression_attribute_values(":none", AttributeValue::M(HashMap::new()))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .build()
            .map_err(unbuildable(operation))?;
        let sessions = Put::builder()
            .table_name(&self.tables.sessions)
            .set_item(Some(emptied_item(after.user, after.epoch, event.at)))
            .build()
            .map_err(unbuildable(operation))?;
        let delete = |key, condition: Option<&str>| {
            Delete::builder()
                .table_name(&self.tables.users)
                .set_key(Some(key))
                .set_condition_expression(condition.map(str::to_owned))
                .build()
                .map_err(unbuildable(operation))
        };
        let mut transaction = Transaction::default()
            .update(record)
            .put(sessions)
            .put(self.event_put(event)?)
            .delete(delete(recovery_key(before.user), None)?);
        for factor in factors {
            let condition = factor.confirmed.then_some("attribute_exists(pk)");
            transaction = transaction.delete(delete(factor_key(before.user, factor.id), condition)?);
        }
        let committed = transaction.commit(&self.client, operation).await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(committed == Committed::Yes)
    }
}
