//! Outbox table: messages that wait for the courier.

use std::{collections::HashMap, time::Duration};

use sallyport_core::{ids::UserId, messages::Message, store::StoreResult};

use crate::platform::item::{ITEM_FORMAT, Item, Reader, millis, n, s};

/// A message that could not be sent for this long is of no use any more.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

pub(crate) fn write_message(message: &Message) -> Item {
    HashMap::from([
        ("pk".to_owned(), s(format!("USER#{}", message.user))),
        ("sk".to_owned(), s(format!("{:013}#{}", message.created_at.millis(), message.id))),
        ("v".to_owned(), n(ITEM_FORMAT)),
        ("template".to_owned(), s(message.template.as_str())),
        ("created_at".to_owned(), millis(message.created_at)),
        ("address".to_owned(), s(&message.address)),
        ("agent".to_owned(), s(&message.agent)),
        ("expires_at".to_owned(), n((message.created_at + KEPT).seconds())),
    ])
}

/// Reads what the courier needs. A template that a later release sends is no fault.
pub(crate) fn validate(item: &Item) -> StoreResult<()> {
    let reader = Reader::new("outbox", "message", item);
    reader.format()?;
    let user = reader.text("pk")?.strip_prefix("USER#").and_then(|id| id.parse::<UserId>().ok());
    user.ok_or_else(|| reader.corrupt("pk", "not a user"))?;
    for attribute in ["sk", "template", "address", "agent"] {
        reader.text(attribute)?;
    }
    reader.instant("created_at")?;
    reader.number::<u64>("expires_at").map(drop)
}
