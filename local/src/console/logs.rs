//! The last lines that were written, by log group.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use serde_json::{Value, value::RawValue};

/// Hours of few, or ten minutes of an attack, whose every guess leaves three: what alarms look back on must be there.
const CAPACITY: usize = 40_000;

/// A line with its number.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    /// Counts up from 1, never reused.
    pub(crate) sequence: u64,
    /// The log group that it would be in, where a function wrote it or the gateway did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<&'static str>,
    /// The line itself when it is JSON, a string otherwise.
    pub(crate) line: Value,
}

/// The ring of lines.
#[derive(Debug, Default)]
pub(crate) struct Logs(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    lines: VecDeque<(Option<&'static str>, String)>,
}

impl Logs {
    pub(crate) fn push(&self, group: Option<&'static str>, line: &str) {
        let mut ring = self.locked();
        if ring.lines.len() == CAPACITY {
            ring.lines.pop_front();
        }
        ring.lines.push_back((group, line.trim_end().to_owned()));
        ring.last += 1;
    }

    /// The lines after the given number, oldest first; 0 for all that are remembered.
    pub(crate) fn since(&self, sequence: u64) -> Vec<Line> {
        let ring = self.locked();
        let forgotten = ring.last - u64::try_from(ring.lines.len()).unwrap_or_default();
        (forgotten + 1..)
            .zip(&ring.lines)
            .filter(|(number, _)| *number > sequence)
            .map(|(sequence, (group, line))| Line { sequence, group: *group, line: parse(line) })
            .collect()
    }

    /// All that are remembered, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.locked().lines.iter().map(|(_, line)| line.clone()).collect()
    }

    pub(crate) fn clear(&self) {
        self.locked().lines.clear();
    }

    fn locked(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(line: &str) -> Value {
    // A number or a bare word that happens to be JSON stays the text that it was written as.
    match serde_json::from_str::<&RawValue>(line) {
        Ok(raw) if raw.get().starts_with('{') => serde_json::from_str(line).unwrap_or_else(|_| line.into()),
        _ => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_numbered_and_the_oldest_give_way() {
        let logs = Logs::default();
        logs.push(Some("login"), "{\"a\":1}\n");
        logs.push(None, "plain");
        let lines: Vec<_> = logs.since(0).into_iter().map(|l| (l.sequence, l.group, l.line)).collect();
        assert_eq!(lines, [(1, Some("login"), json!({"a": 1})), (2, None, json!("plain"))]);
        for _ in 0..CAPACITY {
            logs.push(None, "x");
        }
        assert_eq!(logs.since(0).first().unwrap().sequence, 3);
        assert_eq!(logs.since(CAPACITY as u64 + 1).len(), 1);
        logs.clear();
        logs.push(None, "y");
        assert_eq!(logs.since(0).first().unwrap().sequence, CAPACITY as u64 + 3);
    }
}
