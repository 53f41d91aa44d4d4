//! Outbox table: messages that wait for the courier.

use std::{collections::HashMap, time::Duration};

use sallyport_core::messages::Message;

use crate::{
    ITEM_FORMAT,
    item::{Item, millis, n, s},
};

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
