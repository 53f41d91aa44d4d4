//! Credentials that operators enter: of outside providers, and of whoever scrapes metrics.

use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use crate::{
    secret::{EnteredSecret, WeakSecret},
    store::StoreResult,
};

/// The secret `providers`. A member that is absent is a feature that is not used; those of others are ignored. What is too
/// weak for a secret is refused: the feature is as good as not used.
#[derive(Debug, Default)]
pub struct Providers {
    metrics_token: Option<EnteredSecret>,
    has_incident_webhook: bool,
    refused: Vec<RefusedSecret>,
}

/// A member that is no secret, with its place in the document: `incident_webhook.secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSecret {
    pub member: String,
    pub problem: WeakSecret,
}

/// What the names of members end with whose values are secrets: those of features to come as well.
const NAMES: [&str; 4] = ["secret", "token", "key", "password"];

/// What a document says is in, whose secret must be there.
const WEBHOOK: &str = "incident_webhook";

/// Notes every secret of the document that is too weak, wherever it is.
fn refuse(place: &str, members: &Map<String, Value>, refused: &mut Vec<RefusedSecret>) {
    for (name, value) in members {
        let member = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        match value {
            Value::Object(members) => refuse(&member, members, refused),
            Value::String(text) if NAMES.iter().any(|end| name.ends_with(end)) => {
                let problem = EnteredSecret::parse(text).err();
                refused.extend(problem.map(|problem| RefusedSecret { member, problem }));
            }
            _ => {}
        }
    }
}

/// What a caller's scrape token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrape {
    /// Nobody may: no token has been set.
    Off,
    Refused,
    Allowed,
}

impl Providers {
    /// # Errors
    /// The text is no JSON object, or a member has another type. The message does not quote it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let unreadable = "not a JSON object of texts";
        let mut members: Map<String, Value> = serde_json::from_str(text).map_err(|_| unreadable)?;
        members.retain(|_, value| !value.is_null());
        let mut refused = Vec::new();
        refuse("", &members, &mut refused);
        let webhook = members.get(WEBHOOK);
        let unsigned = webhook.is_some_and(|webhook| !webhook.get("secret").is_some_and(Value::is_string));
        let member = format!("{WEBHOOK}.secret");
        if unsigned {
            refused.push(RefusedSecret { member: member.clone(), problem: WeakSecret::Empty });
        }
        let is_sound = |member: &str| refused.iter().all(|refused| refused.member != member);
        let has_incident_webhook = webhook.is_some() && is_sound(&member);
        let metrics_token = match members.get("metrics_token") {
            Some(Value::String(token)) => EnteredSecret::parse(token).ok(),
            Some(_) => return Err(unreadable),
            None => None,
        };
        Ok(Self { metrics_token, has_incident_webhook, refused })
    }

    /// The secrets that are too weak to be any.
    pub fn refused(&self) -> &[RefusedSecret] {
        &self.refused
    }

    /// Whether incidents are told to a webhook.
    pub fn has_incident_webhook(&self) -> bool {
        self.has_incident_webhook
    }

    /// Compares in constant time.
    pub fn scrape(&self, presented: Option<&str>) -> Scrape {
        let Some(token) = self.metrics_token.as_ref().map(EnteredSecret::expose) else {
            return Scrape::Off;
        };
        let right = presented.is_some_and(|text| bool::from(text.as_bytes().ct_eq(token.as_bytes())));
        if right { Scrape::Allowed } else { Scrape::Refused }
    }
}

pub trait ReadProviders: Send + Sync {
    fn providers(&self) -> impl Future<Output = StoreResult<Providers>> + Send;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn without_a_token_nobody_scrapes() {
        for (text, token) in [
            ("{}", ""),
            (r#"{"metrics_token": ""}"#, ""),
            (r#"{"metrics_token": null, "twilio_sid": "AC1"}"#, ""),
            // One letter would be found in an afternoon.
            (r#"{"metrics_token": "x"}"#, "x"),
            (r#"{"metrics_token": "aaaaaaaaaaaaaaaa"}"#, "aaaaaaaaaaaaaaaa"),
        ] {
            let providers = Providers::parse(text).unwrap();
            assert_eq!(providers.scrape(None), Scrape::Off, "{text}");
            assert_eq!(providers.scrape(Some(token)), Scrape::Off, "{text}");
        }
    }

    #[test]
    fn only_the_token_itself_is_allowed() {
        let providers = Providers::parse(r#"{"metrics_token": "s3cret-of-scrapers"}"#).unwrap();
        assert_eq!(providers.scrape(Some("s3cret-of-scrapers")), Scrape::Allowed);
        for wrong in [
            None,
            Some(""),
            Some("s3cret-of-scraper"),
            Some("s3cret-of-scraperss"),
            Some("S3CRET-OF-SCRAPERS"),
        ] {
            assert_eq!(providers.scrape(wrong), Scrape::Refused, "{wrong:?}");
        }
    }

    #[test]
    fn a_webhook_is_there_or_not_whatever_it_is() {
        for (text, there) in [
            ("{}", false),
            (r#"{"incident_webhook": null}"#, false),
            (r#"{"incident_webhook": {"url": "https://example.com", "secret": "s"}}"#, false),
            (r#"{"incident_webhook": {"url": "https://example.com"}}"#, false),
            (
                r#"{"incident_webhook": {"url": "https://example.com", "secret": "webhook-signing-secret"}}"#,
                true,
            ),
        ] {
            assert_eq!(Providers::parse(text).unwrap().has_incident_webhook(), there, "{text}");
        }
    }

    #[test]
    fn every_secret_that_is_too_weak_is_named_and_none_is_shown() {
        let text = r#"{
            "metrics_token": "of a few", "incident_webhook": {"url": "https://example.com", "secret": ""},
            "twilio": {"account_sid": "AC1", "auth_token": "brief"}, "google": {"client_id": "1", "client_secret": " "},
            "github": {"client_id": "1", "client_secret": "0123456789abcdef0123"}, "smtp_password": null
        }"#;
        let providers = Providers::parse(text).unwrap();
        let refused: Vec<_> =
            providers.refused().iter().map(|one| (one.member.as_str(), one.problem)).collect();
        assert_eq!(
            refused,
            [
                ("google.client_secret", WeakSecret::Empty),
                ("incident_webhook.secret", WeakSecret::Empty),
                ("metrics_token", WeakSecret::Short),
                ("twilio.auth_token", WeakSecret::Short),
            ]
        );
        assert!(!format!("{providers:?}").contains("brief"));
    }

    #[test]
    fn whatever_is_added_to_a_secret_unseen_every_member_is_refused_and_named() {
        let typed = "0123456789abcdef";
        for spoilt in ["{}\n", "{}\r\n", " {}", "{} ", "\u{feff}{}", "{}\u{a0}", "{}\u{200b}", "{}é"] {
            let spoilt = spoilt.replace("{}", typed);
            let text = serde_json::json!({
                "metrics_token": spoilt,
                "incident_webhook": {"url": "https://example.com", "secret": spoilt},
                "pagerduty": {"routing_key": spoilt},
                "smtp_password": spoilt,
            });
            let providers = Providers::parse(&text.to_string()).unwrap();
            let named: Vec<_> = providers.refused().iter().map(|one| one.member.as_str()).collect();
            let all = ["incident_webhook.secret", "metrics_token", "pagerduty.routing_key", "smtp_password"];
            assert_eq!(named, all, "{spoilt:?}");
            assert!(!providers.has_incident_webhook());
            for token in [typed, &spoilt] {
                assert_eq!(providers.scrape(Some(token)), Scrape::Off, "{spoilt:?}");
            }
        }
    }

    #[test]
    fn what_does_not_read_is_said_without_being_quoted() {
        for text in ["", "[]", r#"{"metrics_token": 7}"#] {
            assert_eq!(Providers::parse(text).unwrap_err(), "not a JSON object of texts", "{text}");
        }
    }
}
