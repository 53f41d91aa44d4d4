//! Whether a stored item reads: for migrations and their proof.

use sallyport_core::{
    accounts::Email,
    ids::UserId,
    store::{StoreError, StoreResult},
};

use crate::{
    identity::{
        accounts::{read_login_record, read_profile},
        audit,
        clients::read_client,
        flags::read_flags,
        messages,
        mfa::{read_factor, read_recovery_codes},
        sessions::read_sessions,
        throttle::read_pool,
    },
    operations::{gauge, incidents, proofs},
    platform::item::{Item, Reader},
};

/// Decodes an item as this release would, and drops the result.
///
/// `table` is the table's role: `users`, `sessions`, `throttle`, `outbox`, `audit`, `ops`.
///
/// # Errors
/// [`StoreError::Corrupt`] with table, key and attribute; never a value.
pub fn validate_item(table: &'static str, item: &Item) -> StoreResult<()> {
    let reader = Reader::new(table, "", item);
    match table {
        "users" => {
            let (pk, sk) = (reader.text("pk")?, reader.text("sk")?);
            if let Some(email) = pk.strip_prefix("EMAIL#") {
                let email: Email = email.parse().map_err(|_| reader.corrupt("pk", "not an address"))?;
                return read_login_record(&email, item).map(drop);
            }
            let user = pk.strip_prefix("USER#").and_then(|id| id.parse::<UserId>().ok());
            let user = user.ok_or_else(|| reader.corrupt("pk", "unknown kind of item"))?;
            match sk {
                "PROFILE" => read_profile(user, item).map(drop),
                "RECOVERY" => read_recovery_codes(user, item).map(drop),
                _ => read_factor(user, item).map(drop),
            }
        }
        "sessions" => {
            let user = reader.parsed("user_id")?;
            read_sessions(user, item).map(drop)
        }
        "throttle" => {
            let key = reader.text("key")?;
            reader.format()?;
            if key.starts_with("address#") {
                reader.number::<u64>("n").map(drop)
            } else if key.starts_with("mfa_token#") {
                Ok(())
            } else if key.starts_with("wait#") {
                reader.instant("since").map(drop)
            } else {
                read_pool(key, item).map(drop)
            }
        }
        "ops" => match reader.text("pk")? {
            "CLIENT" => read_client(item).map(drop),
            "FLAGS" => read_flags(item).map(drop),
            incidents::INCIDENTS => incidents::read_incident(item).map(drop),
            incidents::CAUSES => incidents::read_pointer(item).map(drop),
            incidents::NOTICES => incidents::read_notice(item).map(drop),
            pk if pk.starts_with(incidents::TIMELINE) => incidents::read_entry(item).map(drop),
            proofs::PARTITION => proofs::validate(item),
            gauge::PARTITION => gauge::validate(item),
            _ => reader.format(),
        },
        "audit" => audit::validate(item),
        "outbox" => messages::validate(item),
        _ => Err(StoreError::Corrupt { table, key: String::new(), problem: "no such table".to_owned() }),
    }
}
