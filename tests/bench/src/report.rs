//! Results as Markdown, put between the markers of a document.

use std::{fs, path::Path};

use anyhow::Context as _;

/// A table that grows line by line.
#[derive(Debug, Default)]
pub(crate) struct Table(String);

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        let rule: String = head.iter().map(|_| "---|").collect();
        Self(format!("| {} |\n|{rule}\n", head.join(" | ")))
    }

    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        let cells: Vec<_> = cells.iter().map(AsRef::as_ref).collect();
        self.0.push_str(&format!("| {} |\n", cells.join(" | ")));
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Replaces what stands between `<!-- bench:name -->` and `<!-- /bench:name -->`.
pub(crate) fn replace(document: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let before = fs::read_to_string(document).with_context(|| document.display().to_string())?;
    let (begin, end) = (format!("<!-- bench:{name} -->"), format!("<!-- /bench:{name} -->"));
    let missing = || format!("{} has no {begin} … {end}", document.display());
    let (head, rest) = before.split_once(&begin).with_context(missing)?;
    let (_, tail) = rest.split_once(&end).with_context(missing)?;
    fs::write(document, format!("{head}{begin}\n{}\n{end}{tail}", text.trim()))?;
    Ok(())
}

/// Whether a bound holds, in words that stand out.
pub(crate) fn verdict(holds: bool) -> &'static str {
    if holds { "met" } else { "**missed**" }
}
