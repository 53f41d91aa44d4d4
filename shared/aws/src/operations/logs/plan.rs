//! As much of the language of Logs Insights as the questions use, run over lines.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use sallyport_core::address::{ClientAddress, InvalidNetwork, Network};
use serde_json::Value;

use super::Row;

/// A query that was understood.
#[derive(Debug)]
pub(super) struct Plan(Vec<Step>);

#[derive(Debug)]
enum Step {
    /// Each with the name that it is shown by.
    Fields(Vec<(String, String)>),
    Filter(Expression),
    Stats {
        columns: Vec<(Aggregate, String)>,
        by: Vec<String>,
    },
    Sort {
        field: String,
        descending: bool,
    },
    Limit(usize),
}

#[derive(Debug)]
enum Expression {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Present(String),
    InNetwork(String, Network),
    Compare { field: String, operator: Operator, to: Value },
    OneOf(String, Vec<Value>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Differs,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug)]
enum Aggregate {
    Count,
    CountDistinct(String),
    Sum(String),
    Min(String),
    Max(String),
    Percentile(String, f64),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(f64),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 13] = ["!=", ">=", "<=", "(", ")", "[", "]", ",", "=", ">", "<", "*", "|"];

impl Plan {
    /// # Errors
    /// What is not understood.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let mut tokens = Tokens(tokens(&code.join("\n"))?.into_iter().peekable());
        let mut steps = Vec::new();
        while tokens.0.peek().is_some() {
            steps.push(tokens.step()?);
            if tokens.0.peek().is_some() {
                tokens.symbol("|")?;
            }
        }
        Ok(Self(steps))
    }

    /// What the query makes of lines, which come oldest first.
    pub(super) fn run(&self, lines: Vec<Value>) -> Vec<Row> {
        let mut rows: Vec<Line> = lines.into_iter().map(Line).collect();
        let mut shown: Option<&[(String, String)]> = None;
        let mut counted: Option<Vec<Row>> = None;
        for step in &self.0 {
            match step {
                Step::Fields(names) => shown = Some(names),
                Step::Filter(expression) => rows.retain(|line| expression.holds(line)),
                Step::Stats { columns, by } => counted = Some(stats(&rows, columns, by)),
                Step::Sort { field, descending } => {
                    let order = |left: Option<Value>, right: Option<Value>| {
                        let order = compare(left.as_ref(), right.as_ref());
                        if *descending { order.reverse() } else { order }
                    };
                    match &mut counted {
                        Some(counted) => {
                            counted.sort_by(|left, right| order(number(left, field), number(right, field)));
                        }
                        None => {
                            // Lines come oldest first: of the same moment the later is the newer.
                            if *descending {
                                rows.reverse();
                            }
                            rows.sort_by(|left, right| order(left.get(field), right.get(field)));
                        }
                    }
                }
                Step::Limit(most) => {
                    rows.truncate(if counted.is_some() { rows.len() } else { *most });
                    if let Some(counted) = &mut counted {
                        counted.truncate(*most);
                    }
                }
            }
        }
        counted.unwrap_or_else(|| {
            let names = shown.unwrap_or_default();
            let row = |line: &Line| {
                let value = |(field, name): &(String, String)| Some((name.clone(), text(&line.get(field)?)));
                names.iter().filter_map(value).collect()
            };
            rows.iter().map(row).collect()
        })
    }
}

/// A line as the query sees it.
struct Line(Value);

impl Line {
    fn get(&self, name: &str) -> Option<Value> {
        match name {
            // As CloudWatch shows it: a space in the middle, milliseconds, no zone; or, where it has compared, milliseconds.
            "@timestamp" => match self.0.pointer("/_aws/Timestamp") {
                Some(millis) => Some(millis.clone()),
                None => self.written(),
            },
            _ => self.field(name).filter(|value| !value.is_null()).cloned(),
        }
    }

    /// By the functions' lines, or by Lambda's and the gateway's, which have another name for it; the gateway's in milliseconds.
    fn written(&self) -> Option<Value> {
        let text = self.0.get("timestamp").or_else(|| self.0.get("time"))?.as_str()?;
        let shown = if text.contains('T') { text.get(..23)?.replace('T', " ") } else { text.to_owned() };
        Some(shown.into())
    }

    /// A member, or by dots a member of a member.
    fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| name.split('.').try_fold(&self.0, |within, name| within.get(name)))
    }
}

fn number(row: &Row, field: &str) -> Option<Value> {
    let text = row.get(field)?;
    Some(text.parse::<f64>().map_or_else(|_| text.as_str().into(), Value::from))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Numbers as numbers, also where one of them is written as a text, as in the gateway's lines; everything else as text. What is
/// absent comes first.
fn compare(left: Option<&Value>, right: Option<&Value>) -> Ordering {
    let is_number = |value: Option<&Value>| value.is_some_and(Value::is_number);
    let number =
        |value: Option<&Value>| value.and_then(|value| value.as_f64().or_else(|| text(value).parse().ok()));
    let numbers = number(left).zip(number(right)).filter(|_| is_number(left) || is_number(right));
    numbers.map_or_else(|| left.map(text).cmp(&right.map(text)), |(left, right)| left.total_cmp(&right))
}

impl Expression {
    fn holds(&self, line: &Line) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(line)),
            Self::All(parts) => parts.iter().all(|part| part.holds(line)),
            Self::Not(part) => !part.holds(line),
            Self::Present(field) => line.get(field).is_some(),
            Self::InNetwork(field, network) => {
                let address = line.get(field).and_then(|value| ClientAddress::parse(value.as_str()?));
                address.is_some_and(|address| network.contains(address))
            }
            Self::OneOf(field, values) => line.get(field).is_some_and(|value| values.contains(&value)),
            Self::Compare { field, operator, to } => {
                let found = line.get(field);
                let order = compare(found.as_ref(), Some(to));
                match operator {
                    Operator::Equal => order.is_eq(),
                    Operator::Differs => order.is_ne(),
                    _ if found.is_none() => false,
                    Operator::Greater => order.is_gt(),
                    Operator::GreaterOrEqual => order.is_ge(),
                    Operator::Less => order.is_lt(),
                    Operator::LessOrEqual => order.is_le(),
                }
            }
        }
    }
}

fn stats(lines: &[Line], columns: &[(Aggregate, String)], by: &[String]) -> Vec<Row> {
    let mut groups = BTreeMap::<Vec<Option<String>>, Vec<&Line>>::new();
    for line in lines {
        let key = by.iter().map(|name| line.get(name).map(|value| text(&value))).collect();
        groups.entry(key).or_default().push(line);
    }
    let row = |(key, lines): (Vec<Option<String>>, Vec<&Line>)| {
        let names = by.iter().cloned().zip(key).filter_map(|(name, value)| Some((name, value?)));
        let figures =
            columns.iter().filter_map(|(aggregate, name)| Some((name.clone(), aggregate.of(&lines)?)));
        names.chain(figures).collect()
    };
    groups.into_iter().map(row).collect()
}

impl Aggregate {
    fn of(&self, lines: &[&Line]) -> Option<String> {
        let values = |field: &str| -> Vec<_> { lines.iter().filter_map(|line| line.get(field)).collect() };
        let by_order = |left: &Value, right: &Value| compare(Some(left), Some(right));
        match self {
            Self::Count => Some(lines.len().to_string()),
            Self::CountDistinct(field) => {
                Some(values(field).iter().map(text).collect::<BTreeSet<_>>().len().to_string())
            }
            // Of no floats the sum is -0.
            Self::Sum(field) => {
                Some((0.0 + values(field).iter().filter_map(Value::as_f64).sum::<f64>()).to_string())
            }
            Self::Min(field) => values(field).into_iter().min_by(by_order).map(|value| text(&value)),
            Self::Max(field) => values(field).into_iter().max_by(by_order).map(|value| text(&value)),
            // The least of the values that so many of a hundred do not exceed.
            Self::Percentile(field, percent) => {
                let mut values: Vec<_> = values(field).iter().filter_map(Value::as_f64).collect();
                values.sort_by(f64::total_cmp);
                let count = f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
                let ranked = values.iter().zip((1_u32..).map(f64::from));
                let mut enough = ranked.skip_while(|(_, rank)| rank * 100.0 < percent * count);
                enough.next().map(|(value, _)| value.to_string())
            }
        }
    }
}

fn tokens(mut rest: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let is_word = |character: char| character.is_ascii_alphanumeric() || "_@.".contains(character);
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').ok_or("a text does not end")?;
            tokens.push(Token::Text(text.to_owned()));
            rest = after;
        } else if is_word(first) {
            let (word, after) =
                rest.split_at(rest.find(|character| !is_word(character)).unwrap_or(rest.len()));
            tokens.push(word.parse().map_or_else(|_| Token::Word(word.to_owned()), Token::Number));
            rest = after;
        } else {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
            let symbol = *symbol.ok_or_else(|| format!("{first} is not understood"))?;
            tokens.push(Token::Symbol(symbol));
            rest = rest.strip_prefix(symbol).unwrap_or_default();
        }
    }
}

struct Tokens(std::iter::Peekable<std::vec::IntoIter<Token>>);

impl Tokens {
    fn next(&mut self) -> Result<Token, String> {
        self.0.next().ok_or_else(|| "the query ends too early".to_owned())
    }

    fn word(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(format!("a name was expected, not {other:?}")),
        }
    }

    fn symbol(&mut self, symbol: &'static str) -> Result<(), String> {
        match self.next()? {
            Token::Symbol(found) if found == symbol => Ok(()),
            other => Err(format!("{symbol} was expected, not {other:?}")),
        }
    }

    /// Takes a token if it is the next.
    fn takes(&mut self, wanted: &Token) -> bool {
        self.0.next_if(|token| token == wanted).is_some()
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.takes(&Token::Word(word.to_owned()))
    }

    fn step(&mut self) -> Result<Step, String> {
        match self.word()?.as_str() {
            "fields" => Ok(Step::Fields(self.list(Self::field)?)),
            "filter" => Ok(Step::Filter(self.any()?)),
            "sort" => {
                let field = self.word()?;
                let descending = self.takes_word("desc");
                if !descending {
                    self.takes_word("asc");
                }
                Ok(Step::Sort { field, descending })
            }
            "limit" => match self.next()? {
                Token::Number(number) if number >= 0.0 => {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a count of lines"
                    )]
                    let most = number as usize;
                    Ok(Step::Limit(most))
                }
                other => Err(format!("a number was expected, not {other:?}")),
            },
            "stats" => {
                let columns = self.list(Self::column)?;
                let by = if self.takes_word("by") { self.list(Self::word)? } else { Vec::new() };
                Ok(Step::Stats { columns, by })
            }
            other => Err(format!("{other} is not understood")),
        }
    }

    fn list<T>(&mut self, one: fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let mut all = vec![one(self)?];
        while self.takes(&Token::Symbol(",")) {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn field(&mut self) -> Result<(String, String), String> {
        let field = self.word()?;
        let name = if self.takes_word("as") { self.word()? } else { field.clone() };
        Ok((field, name))
    }

    fn column(&mut self) -> Result<(Aggregate, String), String> {
        let function = self.word()?;
        self.symbol("(")?;
        let aggregate = match function.as_str() {
            "count" => {
                self.symbol("*")?;
                Aggregate::Count
            }
            "count_distinct" => Aggregate::CountDistinct(self.word()?),
            "sum" => Aggregate::Sum(self.word()?),
            "min" => Aggregate::Min(self.word()?),
            "max" => Aggregate::Max(self.word()?),
            "pct" => {
                let field = self.word()?;
                self.symbol(",")?;
                match self.next()? {
                    Token::Number(percent) if percent > 0.0 && percent <= 100.0 => {
                        Aggregate::Percentile(field, percent)
                    }
                    other => return Err(format!("a percentage was expected, not {other:?}")),
                }
            }
            other => return Err(format!("{other} is not understood")),
        };
        self.symbol(")")?;
        if !self.takes_word("as") {
            return Err(format!("{function} needs a name"));
        }
        Ok((aggregate, self.word()?))
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.takes_word("or") {
            parts.push(self.all()?);
        }
        Ok(Expression::Any(parts))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.takes_word("and") {
            parts.push(self.one()?);
        }
        Ok(Expression::All(parts))
    }

    fn one(&mut self) -> Result<Expression, String> {
        if self.takes(&Token::Symbol("(")) {
            let inner = self.any()?;
            self.symbol(")")?;
            return Ok(inner);
        }
        let field = self.word()?;
        if field == "not" {
            return Ok(Expression::Not(Box::new(self.one()?)));
        }
        if field == "ispresent" {
            self.symbol("(")?;
            let field = self.word()?;
            self.symbol(")")?;
            return Ok(Expression::Present(field));
        }
        if field == "isIpInSubnet" {
            self.symbol("(")?;
            let field = self.word()?;
            self.symbol(",")?;
            let network = match self.next()? {
                Token::Text(text) => {
                    text.parse().map_err(|error: InvalidNetwork| format!("{text}: {error}"))?
                }
                other => return Err(format!("a network was expected, not {other:?}")),
            };
            self.symbol(")")?;
            return Ok(Expression::InNetwork(field, network));
        }
        if self.takes_word("in") {
            self.symbol("[")?;
            let values = self.list(Self::value)?;
            self.symbol("]")?;
            return Ok(Expression::OneOf(field, values));
        }
        let operator = match self.next()? {
            Token::Symbol("=") => Operator::Equal,
            Token::Symbol("!=") => Operator::Differs,
            Token::Symbol(">") => Operator::Greater,
            Token::Symbol(">=") => Operator::GreaterOrEqual,
            Token::Symbol("<") => Operator::Less,
            Token::Symbol("<=") => Operator::LessOrEqual,
            other => return Err(format!("a comparison was expected, not {other:?}")),
        };
        Ok(Expression::Compare { field, operator, to: self.value()? })
    }

    fn value(&mut self) -> Result<Value, String> {
        match self.next()? {
            Token::Text(text) => Ok(text.into()),
            Token::Number(number) => Ok(number.into()),
            other => Err(format!("a value was expected, not {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn run(query: &str) -> Vec<Row> {
        let lines = vec![
            json!({"timestamp": "2026-07-31T14:00:00.123456Z", "message": "request", "status": 401, "code": "invalid_credentials", "address": "192.0.2.1"}),
            json!({"timestamp": "2026-07-31T14:00:01.000000Z", "message": "request", "status": 200, "address": "192.0.2.2"}),
            json!({"timestamp": "2026-07-31T14:00:02.000000Z", "message": "request failed", "status": 503, "code": "dependency_unavailable", "address": "192.0.2.1"}),
            json!({"_aws": {"Timestamp": 1_785_506_402_000_u64}, "status": 503, "code": "dependency_unavailable", "requests": 1, "errors": 1}),
            json!({"_aws": {"Timestamp": 1_785_506_401_000_u64}, "status": 200, "requests": 1, "errors": 0}),
        ];
        Plan::read(query).unwrap().run(lines)
    }

    fn shown(rows: &[Row]) -> Vec<String> {
        let row = |row: &Row| {
            row.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn lines_are_filtered_sorted_cut_and_shown() {
        let query = "# why\nfields @timestamp, status, code\n| filter (message = \"request\" or message = \"request failed\") and not ispresent(_aws)\n| sort @timestamp desc\n| limit 2";
        assert_eq!(
            shown(&run(query)),
            [
                "@timestamp=2026-07-31 14:00:02.000 code=dependency_unavailable status=503",
                "@timestamp=2026-07-31 14:00:01.000 status=200",
            ]
        );
        let query = "fields status | filter status >= 400 and status < 500 | filter code in [\"invalid_credentials\", \"x\"]";
        assert_eq!(shown(&run(query)), ["status=401"]);
        assert_eq!(run("fields status | filter code != \"invalid_credentials\"").len(), 4);
    }

    #[test]
    fn lines_of_a_network_are_found_by_its_prefix() {
        let found = |network: &str| {
            run(&format!("fields address | filter isIpInSubnet(address, \"{network}\")")).len()
        };
        assert_eq!((found("192.0.2.0/24"), found("192.0.2.1/32"), found("198.51.100.0/24")), (3, 2, 0));
        assert!(Plan::read("filter isIpInSubnet(address, \"192.0.2.1/24\")").is_err());
    }

    #[test]
    fn lines_are_counted_by_their_fields() {
        let query = "filter ispresent(address)\n| stats count(*) as answers, count_distinct(code) as codes, min(@timestamp) as first_seen, max(status) as worst by address\n| sort answers desc\n| limit 5";
        assert_eq!(
            shown(&run(query)),
            [
                "address=192.0.2.1 answers=2 codes=2 first_seen=2026-07-31 14:00:00.123 worst=503",
                "address=192.0.2.2 answers=1 codes=0 first_seen=2026-07-31 14:00:01.000 worst=200",
            ]
        );
    }

    #[test]
    fn wide_events_are_added_up() {
        let query = "filter ispresent(requests)\n| stats sum(requests) as answered, sum(errors) as failed, sum(lockouts) as locked, min(@timestamp) as first_seen";
        assert_eq!(shown(&run(query)), ["answered=2 failed=1 first_seen=1785506401000 locked=0"]);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let query = "filter ispresent(message)\n| stats pct(status, 33) as low, pct(status, 50) as half, pct(status, 95) as most, pct(requests, 95) as none";
        assert_eq!(shown(&run(query)), ["half=401 low=200 most=503"]);
        assert!(Plan::read("stats pct(status, 0) as none").is_err());
    }

    #[test]
    fn members_of_members_are_shown_by_the_names_that_the_query_gives_them() {
        let lines = vec![
            json!({"time": "2026-07-31T14:00:00.123Z", "type": "platform.report", "record": {"status": "timeout", "metrics": {"durationMs": 10_000.0}}}),
            json!({"time": "2026-07-31T14:00:01.123Z", "type": "platform.report", "record": {"status": "success"}}),
        ];
        let query = "fields @timestamp, record.metrics.durationMs as ms, record.errorType as error\n| filter record.status != \"success\"\n| sort @timestamp desc";
        let rows = Plan::read(query).unwrap().run(lines);
        assert_eq!(shown(&rows), ["@timestamp=2026-07-31 14:00:00.123 ms=10000.0"]);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (query, error) in [
            ("parse x", "parse is not understood"),
            ("filter a like /b/", "a comparison was expected"),
            ("fields a | filter b = \"c", "a text does not end"),
            ("stats count(*) by a", "count needs a name"),
            ("sort", "the query ends too early"),
        ] {
            let said = Plan::read(query).unwrap_err();
            assert!(said.starts_with(error) || said.contains("not understood"), "{query}: {said}");
        }
    }
}
