//! The part of the shell's language that pages use: simple commands, pipes, quotes, variables. Enough to say which
//! programs a block runs with which arguments, so that each can be held against what the program takes.

use std::collections::BTreeSet;

/// A program and its arguments.
pub type Line = Vec<String>;

/// What the pages' variables are read as when nobody set them: for checking, never for running.
pub const SAMPLES: [(&str, &str); 25] = [
    ("SALLYPORT_STACK", "sallyport-prod"),
    ("SALLYPORT_URL", "http://localhost:3000"),
    ("SALLYPORT_USERS_TABLE", "sallyport-prod-users"),
    ("SALLYPORT_THROTTLE_TABLE", "sallyport-prod-throttle"),
    ("SALLYPORT_KEYRING_SECRET", "sallyport-prod-keyring"),
    ("SALLYPORT_AUDIT_TABLE", "sallyport-prod-audit"),
    ("SALLYPORT_OPS_TABLE", "sallyport-prod-ops"),
    ("METRICS_TOKEN", "scrape-token"),
    ("COMPONENT", "throttle"),
    ("NOTE", "the pattern"),
    ("SUMMARY", "what it was"),
    ("TABLE", "sallyport-prod-users"),
    ("RESTORE_TIME", "2026-07-31T14:00:00Z"),
    ("ITEM", "USER#usr_UaChjB44kDvn7MlD_X6XTA"),
    ("GOOD_VERSION", "11111111-1111-1111-1111-111111111111"),
    ("BAD_VERSION", "22222222-2222-2222-2222-222222222222"),
    ("DEPLOYMENT", "d-ABCDEF123"),
    ("EVIDENCE_BUCKET", "evidence"),
    ("LOG_DAYS", "30"),
    ("KEY", "refresh:1"),
    ("EMAIL", "ada@example.com"),
    ("CODE", "123456"),
    ("ADDRESS", "203.0.113.7"),
    ("INCIDENT", "inc_01l5iiv3k0ab29fg"),
    ("REQUEST_ID", "9a6a3b0c-54c1-4a52-8f0e-2b4f4a5ad3c1"),
];

/// Words that begin more than a simple command.
const COMPOUND: [&str; 10] = ["if", "for", "while", "until", "case", "{", "(", "function", "!", "then"];

/// The simple commands of a block, in order, with its variables replaced by [`SAMPLES`] (or a letter).
///
/// # Errors
/// The block uses more of the shell than pages may, or does not end what it begins.
pub fn commands(block: &str) -> Result<Vec<Line>, String> {
    let mut reader = Reader { text: block.chars().collect(), at: 0, found: Vec::new(), line: Vec::new() };
    reader.read()?;
    Ok(reader.found)
}

/// The variables that a block reads.
pub fn variables(block: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = block;
    while let Some((_, after)) = rest.split_once('$') {
        let after = after.strip_prefix('{').unwrap_or(after);
        let name: String =
            after.chars().take_while(|next| next.is_ascii_uppercase() || *next == '_').collect();
        if !name.is_empty() {
            found.insert(name);
        }
        rest = after;
    }
    found
}

/// The block, cut where one command line ends and the next begins: line ends within quotes, substitutions and continued lines
/// are none.
pub fn statements(block: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut statement, mut quote, mut depth) = (String::new(), None, 0_usize);
    let mut characters = block.chars().peekable();
    while let Some(next) = characters.next() {
        match (quote, next) {
            (None | Some('"'), '\\') => {
                statement.push(next);
                statement.extend(characters.next());
                continue;
            }
            (None, '\'' | '"') => quote = Some(next),
            (Some(open), close) if open == close => quote = None,
            (None, '(') => depth = depth.saturating_add(1),
            (None, ')') => depth = depth.saturating_sub(1),
            // A comment ends with its line; quotes in it open nothing.
            (None, '#') if statement.chars().next_back().is_none_or(char::is_whitespace) => {
                while characters.next_if(|next| *next != '\n').is_some() {}
                continue;
            }
            (None, '\n') if depth == 0 => {
                found.push(std::mem::take(&mut statement));
                continue;
            }
            _ => {}
        }
        statement.push(next);
    }
    found.push(statement);
    found.retain(|statement| !statement.trim().is_empty());
    // A line that ends with a pipe goes on with the next.
    let mut whole: Vec<String> = Vec::new();
    for statement in found {
        match whole.last_mut() {
            Some(before) if before.trim_end().ends_with(['|', '&']) => {
                before.push('\n');
                before.push_str(&statement);
            }
            _ => whole.push(statement),
        }
    }
    whole
}

struct Reader {
    text: Vec<char>,
    at: usize,
    found: Vec<Line>,
    line: Line,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek(0);
        self.at += 1;
        next
    }

    fn end_command(&mut self) -> Result<(), String> {
        // `NAME=value` before the program is for its environment.
        let assignment = |word: &String| {
            word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            })
        };
        let line: Line = std::mem::take(&mut self.line).into_iter().skip_while(assignment).collect();
        match line.first() {
            None => Ok(()),
            Some(first) if COMPOUND.contains(&first.as_str()) => {
                Err(format!("`{first}`: a page keeps to simple commands and pipes"))
            }
            Some(_) => {
                self.found.push(line);
                Ok(())
            }
        }
    }

    fn read(&mut self) -> Result<(), String> {
        while let Some(next) = self.peek(0) {
            match next {
                '\n' | ';' | '|' | '&' => {
                    self.at += 1;
                    self.end_command()?;
                }
                ' ' | '\t' => self.at += 1,
                '\\' if self.peek(1) == Some('\n') => self.at += 2,
                '#' => {
                    while self.peek(0).is_some_and(|next| next != '\n') {
                        self.at += 1;
                    }
                }
                '>' | '<' => {
                    if self.peek(1) == Some('<') {
                        return Err("a here-document: put it into a file".to_owned());
                    }
                    self.at += 1;
                    if matches!(self.peek(0), Some('>' | '&')) {
                        self.at += 1;
                    }
                    self.skip_spaces();
                    self.word()?;
                }
                '2' if self.peek(1) == Some('>') => self.at += 1,
                _ => {
                    let word = self.word()?;
                    self.line.push(word);
                }
            }
        }
        self.end_command()
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(0), Some(' ' | '\t')) {
            self.at += 1;
        }
    }

    fn word(&mut self) -> Result<String, String> {
        let mut word = String::new();
        while let Some(next) = self.peek(0) {
            match next {
                ' ' | '\t' | '\n' | ';' | '|' | '&' | '>' | '<' => break,
                '(' | ')' | '`' => return Err(format!("`{next}`: write $(…), and no subshells")),
                '\'' => {
                    self.at += 1;
                    loop {
                        match self.next().ok_or("a quote has no end")? {
                            '\'' => break,
                            other => word.push(other),
                        }
                    }
                }
                '"' => {
                    self.at += 1;
                    loop {
                        match self.peek(0).ok_or("a quote has no end")? {
                            '"' => break,
                            '$' => word.push_str(&self.expansion()?),
                            '\\' => {
                                self.at += 1;
                                word.extend(self.next());
                            }
                            other => {
                                word.push(other);
                                self.at += 1;
                            }
                        }
                    }
                    self.at += 1;
                }
                '$' => word.push_str(&self.expansion()?),
                '\\' if self.peek(1) == Some('\n') => break,
                '\\' => {
                    self.at += 1;
                    word.extend(self.next());
                }
                other => {
                    word.push(other);
                    self.at += 1;
                }
            }
        }
        Ok(word)
    }

    /// What stands for `$NAME`, `${NAME}`, `${NAME:-default}` and `$(command)`.
    fn expansion(&mut self) -> Result<String, String> {
        self.at += 1;
        match self.peek(0) {
            Some('(') => {
                self.at += 1;
                let mut inner = String::new();
                let (mut quote, mut depth) = (None, 0_usize);
                loop {
                    let next = self.next().ok_or("$( has no end")?;
                    match (quote, next) {
                        (None, ')') if depth == 0 => break,
                        (None, '(') => depth = depth.saturating_add(1),
                        (None, ')') => depth = depth.saturating_sub(1),
                        (None, '\'' | '"') => quote = Some(next),
                        (Some(open), close) if open == close => quote = None,
                        _ => {}
                    }
                    inner.push(next);
                }
                self.found.extend(commands(&inner)?);
                Ok("x".to_owned())
            }
            Some('{') => {
                self.at += 1;
                let name = self.name();
                let mut rest = String::new();
                loop {
                    match self.next().ok_or("${ has no end")? {
                        '}' => break,
                        other => rest.push(other),
                    }
                }
                Ok(rest.strip_prefix(":-").map_or_else(|| sample(&name), str::to_owned))
            }
            _ => {
                let name = self.name();
                if name.is_empty() { Err("a $ that names nothing".to_owned()) } else { Ok(sample(&name)) }
            }
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(next) = self.peek(0).filter(|next| next.is_ascii_alphanumeric() || *next == '_') {
            name.push(next);
            self.at += 1;
        }
        name
    }
}

fn sample(name: &str) -> String {
    let sample = SAMPLES.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| *value);
    sample.unwrap_or("x").to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(block: &str) -> Vec<String> {
        commands(block).unwrap().into_iter().map(|line| line.join("·")).collect()
    }

    #[test]
    fn commands_are_found_in_lines_pipes_and_lists() {
        let block = "# look\nsallyport user show \"$EMAIL\" \\\n  --events 5\ncurl -s 'a b' | grep -E \"x|y\" && true; false";
        assert_eq!(
            read(block),
            ["sallyport·user·show·ada@example.com·--events·5", "curl·-s·a b", "grep·-E·x|y", "true", "false"]
        );
    }

    #[test]
    fn redirections_assignments_and_substitutions_are_no_arguments() {
        assert_eq!(read("A=1 date +%s >out 2>&1"), ["date·+%s"]);
        assert_eq!(
            read("sallyport logs errors --since \"$(date -u +%F)\""),
            ["date·-u·+%F", "sallyport·logs·errors·--since·x"]
        );
        assert_eq!(read("aws x --y ${REGION:-eu-central-1}"), ["aws·x·--y·eu-central-1"]);
    }

    #[test]
    fn what_is_more_than_a_simple_command_is_refused() {
        for block in ["if true; then false; fi", "(cd /)", "cat <<E\nE", "echo 'x", "echo `date`"] {
            assert!(commands(block).is_err(), "{block}");
        }
    }

    #[test]
    fn variables_are_told_by_name() {
        let found: Vec<_> =
            variables("a \"$EMAIL\" ${ADDRESS} $(date) ${SALLYPORT_URL:-x}").into_iter().collect();
        assert_eq!(found, ["ADDRESS", "EMAIL", "SALLYPORT_URL"]);
    }
}
