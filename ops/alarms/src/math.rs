//! Metric math, as far as the template uses it: arithmetic, comparisons, AND, OR, IF, MAX, MIN, SUM and AVG of arrays, and
//! FILL with REPEAT.
//!
//! An expression is evaluated for one period at a time. A value that is missing makes the result missing, except in an
//! array, whose functions take what is there: that is what `SUM([a, b])` is for where `a + b` has gaps. `FILL(a, REPEAT)` is the
//! last value that there was, and nothing before the first. FILL with a number, SEARCH and RATE are not known, for they have no
//! place in an alarm: a value that arrives late would meet its own stand-in.

use std::collections::BTreeSet;

use winnow::{
    ModalResult, Parser,
    ascii::{digit1, multispace0},
    combinator::{alt, cut_err, delimited, not, opt, preceded, repeat, separated},
    error::{StrContext, StrContextValue},
    token::{literal, one_of, take_while},
};

use crate::statistic::as_number;

/// An expression that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the expression {expression:?} is not understood: {reason}")]
pub struct MathError {
    expression: String,
    reason: String,
}

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Id(String),
    Negated(Box<Self>),
    Binary(Box<Self>, Operator, Box<Self>),
    If(Box<[Self; 3]>),
    Reduced(Reduction, Vec<Self>),
    /// `FILL(id, REPEAT)`.
    Repeated(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    AtMost,
    Less,
    AtLeast,
    Greater,
    Plus,
    Minus,
    Times,
    Over,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Max,
    Min,
    Sum,
    Average,
}

impl Expression {
    /// # Errors
    /// When it uses what is not known here, and when it is none.
    pub fn parse(text: &str) -> Result<Self, MathError> {
        delimited(multispace0, disjunction, multispace0).parse(text).map(Self).map_err(|error| MathError {
            expression: text.to_owned(),
            reason: error.to_string().replace('\n', " "),
        })
    }

    /// The ids of metrics and other expressions that it refers to.
    pub fn ids(&self) -> BTreeSet<&str> {
        let mut ids = BTreeSet::new();
        self.0.collect(&mut ids);
        ids
    }

    /// Whether a period without a value that comes after one with a value means something to it.
    pub fn notices_silence(&self) -> bool {
        self.0.repeats()
    }

    /// The value in the newest of `periods`, where `value` gives that of each id so many periods before, or none where there is
    /// no data.
    pub fn evaluate(&self, periods: usize, value: &dyn Fn(&str, usize) -> Option<f64>) -> Option<f64> {
        self.0.evaluate(periods, value)
    }
}

impl Node {
    fn repeats(&self) -> bool {
        match self {
            Self::Number(_) | Self::Id(_) => false,
            Self::Repeated(_) => true,
            Self::Negated(inner) => inner.repeats(),
            Self::Binary(left, _, right) => left.repeats() || right.repeats(),
            Self::If(parts) => parts.iter().any(Self::repeats),
            Self::Reduced(_, parts) => parts.iter().any(Self::repeats),
        }
    }

    fn collect<'a>(&'a self, ids: &mut BTreeSet<&'a str>) {
        match self {
            Self::Number(_) => {}
            Self::Id(id) | Self::Repeated(id) => {
                ids.insert(id);
            }
            Self::Negated(inner) => inner.collect(ids),
            Self::Binary(left, _, right) => {
                left.collect(ids);
                right.collect(ids);
            }
            Self::If(parts) => parts.iter().for_each(|part| part.collect(ids)),
            Self::Reduced(_, parts) => parts.iter().for_each(|part| part.collect(ids)),
        }
    }

    fn evaluate(&self, periods: usize, value: &dyn Fn(&str, usize) -> Option<f64>) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Id(id) => value(id, 0),
            Self::Repeated(id) => (0..periods).find_map(|back| value(id, back)),
            Self::Negated(inner) => inner.evaluate(periods, value).map(|inner| -inner),
            Self::Binary(left, operator, right) => {
                operator.apply(left.evaluate(periods, value)?, right.evaluate(periods, value)?)
            }
            Self::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                if is_true(condition.evaluate(periods, value)?) {
                    then.evaluate(periods, value)
                } else {
                    otherwise.evaluate(periods, value)
                }
            }
            Self::Reduced(reduction, parts) => {
                let there: Vec<f64> = parts.iter().filter_map(|part| part.evaluate(periods, value)).collect();
                reduction.apply(&there)
            }
        }
    }
}

impl Operator {
    fn apply(self, left: f64, right: f64) -> Option<f64> {
        let truth = |holds: bool| Some(f64::from(u8::from(holds)));
        match self {
            Self::Or => truth(is_true(left) || is_true(right)),
            Self::And => truth(is_true(left) && is_true(right)),
            Self::Equal => truth(left.total_cmp(&right).is_eq()),
            Self::Unequal => truth(left.total_cmp(&right).is_ne()),
            Self::AtMost => truth(left <= right),
            Self::Less => truth(left < right),
            Self::AtLeast => truth(left >= right),
            Self::Greater => truth(left > right),
            Self::Plus => Some(left + right),
            Self::Minus => Some(left - right),
            Self::Times => Some(left * right),
            Self::Over => Some(left / right),
            Self::Power => Some(left.powf(right)),
        }
        // What is divided by nothing has no value.
        .filter(|result| result.is_finite())
    }
}

impl Reduction {
    fn apply(self, values: &[f64]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        Some(match self {
            Self::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Sum => values.iter().sum(),
            Self::Average => values.iter().sum::<f64>() / as_number(values.len()),
        })
    }
}

fn is_true(value: f64) -> bool {
    value != 0.0
}

// The grammar, loosest binding first.

fn spaced<'i, O>(
    inner: impl Parser<&'i str, O, winnow::error::ErrMode<winnow::error::ContextError>>,
) -> impl Parser<&'i str, O, winnow::error::ErrMode<winnow::error::ContextError>> {
    delimited(multispace0, inner, multispace0)
}

fn word<'i>(
    text: &'static str,
) -> impl Parser<&'i str, &'i str, winnow::error::ErrMode<winnow::error::ContextError>> {
    (literal(text), not(one_of(is_id_character))).take()
}

fn is_id_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn left_associative<'i>(
    input: &mut &'i str,
    operand: fn(&mut &'i str) -> ModalResult<Node>,
    operator: fn(&mut &'i str) -> ModalResult<Operator>,
) -> ModalResult<Node> {
    let first = operand(input)?;
    let rest: Vec<(Operator, Node)> = repeat(0.., (spaced(operator), cut_err(operand))).parse_next(input)?;
    Ok(rest
        .into_iter()
        .fold(first, |left, (operator, right)| Node::Binary(Box::new(left), operator, Box::new(right))))
}

fn disjunction(input: &mut &str) -> ModalResult<Node> {
    left_associative(input, conjunction, |input| {
        alt((literal("||"), word("OR"))).value(Operator::Or).parse_next(input)
    })
}

fn conjunction(input: &mut &str) -> ModalResult<Node> {
    left_associative(input, comparison, |input| {
        alt((literal("&&"), word("AND"))).value(Operator::And).parse_next(input)
    })
}

fn comparison(input: &mut &str) -> ModalResult<Node> {
    left_associative(input, sum, |input| {
        alt((
            literal("==").value(Operator::Equal),
            literal("!=").value(Operator::Unequal),
            literal("<=").value(Operator::AtMost),
            literal(">=").value(Operator::AtLeast),
            literal("<").value(Operator::Less),
            literal(">").value(Operator::Greater),
        ))
        .parse_next(input)
    })
}

fn sum(input: &mut &str) -> ModalResult<Node> {
    left_associative(input, product, |input| {
        alt((literal("+").value(Operator::Plus), literal("-").value(Operator::Minus))).parse_next(input)
    })
}

fn product(input: &mut &str) -> ModalResult<Node> {
    left_associative(input, power, |input| {
        alt((literal("*").value(Operator::Times), literal("/").value(Operator::Over))).parse_next(input)
    })
}

fn power(input: &mut &str) -> ModalResult<Node> {
    left_associative(input, unary, |input| literal("^").value(Operator::Power).parse_next(input))
}

fn unary(input: &mut &str) -> ModalResult<Node> {
    alt((preceded((literal("-"), multispace0), atom).map(|inner| Node::Negated(Box::new(inner))), atom))
        .parse_next(input)
}

fn atom(input: &mut &str) -> ModalResult<Node> {
    alt((
        number,
        delimited((literal("("), multispace0), disjunction, (multispace0, cut_err(literal(")")))),
        preceded(word("IF"), cut_err(conditional)),
        preceded(word("MAX"), cut_err(array)).map(|parts| Node::Reduced(Reduction::Max, parts)),
        preceded(word("MIN"), cut_err(array)).map(|parts| Node::Reduced(Reduction::Min, parts)),
        preceded(word("SUM"), cut_err(array)).map(|parts| Node::Reduced(Reduction::Sum, parts)),
        preceded(word("AVG"), cut_err(array)).map(|parts| Node::Reduced(Reduction::Average, parts)),
        preceded(word("FILL"), cut_err(repeated)),
        id,
    ))
    .context(StrContext::Expected(StrContextValue::Description(
        "a number, an id or a function that is known here",
    )))
    .parse_next(input)
}

fn number(input: &mut &str) -> ModalResult<Node> {
    (digit1, opt((literal("."), digit1)))
        .take()
        .try_map(|text: &str| text.parse().map(Node::Number))
        .parse_next(input)
}

/// Ids begin with a lower-case letter, so none is mistaken for a function.
fn id(input: &mut &str) -> ModalResult<Node> {
    name.map(|id: &str| Node::Id(id.to_owned())).parse_next(input)
}

fn name<'i>(input: &mut &'i str) -> ModalResult<&'i str> {
    (one_of('a'..='z'), take_while(0.., is_id_character)).take().parse_next(input)
}

/// `(a, REPEAT)`
fn repeated(input: &mut &str) -> ModalResult<Node> {
    delimited(spaced(literal("(")), (name, spaced(literal(",")), word("REPEAT")), (multispace0, literal(")")))
        .map(|(id, _, _)| Node::Repeated(id.to_owned()))
        .context(StrContext::Expected(StrContextValue::Description("an id and REPEAT: (a, REPEAT)")))
        .parse_next(input)
}

fn conditional(input: &mut &str) -> ModalResult<Node> {
    let comma = |input: &mut &str| spaced(literal(",")).void().parse_next(input);
    let (condition, _, then, _, otherwise) = delimited(
        spaced(literal("(")),
        (disjunction, comma, disjunction, comma, disjunction),
        (multispace0, literal(")")),
    )
    .parse_next(input)?;
    Ok(Node::If(Box::new([condition, then, otherwise])))
}

/// `([a, b])`: of a series alone these functions look at all its time, which no alarm here does.
fn array(input: &mut &str) -> ModalResult<Vec<Node>> {
    delimited(
        (spaced(literal("(")), spaced(literal("["))),
        separated(1.., disjunction, spaced(literal(","))),
        (spaced(literal("]")), literal(")")),
    )
    .context(StrContext::Expected(StrContextValue::Description("an array: ([a, b])")))
    .parse_next(input)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn value(expression: &str, values: &[(&str, f64)]) -> Option<f64> {
        Expression::parse(expression)
            .unwrap()
            .evaluate(1, &|id, _| values.iter().find(|(name, _)| *name == id).map(|(_, value)| *value))
    }

    /// What an expression is in each period, oldest first, of a metric that is there in some.
    fn values(expression: &str, metric: &[Option<f64>]) -> Vec<Option<f64>> {
        let expression = Expression::parse(expression).unwrap();
        (1..=metric.len())
            .map(|periods| expression.evaluate(periods, &|_, back| metric[periods - 1 - back]))
            .collect()
    }

    #[test]
    fn what_is_repeated_has_no_value_before_the_first() {
        let there = [None, Some(1.0), None, None, Some(0.5), None];
        let last = [None, Some(1.0), Some(1.0), Some(1.0), Some(0.5), Some(0.5)];
        assert_eq!(values("FILL(m, REPEAT)", &there), last);
        let silence = [None, Some(1.0), Some(0.0), Some(0.0), Some(0.5), Some(0.0)];
        assert_eq!(values("SUM([0 * FILL(m, REPEAT), m])", &there), silence);
        assert_eq!(values("FILL(m, REPEAT)", &[None, None]), [None, None]);
    }

    #[test]
    fn a_ratio_with_a_minimum_of_volume() {
        let ratio = "IF(n >= 20, 100 * e / n, 0)";
        assert_eq!(value(ratio, &[("e", 3.0), ("n", 30.0)]), Some(10.0));
        assert_eq!(value(ratio, &[("e", 19.0), ("n", 19.0)]), Some(0.0));
        assert_eq!(value(ratio, &[("e", 19.0)]), None);
    }

    #[test]
    fn operators_bind_as_in_cloudwatch() {
        assert_eq!(value("1 + 2 * 3 - 4 / 2", &[]), Some(5.0));
        assert_eq!(value("-(1 + 2) * 2 ^ 3", &[]), Some(-24.0));
        assert_eq!(value("10-2-3", &[]), Some(5.0));
        assert_eq!(value("1 > 2 OR 3 >= 3 AND 2 != 2", &[]), Some(0.0));
        assert_eq!(value("1 > 2 || 3 >= 3 && 2 == 2", &[]), Some(1.0));
    }

    #[test]
    fn what_is_missing_makes_the_result_missing_except_in_an_array() {
        let there = [("a", 2.0)];
        assert_eq!(value("a + b", &there), None);
        assert_eq!(value("SUM([a, b])", &there), Some(2.0));
        assert_eq!(value("MAX([0 * a, b])", &there), Some(0.0));
        assert_eq!(value("MIN([a, 1.5, b])", &there), Some(1.5));
        assert_eq!(value("AVG([a, 4])", &there), Some(3.0));
        assert_eq!(value("SUM([b, c])", &there), None);
    }

    #[test]
    fn what_is_divided_by_nothing_has_no_value() {
        assert_eq!(value("e / n", &[("e", 1.0), ("n", 0.0)]), None);
        assert_eq!(value("e / n", &[("e", 0.0), ("n", 0.0)]), None);
    }

    #[test]
    fn the_ids_are_those_it_refers_to() {
        let expression = Expression::parse("IF(w > 0.2 * a, MAX([w, x1]), -a)").unwrap();
        assert_eq!(expression.ids().into_iter().collect::<Vec<_>>(), ["a", "w", "x1"]);
    }

    #[test]
    fn what_has_no_place_in_an_alarm_is_refused() {
        for refused in [
            "FILL(m1, 0)",
            "FILL(m1, LINEAR)",
            "FILL(m1)",
            "FILL(m1 + 1, REPEAT)",
            "SEARCH('{AWS/Lambda}', 'Sum')",
            "RATE(m1)",
            "MAX(m1)",
            "METRICS()",
            "m1 +",
            "",
            "IF(a, b)",
            "(a",
            "a b",
            "M1",
            "SUM([])",
        ] {
            assert!(Expression::parse(refused).is_err(), "{refused}");
        }
    }
}
