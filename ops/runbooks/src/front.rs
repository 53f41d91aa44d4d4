//! What a page says about itself, between two lines of `---`.

use yaml_rust2::{Yaml, YamlLoader};

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody was paged by the alarms that the page names.
    Alarm,
    /// Somebody sets about it of their own accord, or is sent here by another page.
    Procedure,
}

impl Kind {
    /// As the front matter spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Procedure => "procedure",
        }
    }
}

/// How soon somebody has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Within 5 minutes.
    Critical,
    /// Within 30 minutes.
    Warning,
    /// Within 4 hours.
    Info,
}

impl Severity {
    /// As the front matter spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// Minutes until somebody has acknowledged.
    pub const fn response_minutes(self) -> u32 {
        match self {
            Self::Critical => 5,
            Self::Warning => 30,
            Self::Info => 240,
        }
    }
}

/// Whose rights suffice for every step: one of infra/policies, or more than these have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    Responder,
    Operator,
    Deployer,
    /// Of the account: a table is replaced, or other people's rights are read.
    Administrator,
}

impl Rights {
    pub const ALL: [Self; 4] = [Self::Responder, Self::Operator, Self::Deployer, Self::Administrator];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Responder => "responder",
            Self::Operator => "operator",
            Self::Deployer => "deployer",
            Self::Administrator => "administrator",
        }
    }
}

/// The front matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// What happened, or what is done, in a few words.
    pub title: String,
    /// What the page is for.
    pub kind: Kind,
    /// How soon somebody has to come.
    pub severity: Severity,
    /// Alarms that lead here, by their names without the stack's. Empty for procedures.
    pub alarms: Vec<String>,
    /// The role that keeps the page true.
    pub owner: String,
    pub rights: Rights,
    /// The day on which the drill last played the page, `2026-11-24`; `None` before the first time.
    pub last_drilled: Option<String>,
}

const FIELDS: [&str; 7] = ["title", "kind", "severity", "alarms", "owner", "rights", "last_drilled"];

impl Front {
    /// # Errors
    /// A line about what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
        let Some(Yaml::Hash(fields)) = documents.first() else {
            return Err("it holds no fields".to_owned());
        };
        if let Some(unknown) =
            fields.keys().find(|key| key.as_str().is_none_or(|name| !FIELDS.contains(&name)))
        {
            return Err(format!("unknown field {unknown:?}: the fields are {}", FIELDS.join(", ")));
        }
        let field = |name: &str| fields.get(&Yaml::String(name.to_owned()));
        let text = |name: &str| {
            field(name).and_then(Yaml::as_str).map(str::to_owned).ok_or_else(|| format!("{name} is missing"))
        };
        let kind = match text("kind")?.as_str() {
            "alarm" => Kind::Alarm,
            "procedure" => Kind::Procedure,
            other => return Err(format!("kind is neither alarm nor procedure: {other}")),
        };
        let severity = match text("severity")?.as_str() {
            "critical" => Severity::Critical,
            "warning" => Severity::Warning,
            "info" => Severity::Info,
            other => return Err(format!("severity is none of critical, warning, info: {other}")),
        };
        let rights = text("rights")?;
        let rights = Rights::ALL.into_iter().find(|known| known.name() == rights).ok_or_else(|| {
            format!("rights is none of {}: {rights}", Rights::ALL.map(Rights::name).join(", "))
        })?;
        let alarms = field("alarms").and_then(Yaml::as_vec).ok_or("alarms is not a list")?;
        let alarms: Option<Vec<_>> = alarms.iter().map(|name| name.as_str().map(str::to_owned)).collect();
        let last_drilled = match field("last_drilled") {
            None => return Err("last_drilled is missing: write `never`, the drill writes the day".to_owned()),
            Some(value) => value.as_str().filter(|day| *day != "never").map(str::to_owned),
        };
        let front = Self {
            title: text("title")?,
            kind,
            severity,
            alarms: alarms.ok_or("alarms holds something that is no name")?,
            owner: text("owner")?,
            rights,
            last_drilled,
        };
        if (front.kind == Kind::Alarm) == front.alarms.is_empty() {
            return Err("an alarm's page names its alarms, a procedure names none".to_owned());
        }
        Ok(front)
    }
}
