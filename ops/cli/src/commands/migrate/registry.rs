//! All migrations, in order. A new one is added at the end, and never changed once it has been released.

use std::pin::Pin;

use crate::{deployment::Deployment, failure::Failure};

/// How many items were written.
pub(super) type Written = usize;

pub(super) type Work<'a> = Pin<Box<dyn Future<Output = Result<Written, Failure>> + 'a>>;

/// One step between two formats of items.
///
/// `up` and `down` write item by item under conditions, and pass over what they find done: whoever takes over from one that
/// died half-way repeats it whole.
pub(super) struct Migration {
    /// Four digits; they sort as they apply.
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) up: for<'a> fn(&'a Deployment) -> Work<'a>,
    pub(super) down: for<'a> fn(&'a Deployment) -> Work<'a>,
}

pub(super) static ALL: &[Migration] =
    &[Migration { id: "0001", name: "baseline: items of format 1", up: nothing, down: nothing }];

/// The baseline is what the first release writes.
fn nothing(_: &Deployment) -> Work<'_> {
    Box::pin(async { Ok(0) })
}

pub(super) fn find(id: &str) -> Option<&'static Migration> {
    ALL.iter().find(|migration| migration.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_sort_as_they_apply() {
        let ids: Vec<_> = ALL.iter().map(|migration| migration.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        assert!(ids.iter().all(|id| id.len() == 4 && id.bytes().all(|byte| byte.is_ascii_digit())));
    }

    #[test]
    fn the_newest_migration_is_the_format_that_is_written() {
        assert_eq!(u32::try_from(ALL.len()), Ok(sallyport_aws::ITEM_FORMAT));
    }
}
