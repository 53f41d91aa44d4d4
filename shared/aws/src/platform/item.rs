//! Items: attributes in and out, with errors that say where.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use sallyport_core::{clock::Timestamp, store::StoreError};

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The format of every item that this release writes, in attribute `v`.
pub const ITEM_FORMAT: u32 = 1;

#[expect(clippy::needless_pass_by_value, reason = "callers hand over ids and literals alike")]
pub(crate) fn s(text: impl ToString) -> AttributeValue {
    AttributeValue::S(text.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "numbers are copied, not kept")]
pub(crate) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn b(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(crate) fn millis(at: Timestamp) -> AttributeValue {
    n(at.millis())
}

/// Reads an item, or a map within one.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    table: &'static str,
    key: &'a str,
    item: &'a Item,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(table: &'static str, key: &'a str, item: &'a Item) -> Self {
        Self { table, key, item }
    }

    pub(crate) fn corrupt(&self, attribute: &str, problem: &str) -> StoreError {
        StoreError::Corrupt {
            table: self.table,
            key: self.key.to_owned(),
            problem: format!("attribute {attribute}: {problem}"),
        }
    }

    /// Refuses an item of a format that this release does not know.
    pub(crate) fn format(&self) -> Result<(), StoreError> {
        match self.number::<u32>("v")? {
            crate::platform::item::ITEM_FORMAT => Ok(()),
            other => Err(self.corrupt("v", &format!("format {other} is not known to this release"))),
        }
    }

    fn required(&self, attribute: &str) -> Result<&'a AttributeValue, StoreError> {
        self.item.get(attribute).ok_or_else(|| self.corrupt(attribute, "missing"))
    }

    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.item.contains_key(attribute)
    }

    pub(crate) fn text(&self, attribute: &str) -> Result<&'a str, StoreError> {
        self.required(attribute)?
            .as_s()
            .map(String::as_str)
            .map_err(|_| self.corrupt(attribute, "not a string"))
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, attribute: &str) -> Result<T, StoreError> {
        self.text(attribute)?.parse().map_err(|_| self.corrupt(attribute, "does not read"))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, attribute: &str) -> Result<T, StoreError> {
        self.required(attribute)?
            .as_n()
            .map_err(|_| self.corrupt(attribute, "not a number"))?
            .parse()
            .map_err(|_| self.corrupt(attribute, "out of range"))
    }

    pub(crate) fn optional_number<T: std::str::FromStr>(
        &self,
        attribute: &str,
    ) -> Result<Option<T>, StoreError> {
        if self.has(attribute) { self.number(attribute).map(Some) } else { Ok(None) }
    }

    pub(crate) fn instant(&self, attribute: &str) -> Result<Timestamp, StoreError> {
        self.number(attribute).map(Timestamp::from_millis)
    }

    pub(crate) fn flag(&self, attribute: &str) -> Result<bool, StoreError> {
        self.required(attribute)?.as_bool().copied().map_err(|_| self.corrupt(attribute, "not a boolean"))
    }

    pub(crate) fn bytes(&self, attribute: &str) -> Result<&'a [u8], StoreError> {
        self.required(attribute)?.as_b().map(AsRef::as_ref).map_err(|_| self.corrupt(attribute, "not binary"))
    }

    pub(crate) fn id(&self, attribute: &str) -> Result<[u8; 16], StoreError> {
        self.bytes(attribute)?.try_into().map_err(|_| self.corrupt(attribute, "not 16 bytes"))
    }

    pub(crate) fn texts(&self, attribute: &str) -> Result<&'a [String], StoreError> {
        self.required(attribute)?
            .as_ss()
            .map(Vec::as_slice)
            .map_err(|_| self.corrupt(attribute, "not a set of strings"))
    }

    /// A list of strings, in its order.
    pub(crate) fn list(&self, attribute: &str) -> Result<Vec<String>, StoreError> {
        let corrupt = || self.corrupt(attribute, "not a list of strings");
        let values = self.required(attribute)?.as_l().map_err(|_| corrupt())?;
        values.iter().map(|value| value.as_s().cloned().map_err(|_| corrupt())).collect()
    }

    /// A map within the item, as a reader of its own.
    pub(crate) fn map(&self, attribute: &str) -> Result<Reader<'a>, StoreError> {
        let item = self.required(attribute)?.as_m().map_err(|_| self.corrupt(attribute, "not a map"))?;
        Ok(Reader { item, ..*self })
    }

    /// The attributes whose names start with `prefix`, without it.
    pub(crate) fn named(&self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.item.keys().filter_map(move |name| name.strip_prefix(prefix).map(|rest| (name.as_str(), rest)))
    }
}
