//! The rule of a composite alarm: `ALARM(name)`, `OK(name)`, `INSUFFICIENT_DATA(name)`, AND, OR, NOT, TRUE, FALSE.

use std::collections::BTreeSet;

use winnow::{
    ModalResult, Parser,
    ascii::multispace0,
    combinator::{alt, cut_err, delimited, preceded, separated},
    token::{literal, take_while},
};

use crate::alarm::State;

/// A rule that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule {rule:?} is not understood: {reason}")]
pub struct RuleError {
    rule: String,
    reason: String,
}

/// A parsed rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(Node);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Constant(bool),
    Is(State, String),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Rule {
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        delimited(multispace0, any, multispace0).parse(text).map(Self).map_err(|error| RuleError {
            rule: text.to_owned(),
            reason: error.to_string().replace('\n', " "),
        })
    }

    /// The alarms that it asks about.
    pub fn alarms(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.0.collect(&mut names);
        names
    }

    /// Whether it holds where `state` gives that of each alarm.
    pub fn holds(&self, state: &dyn Fn(&str) -> State) -> bool {
        self.0.holds(state)
    }
}

impl Node {
    fn collect<'a>(&'a self, names: &mut BTreeSet<&'a str>) {
        match self {
            Self::Constant(_) => {}
            Self::Is(_, name) => {
                names.insert(name);
            }
            Self::Not(inner) => inner.collect(names),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(names)),
        }
    }

    fn holds(&self, state: &dyn Fn(&str) -> State) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Is(wanted, name) => state(name) == *wanted,
            Self::Not(inner) => !inner.holds(state),
            Self::All(parts) => parts.iter().all(|part| part.holds(state)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(state)),
        }
    }
}

fn any(input: &mut &str) -> ModalResult<Node> {
    let operator = (multispace0, literal("OR"), multispace0);
    separated(1.., all, operator).map(|parts| joined(parts, Node::Any)).parse_next(input)
}

fn all(input: &mut &str) -> ModalResult<Node> {
    let operator = (multispace0, literal("AND"), multispace0);
    separated(1.., term, operator).map(|parts| joined(parts, Node::All)).parse_next(input)
}

fn joined(mut parts: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    if parts.len() == 1 { parts.remove(0) } else { join(parts) }
}

fn term(input: &mut &str) -> ModalResult<Node> {
    let open = || (multispace0, literal("("), multispace0);
    let close = || (multispace0, literal(")"));
    let of = |word: &'static str, state: State| {
        preceded(literal(word), cut_err(delimited(open(), name, close())))
            .map(move |name| Node::Is(state, name))
    };
    alt((
        preceded((literal("NOT"), multispace0), cut_err(term)).map(|inner| Node::Not(Box::new(inner))),
        of("ALARM", State::Alarm),
        of("OK", State::Ok),
        of("INSUFFICIENT_DATA", State::InsufficientData),
        literal("TRUE").value(Node::Constant(true)),
        literal("FALSE").value(Node::Constant(false)),
        delimited(open(), any, cut_err(close())),
    ))
    .parse_next(input)
}

/// In quotes, or a bare word.
fn name(input: &mut &str) -> ModalResult<String> {
    let bare = |character: char| !character.is_whitespace() && !"()\"".contains(character);
    alt((
        delimited(literal("\""), take_while(1.., |character| character != '"'), literal("\"")),
        take_while(1.., bare),
    ))
    .map(str::to_owned)
    .parse_next(input)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn holds(rule: &str, firing: &[&str]) -> bool {
        Rule::parse(rule)
            .unwrap()
            .holds(&|name| if firing.contains(&name) { State::Alarm } else { State::Ok })
    }

    #[test]
    fn and_binds_tighter_than_or_and_not_tighter_than_both() {
        let rule = r#"ALARM("a") OR ALARM(b) AND NOT ALARM(c)"#;
        assert!(holds(rule, &["a", "c"]) && holds(rule, &["b"]));
        assert!(!holds(rule, &["b", "c"]) && !holds(rule, &[]));
        assert!(!holds(r"(ALARM(a) OR ALARM(b)) AND NOT ALARM(c)", &["a", "c"]));
        assert!(holds("NOT (ALARM(a) AND OK(b))", &["a", "b"]));
        assert!(holds("TRUE AND NOT FALSE", &[]));
        assert!(!holds("INSUFFICIENT_DATA(a)", &["a"]));
    }

    #[test]
    fn the_alarms_are_those_it_asks_about() {
        let rule = Rule::parse(r#"ALARM("shop-a") OR ( OK(b) AND ALARM("shop-a") )"#).unwrap();
        assert_eq!(rule.alarms().into_iter().collect::<Vec<_>>(), ["b", "shop-a"]);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for refused in
            ["", "ALARM()", "ALARM(a) XOR ALARM(b)", "ALARM(a", "alarm(a)", "NOT", "AT_LEAST(1, ALARM, (a))"]
        {
            assert!(Rule::parse(refused).is_err(), "{refused}");
        }
    }
}
