//! Credentials that operators enter: of outside providers, and of whoever scrapes metrics.

use serde::{Deserialize, de::IgnoredAny};
use subtle::ConstantTimeEq as _;

use crate::{secret::Secret, store::StoreResult};

/// The secret `providers`. A member that is absent is a feature that is not used; those of others are ignored.
#[derive(Debug, Default)]
pub struct Providers {
    metrics_token: Option<Secret<String>>,
    has_incident_webhook: bool,
}

#[derive(Deserialize)]
struct Wire {
    metrics_token: Option<String>,
    incident_webhook: Option<IgnoredAny>,
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
        let wire: Wire = serde_json::from_str(text).map_err(|_| "not a JSON object of texts")?;
        Ok(Self {
            metrics_token: wire.metrics_token.map(Secret::new),
            has_incident_webhook: wire.incident_webhook.is_some(),
        })
    }

    /// Whether incidents are told to a webhook.
    pub fn has_incident_webhook(&self) -> bool {
        self.has_incident_webhook
    }

    /// Compares in constant time.
    pub fn scrape(&self, presented: Option<&str>) -> Scrape {
        let Some(token) = self.metrics_token.as_ref().map(Secret::expose).filter(|token| !token.is_empty())
        else {
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
        for text in ["{}", r#"{"metrics_token": ""}"#, r#"{"metrics_token": null, "twilio_sid": "AC1"}"#] {
            let providers = Providers::parse(text).unwrap();
            assert_eq!(providers.scrape(None), Scrape::Off, "{text}");
            assert_eq!(providers.scrape(Some("")), Scrape::Off, "{text}");
        }
    }

    #[test]
    fn only_the_token_itself_is_allowed() {
        let providers = Providers::parse(r#"{"metrics_token": "s3cret"}"#).unwrap();
        assert_eq!(providers.scrape(Some("s3cret")), Scrape::Allowed);
        for wrong in [None, Some(""), Some("s3cre"), Some("s3crett"), Some("S3CRET")] {
            assert_eq!(providers.scrape(wrong), Scrape::Refused, "{wrong:?}");
        }
    }

    #[test]
    fn a_webhook_is_there_or_not_whatever_it_is() {
        for (text, there) in [
            ("{}", false),
            (r#"{"incident_webhook": null}"#, false),
            (r#"{"incident_webhook": {"url": "https://example.com", "secret": "s"}}"#, true),
        ] {
            assert_eq!(Providers::parse(text).unwrap().has_incident_webhook(), there, "{text}");
        }
    }

    #[test]
    fn what_does_not_read_is_said_without_being_quoted() {
        for text in ["", "[]", r#"{"metrics_token": 7}"#] {
            assert_eq!(Providers::parse(text).unwrap_err(), "not a JSON object of texts", "{text}");
        }
    }
}
