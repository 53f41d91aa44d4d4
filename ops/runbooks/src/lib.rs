//! The runbooks: `ops/runbooks/*.md`, one page per alarm and per procedure, embedded in whatever links this.
//!
//! A page is Markdown for people. Its front matter says what it is for; its second-level headings are the sections; every
//! fenced block of the language `sh` is a step that a machine can run:
//!
//! ````text
//! ```sh expect=0,5
//! sallyport config validate
//! ```
//! ````
//!
//! | attribute | meaning |
//! |---|---|
//! | `name=TEXT` | the step's name, for `--json` and transcripts |
//! | `expect=N` or `expect=N,M` | exit codes that are no failure; without it only 0 is |
//! | `cloud` | works on AWS only: nothing on a developer's machine answers it |

mod front;
mod page;
pub mod shell;

pub use crate::{
    front::{Front, Kind, Severity},
    page::{Malformed, Page, SECTIONS, Section, Step},
};

const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Names of the pages, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(name, _)| *name)
}

/// A page by its name, which is that of its file without `.md`. `None` when there is no such page.
///
/// # Errors
/// The page does not read; the tests of this crate see to it that all do.
pub fn page(name: &str) -> Result<Option<Page>, Malformed> {
    PAGES
        .iter()
        .find(|(candidate, _)| *candidate == name)
        .map(|(name, text)| Page::parse(name, text))
        .transpose()
}

/// All pages.
///
/// # Errors
/// The first page that does not read.
pub fn pages() -> Result<Vec<Page>, Malformed> {
    PAGES.iter().map(|(name, text)| Page::parse(name, text)).collect()
}

#[cfg(test)]
mod tests;
