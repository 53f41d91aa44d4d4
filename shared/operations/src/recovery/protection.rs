//! How the tables are protected, and what is missing.

use std::time::Duration;

use sallyport_core::{clock::Timestamp, store::StoreResult};

/// A table, by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Users,
    Sessions,
    Throttle,
    Outbox,
    Audit,
    Ops,
}

impl Role {
    pub const ALL: [Self; 6] =
        [Self::Users, Self::Sessions, Self::Throttle, Self::Outbox, Self::Audit, Self::Ops];

    /// Those that cannot be rebuilt: what a backup holds, and a restore brings back. A restored session would undo a
    /// revocation, and limits and messages are worthless after minutes.
    pub const RETAINED: [Self; 3] = [Self::Users, Self::Audit, Self::Ops];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Sessions => "sessions",
            Self::Throttle => "throttle",
            Self::Outbox => "outbox",
            Self::Audit => "audit",
            Self::Ops => "ops",
        }
    }

    pub const fn is_retained(self) -> bool {
        matches!(self, Self::Users | Self::Audit | Self::Ops)
    }

    /// Whether items carry their end.
    pub const fn expires(self) -> bool {
        !matches!(self, Self::Users | Self::Ops)
    }

    /// Whether a protected deployment refuses to delete it.
    pub const fn is_protected(self) -> bool {
        !matches!(self, Self::Throttle)
    }
}

/// The times that a table can be restored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub earliest: Timestamp,
    pub latest: Timestamp,
}

/// What is known of a table. `None`: the endpoint cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    pub role: Role,
    /// `Some(None)`: point-in-time recovery is off.
    pub point_in_time: Option<Option<Window>>,
    pub deletion_protected: bool,
    pub expires: Option<bool>,
}

/// Backups on demand of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backups {
    pub number: usize,
    pub newest: Option<Timestamp>,
}

pub trait InspectTables: Send + Sync {
    fn protection(&self, role: Role) -> impl Future<Output = StoreResult<Protection>> + Send;

    /// `None`: the endpoint cannot tell.
    fn backups(&self, role: Role) -> impl Future<Output = StoreResult<Option<Backups>>> + Send;
}

/// Something that a table should have and has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub role: Role,
    pub problem: String,
}

/// How far behind a working backup may be; DynamoDB says five minutes.
const LAG: Duration = Duration::from_secs(15 * 60);

/// What is missing of a table's protection. `protected`: whether the deployment is to refuse to lose its tables.
pub fn gaps(protection: &Protection, protected: bool) -> Vec<Gap> {
    let role = protection.role;
    let mut problems = Vec::new();
    if role.is_retained() && protection.point_in_time == Some(None) {
        problems.push("point-in-time recovery is off");
    }
    if role.expires() && protection.expires == Some(false) {
        problems.push("items do not expire by expires_at");
    }
    if protected && role.is_protected() && !protection.deletion_protected {
        problems.push("deletion protection is off");
    }
    problems.into_iter().map(|problem| Gap { role, problem: problem.to_owned() }).collect()
}

/// What is wrong with the backups of a table that has to be kept.
pub fn backup_gaps(protection: &Protection, now: Timestamp) -> Vec<Gap> {
    let role = protection.role;
    if !role.is_retained() {
        return Vec::new();
    }
    let problem = match protection.point_in_time {
        Some(None) => "point-in-time recovery is off: there is nothing to restore".to_owned(),
        Some(Some(window)) if now.since(window.latest) > LAG => {
            let minutes = now.since(window.latest).as_secs() / 60;
            format!("the latest restorable time lies {minutes} minutes back")
        }
        Some(Some(window)) if window.earliest > window.latest => {
            "the window of restorable times is empty".to_owned()
        }
        Some(Some(_)) | None => return Vec::new(),
    };
    vec![Gap { role, problem }]
}

/// A topic that alarms are sent to, and who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicListeners {
    pub topic: String,
    /// Subscriptions that were confirmed; others are told nothing.
    pub confirmed: u64,
}

pub trait Topics: Send + Sync {
    fn listeners(&self, topic: &str) -> impl Future<Output = StoreResult<TopicListeners>> + Send;
}

/// Which of the alarms' topics reach nobody. Our own responder listens to each of them, and tells people through the topic
/// of incidents or a webhook: while it has neither, a topic needs a listener besides.
pub fn unheard(
    alarms: Vec<TopicListeners>,
    incidents: Option<&TopicListeners>,
    webhook: bool,
) -> Vec<String> {
    let told = webhook || incidents.is_none_or(|topic| topic.confirmed > 0);
    let needed = if told { 1 } else { 2 };
    alarms.into_iter().filter(|topic| topic.confirmed < needed).map(|topic| topic.topic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn protection(role: Role) -> Protection {
        let window = Window {
            earliest: NOW.minus(Duration::from_secs(3600)),
            latest: NOW.minus(Duration::from_secs(300)),
        };
        Protection { role, point_in_time: Some(Some(window)), deletion_protected: true, expires: Some(true) }
    }

    #[test]
    fn each_table_must_have_what_its_contents_ask_for() {
        for role in Role::ALL {
            assert_eq!(gaps(&protection(role), true), []);
            let bare = Protection {
                point_in_time: Some(None),
                deletion_protected: false,
                expires: Some(false),
                ..protection(role)
            };
            let expected = match role {
                Role::Users | Role::Ops => 2,
                Role::Sessions | Role::Outbox => 2,
                Role::Audit => 3,
                Role::Throttle => 1,
            };
            assert_eq!(gaps(&bare, true).len(), expected, "{role:?}");
            // What the endpoint cannot tell is no gap.
            let unknown = Protection { point_in_time: None, expires: None, ..protection(role) };
            assert_eq!(gaps(&unknown, true), []);
        }
        let unprotected = Protection { deletion_protected: false, ..protection(Role::Users) };
        assert_eq!(gaps(&unprotected, false), []);
    }

    #[test]
    fn a_backup_that_lags_is_no_backup() {
        assert_eq!(backup_gaps(&protection(Role::Users), NOW), []);
        assert_eq!(backup_gaps(&protection(Role::Users), NOW + Duration::from_secs(3600)).len(), 1);
        let off = Protection { point_in_time: Some(None), ..protection(Role::Audit) };
        assert_eq!(backup_gaps(&off, NOW).len(), 1);
        let sessions = Protection { point_in_time: Some(None), ..protection(Role::Sessions) };
        assert_eq!(backup_gaps(&sessions, NOW), []);
    }

    #[test]
    fn a_topic_that_only_the_responder_hears_needs_the_responder_to_reach_somebody() {
        let topic = |name: &str, confirmed| TopicListeners { topic: name.to_owned(), confirmed };
        let heard = |incidents: Option<u64>, webhook| {
            let alarms = vec![topic("critical", 2), topic("warning", 1), topic("info", 0)];
            let incidents = incidents.map(|confirmed| topic("incidents", confirmed));
            unheard(alarms, incidents.as_ref(), webhook).join(" ")
        };
        assert_eq!(heard(Some(1), false), "info");
        assert_eq!(heard(Some(0), true), "info");
        assert_eq!(heard(Some(0), false), "warning info");
        assert_eq!(heard(None, false), "info");
    }
}
