//! Tables and lists of facts, without lines, as wide as their content: they read in a terminal and in a pipe alike.

use std::fmt;

use comfy_table::{ContentArrangement, presets};
use sallyport_core::audit::steering;

/// Rows under a heading.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self::with(heading)
    }

    /// As [`Table::new`], for columns that are not known before.
    pub(crate) fn with<'a>(heading: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(heading.into_iter().map(str::to_uppercase));
        Self(table)
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.add(cells);
    }

    pub(crate) fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { plain(&cell) };
        self.0.add_row(cells.into_iter().map(shown));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = self.0.clone();
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        writeln!(f, "{}", table.trim_fmt())
    }
}

/// Names and values, aligned.
#[derive(Default)]
pub(crate) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.push((name, plain(&value.to_string())));
        self
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in &self.0 {
            writeln!(f, "{name:width$}  {value}")?;
        }
        Ok(())
    }
}

/// As much of a text as a line of a table has room for; all of it is in JSON.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

const LONGEST: usize = 120;

/// A text without what a terminal would obey: labels and device names are the callers' own words.
pub(crate) fn plain(text: &str) -> String {
    let characters = steering(text);
    text.chars()
        .zip(characters)
        .map(|(character, steers)| if steers { '\u{fffd}' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let mut table = Table::new(["id", "state"]);
        table.row(["a".to_owned(), "current".to_owned()]);
        table.row(["long-name".to_owned(), String::new()]);
        insta::assert_snapshot!(table.to_string(), @r"
        ID         STATE
        a          current
        long-name  -
        ");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(120)), "é".repeat(120));
        assert_eq!(cut(&"é".repeat(121)), format!("{}…", "é".repeat(120)));
    }

    #[test]
    fn facts_are_aligned() {
        insta::assert_snapshot!(Facts::default().with("user", "usr_1").with("password", "yes").to_string(), @r"
        user      usr_1
        password  yes
        ");
    }

    #[test]
    fn what_a_caller_called_its_device_steers_no_terminal() {
        assert_eq!(plain("\u{1b}[31mred\u{202e}\u{7}"), "\u{fffd}[31mred\u{fffd}\u{fffd}");
    }
}
