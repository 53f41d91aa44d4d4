//! The webhook, as the operator has set it up in the secret of outside providers.

use aws_sdk_secretsmanager::Client;
use sallyport_core::{
    secret::EnteredSecret,
    store::{StoreError, StoreResult},
};
use serde::Deserialize;

use crate::platform::store::unavailable;

/// A webhook of incidents.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    pub url: String,
    pub format: WebhookFormat,
    /// The key of the signature; for PagerDuty the routing key of the integration.
    pub secret: EnteredSecret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    Generic,
    Slack,
    PagerDuty,
}

/// As it is stored. Members that other features need are none of ours.
#[derive(Deserialize)]
struct Document {
    incident_webhook: Option<WebhookDocument>,
}

#[derive(Deserialize)]
struct WebhookDocument {
    url: String,
    format: WebhookFormat,
    secret: String,
}

/// The secret that it is a member of.
#[derive(Debug, Clone)]
pub struct WebhookSecret {
    client: Client,
    secret: String,
}

impl WebhookSecret {
    /// `secret` is its name or ARN.
    pub fn new(client: Client, secret: impl Into<String>) -> Self {
        Self { client, secret: secret.into() }
    }

    /// The webhook that is set up now, if any is.
    ///
    /// # Errors
    /// Secrets Manager; a text that does not read, or a secret that is none, neither of which is ever shown.
    pub async fn read(&self) -> StoreResult<Option<WebhookSettings>> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.secret)
            .send()
            .await
            .map_err(unavailable("read providers"))?;
        parse(answer.secret_string.as_deref().unwrap_or_default())
    }
}

fn parse(text: &str) -> StoreResult<Option<WebhookSettings>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    // What a parser says of a text that does not parse may quote it.
    let document: Document = serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        table: "providers",
        key: "AWSCURRENT".to_owned(),
        problem: format!("does not read, line {} column {}", error.line(), error.column()),
    })?;
    let Some(webhook) = document.incident_webhook else { return Ok(None) };
    let secret = EnteredSecret::parse(&webhook.secret).map_err(|problem| StoreError::Corrupt {
        table: "providers",
        key: "AWSCURRENT".to_owned(),
        problem: format!("incident_webhook.secret {problem}"),
    })?;
    Ok(Some(WebhookSettings { url: webhook.url, format: webhook.format, secret }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    #[test]
    fn an_empty_secret_sets_up_nothing() {
        assert!(parse("{}").unwrap().is_none());
        assert!(parse("").unwrap().is_none());
        assert!(parse(r#"{"scrape_token": "x"}"#).unwrap().is_none());
    }

    #[test]
    fn a_webhook_has_a_url_a_format_and_a_secret() {
        let text = r#"{"incident_webhook": {"url": "https://hooks.example.com/1", "format": "slack", "secret": "s3cret-of-webhook"}}"#;
        let webhook = parse(text).unwrap().unwrap();
        assert_eq!((webhook.format, webhook.secret.expose()), (WebhookFormat::Slack, "s3cret-of-webhook"));
        assert!(!format!("{webhook:?}").contains("s3cret"));
    }

    #[test]
    fn a_secret_that_anybody_could_guess_signs_nothing_and_is_not_quoted() {
        for secret in [
            "",
            " ",
            "hunter2",
            "aaaaaaaaaaaaaaaaaaaa",
            "webhook-hunter2-key\n",
            "\u{feff}webhook-hunter2-key",
        ] {
            let webhook = serde_json::json!({"url": "https://hooks.example.com/1", "format": "generic", "secret": secret});
            let Err(error) = parse(&serde_json::json!({"incident_webhook": webhook}).to_string()) else {
                panic!("{secret:?} signs")
            };
            let told = error.to_string();
            assert!(told.contains("incident_webhook.secret") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn what_does_not_read_is_not_quoted() {
        let Err(error) = parse(r#"{"incident_webhook": {"url": 1, "secret": "s3cret"}}"#) else { panic!() };
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
