//! CloudFormation templates as data: tags in their long form, intrinsic functions resolved.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use yaml_rust2::{
    Event, Yaml,
    parser::{EventReceiver, Parser, Tag},
    scanner::TScalarStyle,
};

/// Values of parameters by name.
pub type Parameters = BTreeMap<String, String>;

/// Why a template cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudFormationError {
    #[error("it is no YAML: {0}")]
    Yaml(String),
    #[error("{0} is neither a parameter nor a resource")]
    UnknownReference(String),
    #[error("parameter {0} has no default and was not given")]
    NoValue(String),
    #[error("there is no condition {0}")]
    UnknownCondition(String),
    #[error("{0} is not understood here")]
    Unsupported(String),
}

type Result<T> = std::result::Result<T, CloudFormationError>;

/// Reads YAML with CloudFormation's tags; serde-based readers refuse them, and the loader of the library drops them.
pub(crate) fn read(text: &str) -> Result<Value> {
    let mut builder = Builder::default();
    Parser::new_from_str(text)
        .load(&mut builder, false)
        .map_err(|error| CloudFormationError::Yaml(error.to_string()))?;
    Ok(builder.done)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    done: Value,
}

struct Open {
    tag: Option<String>,
    content: Content,
}

enum Content {
    Sequence(Vec<Value>),
    Mapping(Map<String, Value>, Option<String>),
}

impl EventReceiver for Builder {
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Scalar(text, style, _, tag) => {
                let value =
                    if style == TScalarStyle::Plain && tag.is_none() { plain(&text) } else { text.into() };
                self.finish(tag.as_ref(), value);
            }
            Event::SequenceStart(_, tag) => {
                let tag = tag.map(|tag| tag.suffix);
                self.open.push(Open { tag, content: Content::Sequence(Vec::new()) });
            }
            Event::MappingStart(_, tag) => {
                let tag = tag.map(|tag| tag.suffix);
                self.open.push(Open { tag, content: Content::Mapping(Map::new(), None) });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return };
                let value = match open.content {
                    Content::Sequence(items) => Value::Array(items),
                    Content::Mapping(entries, _) => Value::Object(entries),
                };
                self.place(tagged(open.tag.as_deref(), value));
            }
            _ => {}
        }
    }
}

impl Builder {
    fn finish(&mut self, tag: Option<&Tag>, value: Value) {
        self.place(tagged(tag.map(|tag| tag.suffix.as_str()), value));
    }

    fn place(&mut self, value: Value) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.done = value,
            Some(Content::Sequence(items)) => items.push(value),
            Some(Content::Mapping(entries, key)) => match key.take() {
                None => *key = Some(text_of(&value).unwrap_or_default()),
                Some(key) => {
                    entries.insert(key, value);
                }
            },
        }
    }
}

/// An untagged plain scalar, as YAML types it.
fn plain(text: &str) -> Value {
    match Yaml::from_str(text) {
        Yaml::Integer(number) => number.into(),
        Yaml::Real(number) => number.parse::<f64>().map_or_else(|_| text.into(), Value::from),
        Yaml::Boolean(flag) => flag.into(),
        Yaml::Null => Value::Null,
        _ => text.into(),
    }
}

fn tagged(tag: Option<&str>, value: Value) -> Value {
    let Some(tag) = tag else { return value };
    let (name, value) = match (tag, &value) {
        ("Ref" | "Condition", _) => (tag.to_owned(), value),
        ("GetAtt", Value::String(path)) => {
            ("Fn::GetAtt".to_owned(), path.splitn(2, '.').map(Value::from).collect())
        }
        _ => (format!("Fn::{tag}"), value),
    };
    Value::Object(Map::from_iter([(name, value)]))
}

/// A scalar as text, numbers and booleans included.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A template with values for its parameters.
#[derive(Debug)]
pub(crate) struct Stack<'a> {
    document: &'a Value,
    parameters: &'a Parameters,
}

impl<'a> Stack<'a> {
    pub(crate) fn new(document: &'a Value, parameters: &'a Parameters) -> Self {
        Self { document, parameters }
    }

    fn section(&self, name: &str) -> Option<&'a Map<String, Value>> {
        self.document.get(name)?.as_object()
    }

    /// The resources of a type whose condition holds, by logical name.
    pub(crate) fn resources(&self, kind: &str) -> Result<Vec<(&'a str, &'a Value)>> {
        let mut found = Vec::new();
        for (logical, resource) in self.section("Resources").into_iter().flatten() {
            let condition = resource.get("Condition").and_then(Value::as_str);
            if resource.get("Type").and_then(Value::as_str) == Some(kind)
                && condition.map_or(Ok(true), |condition| self.condition(condition))?
            {
                found.push((logical.as_str(), resource));
            }
        }
        Ok(found)
    }

    /// The value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> Result<Option<Value>> {
        let Some(parameter) = self.section("Parameters").and_then(|parameters| parameters.get(name)) else {
            return Ok(None);
        };
        match (self.parameters.get(name), parameter.get("Default")) {
            (Some(given), _) => Ok(Some(given.as_str().into())),
            (None, Some(default)) => Ok(Some(default.clone())),
            (None, None) => Err(CloudFormationError::NoValue(name.to_owned())),
        }
    }

    fn condition(&self, name: &str) -> Result<bool> {
        let unknown = || CloudFormationError::UnknownCondition(name.to_owned());
        let condition = self.section("Conditions").and_then(|all| all.get(name)).ok_or_else(unknown)?;
        self.holds(condition)
    }

    fn holds(&self, condition: &Value) -> Result<bool> {
        let unsupported = || CloudFormationError::Unsupported(condition.to_string());
        let (function, argument) = single(condition).ok_or_else(unsupported)?;
        let parts = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (function, parts) {
            ("Condition", _) => self.condition(argument.as_str().ok_or_else(unsupported)?),
            ("Fn::Equals", [left, right]) => {
                let text = |value: &Value| -> Result<Option<String>> {
                    Ok(self.resolve(value)?.as_ref().and_then(text_of))
                };
                Ok(text(left)? == text(right)?)
            }
            ("Fn::Not", [inner]) => Ok(!self.holds(inner)?),
            ("Fn::And", parts) => parts.iter().try_fold(true, |all, part| Ok(all && self.holds(part)?)),
            ("Fn::Or", parts) => parts.iter().try_fold(false, |any, part| Ok(any || self.holds(part)?)),
            _ => Err(unsupported()),
        }
    }

    /// A value without intrinsic functions; none for `AWS::NoValue`.
    pub(crate) fn resolve(&self, value: &Value) -> Result<Option<Value>> {
        match value {
            Value::Array(items) => {
                let items: Result<Vec<_>> = items.iter().map(|item| self.resolve(item)).collect();
                Ok(Some(items?.into_iter().flatten().collect()))
            }
            Value::Object(entries) => match single(value) {
                Some((function, argument)) if function == "Ref" || function.starts_with("Fn::") => {
                    self.call(function, argument)
                }
                _ => {
                    let mut resolved = Map::new();
                    for (name, value) in entries {
                        if let Some(value) = self.resolve(value)? {
                            resolved.insert(name.clone(), value);
                        }
                    }
                    Ok(Some(Value::Object(resolved)))
                }
            },
            scalar => Ok(Some(scalar.clone())),
        }
    }

    fn call(&self, function: &str, argument: &Value) -> Result<Option<Value>> {
        let unsupported = || CloudFormationError::Unsupported(format!("{function} {argument}"));
        match (function, argument) {
            ("Ref", Value::String(name)) => self.reference(name),
            ("Fn::GetAtt", Value::Array(path)) => {
                let path: Option<Vec<&str>> = path.iter().map(Value::as_str).collect();
                Ok(Some(path.ok_or_else(unsupported)?.join(".").into()))
            }
            ("Fn::Sub", Value::String(text)) => Ok(Some(self.substitute(text)?.into())),
            ("Fn::If", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(condition), then, otherwise] => {
                    self.resolve(if self.condition(condition)? { then } else { otherwise })
                }
                _ => Err(unsupported()),
            },
            _ => Err(unsupported()),
        }
    }

    fn reference(&self, name: &str) -> Result<Option<Value>> {
        if let Some(value) = self.parameter(name)? {
            return Ok(Some(value));
        }
        if name == "AWS::NoValue" {
            return Ok(None);
        }
        if let Some(pseudo) = name.strip_prefix("AWS::") {
            return Ok(Some(pseudo.to_lowercase().into()));
        }
        let resource = self.section("Resources").and_then(|resources| resources.get(name));
        let resource = resource.ok_or_else(|| CloudFormationError::UnknownReference(name.to_owned()))?;
        // An alarm is referred to by its name; of everything else only which resource it is matters here.
        match resource.get("Properties").and_then(|properties| properties.get("AlarmName")) {
            Some(alarm) => self.resolve(alarm),
            None => Ok(Some(name.into())),
        }
    }

    /// `${Name}` and `${Name.Attribute}`; `${!Literal}` stays.
    fn substitute(&self, text: &str) -> Result<String> {
        let mut parts = text.split("${");
        let mut substituted = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let unsupported = || CloudFormationError::Unsupported(format!("Fn::Sub {text}"));
            let (name, rest) = part.split_once('}').ok_or_else(unsupported)?;
            match name.strip_prefix('!') {
                Some(literal) => substituted.push_str(&format!("${{{literal}}}")),
                None => {
                    let value = match name.split_once('.') {
                        Some(_) => Some(Value::from(name)),
                        None => self.reference(name)?,
                    };
                    substituted.push_str(&value.as_ref().and_then(text_of).ok_or_else(unsupported)?);
                }
            }
            substituted.push_str(rest);
        }
        Ok(substituted)
    }
}

/// The one entry of an object that has one.
fn single(value: &Value) -> Option<(&str, &Value)> {
    let entries = value.as_object().filter(|entries| entries.len() == 1)?;
    entries.iter().next().map(|(name, value)| (name.as_str(), value))
}

/// An event that a schedule of `template.yaml` hands to a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The function, as the directory under `functions/` is named.
    pub function: String,
    /// Seconds between two events.
    pub every: u64,
    pub input: Value,
}

/// The schedules of a template's functions. A cron expression counts as once a day.
///
/// # Errors
/// When the template does not read, and for an input that is no JSON.
pub fn schedules(template: &str) -> std::result::Result<Vec<Schedule>, CloudFormationError> {
    let document = read(template)?;
    let parameters = Parameters::new();
    let stack = Stack::new(&document, &parameters);
    let mut found = Vec::new();
    for (_, resource) in stack.resources("AWS::Serverless::Function")? {
        let function = resource.pointer("/Metadata/BuildProperties/Binary").and_then(Value::as_str);
        let Some(function) = function else { continue };
        let events = resource.pointer("/Properties/Events").and_then(Value::as_object);
        for (name, event) in events.into_iter().flatten() {
            let kind = event.get("Type").and_then(Value::as_str).unwrap_or_default();
            if kind != "Schedule" && kind != "ScheduleV2" {
                continue;
            }
            let property = |key: &str| event.pointer(&format!("/Properties/{key}"));
            let unsupported =
                |what: &str| CloudFormationError::Unsupported(format!("{what} of schedule {name}"));
            let rate = property("Schedule").or_else(|| property("ScheduleExpression"));
            let rate = rate.map(|rate| stack.resolve(rate)).transpose()?.flatten();
            let every = rate.as_ref().and_then(Value::as_str).and_then(seconds_between);
            let input = property("Input").map(|input| stack.resolve(input)).transpose()?.flatten();
            let input = match input.as_ref().and_then(Value::as_str) {
                Some(text) => serde_json::from_str(text).map_err(|_| unsupported("the input"))?,
                None => Value::Object(Map::new()),
            };
            found.push(Schedule {
                function: function.to_owned(),
                every: every.ok_or_else(|| unsupported("the rate"))?,
                input,
            });
        }
    }
    Ok(found)
}

fn seconds_between(expression: &str) -> Option<u64> {
    if expression.starts_with("cron(") {
        return Some(24 * 60 * 60);
    }
    let (number, unit) = expression.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let unit = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => 24 * 60 * 60,
        _ => return None,
    };
    number.parse::<u64>().ok().map(|number| number * unit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn resolved(value: &str) -> Result<Option<Value>> {
        let text = format!(
            "
Parameters:
  Stage: {{Type: String}}
  Share: {{Type: Number, Default: 0.2}}
Conditions:
  Full: !Equals [!Ref Stage, prod]
  Small: !Not [!Condition Full]
Resources:
  Down: {{Type: AWS::CloudWatch::Alarm, Properties: {{AlarmName: !Sub '${{Stage}}-down'}}}}
  Topic: {{Type: AWS::SNS::Topic}}
Value: {value}
"
        );
        let document = read(&text)?;
        let parameters = Parameters::from([("Stage".to_owned(), "prod".to_owned())]);
        let stack = Stack::new(&document, &parameters);
        stack.resolve(&document["Value"])
    }

    fn value(text: &str) -> Value {
        resolved(text).unwrap().unwrap()
    }

    #[test]
    fn references_are_parameters_names_of_alarms_and_resources() {
        assert_eq!(value("!Ref Stage"), json!("prod"));
        assert_eq!(value("!Ref Share"), json!(0.2));
        assert_eq!(value("!Ref Topic"), json!("Topic"));
        assert_eq!(value("!Sub 'ALARM(\"${Down}\")'"), json!("ALARM(\"prod-down\")"));
        assert_eq!(value("!GetAtt Topic.Arn"), json!("Topic.Arn"));
        assert_eq!(value("!Sub '${Topic.TopicName} ${!x}'"), json!("Topic.TopicName ${x}"));
    }

    #[test]
    fn conditions_choose_and_no_value_disappears() {
        assert_eq!(value("[!If [Full, a, b], !If [Small, c, !Ref AWS::NoValue]]"), json!(["a"]));
        assert_eq!(value("{a: !If [Small, 1, !Ref AWS::NoValue], b: 2}"), json!({"b": 2}));
    }

    #[test]
    fn a_scalar_has_the_type_that_yaml_gives_it() {
        assert_eq!(value("[1, 1.5, true, '1', on, x]"), json!([1, 1.5, true, "1", "on", "x"]));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(matches!(resolved("!Ref Nothing"), Err(CloudFormationError::UnknownReference(_))));
        assert!(matches!(resolved("!If [Nothing, 1, 2]"), Err(CloudFormationError::UnknownCondition(_))));
        assert!(matches!(resolved("!Select [0, [1]]"), Err(CloudFormationError::Unsupported(_))));
    }

    #[test]
    fn schedules_are_those_of_the_functions() {
        let found = schedules(
            r#"
Resources:
  Health:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: health}}
    Properties:
      Events:
        Live: {Type: Api, Properties: {Path: /health/live, Method: GET}}
        Probe: {Type: Schedule, Properties: {Schedule: rate(1 minute), Input: '{"a":1}'}}
        Daily: {Type: ScheduleV2, Properties: {ScheduleExpression: "cron(0 3 * * ? *)"}}
"#,
        );
        let schedule = |every, input| Schedule { function: "health".to_owned(), every, input };
        let mut found = found.unwrap();
        found.sort_by_key(|schedule| schedule.every);
        assert_eq!(found, [schedule(60, json!({"a": 1})), schedule(86_400, json!({}))]);
        assert_eq!([seconds_between("rate(5 minutes)"), seconds_between("rate(x hours)")], [Some(300), None]);
    }
}
