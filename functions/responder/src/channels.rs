//! The ways to people: a topic and a webhook.

use sallyport_aws::responder::{InvalidUrl, Topic, WebhookSecret, WebhookSettings, WebhookUrl, Webhooks};
use sallyport_lambda::Platform;
use sallyport_operations::incidents::{Channels, Incident, Notice, sign};

use crate::{formats, words::Told};

const TOPIC: &str = "topic";
const WEBHOOK: &str = "webhook";

/// The signature's header, and the one that is the same for every attempt.
const SIGNATURE: &str = "x-sallyport-signature";
const DELIVERY: &str = "x-sallyport-delivery";

pub(crate) struct People {
    platform: Platform,
    topic: Option<Topic>,
    secret: Option<WebhookSecret>,
    webhooks: Result<Webhooks, String>,
}

impl People {
    pub(crate) fn new(platform: &Platform, webhooks: Result<Webhooks, String>) -> Self {
        let (config, clients) = (platform.config(), platform.clients());
        let topic = config.incident_topic.as_ref().and_then(|arn| Topic::new(clients, arn));
        let secret = config.providers_secret.as_ref();
        let secret = secret.map(|secret| WebhookSecret::new(clients.secrets.clone(), secret));
        Self { platform: platform.clone(), topic, secret, webhooks }
    }

    async fn webhook(&self) -> Result<Option<WebhookSettings>, String> {
        match &self.secret {
            Some(secret) => secret.read().await.map_err(|error| error.to_string()),
            None => Ok(None),
        }
    }

    async fn call(&self, told: &Told<'_>) -> Result<(), String> {
        // Read for each notice: there are few, and a secret that was just put right counts at once.
        let Some(webhook) = self.webhook().await? else { return Ok(()) };
        let Some(body) = formats::body(webhook.format, told, &webhook.secret) else { return Ok(()) };
        let url: WebhookUrl = webhook.url.parse().map_err(|error: InvalidUrl| error.to_string())?;
        let body = body.to_string();
        let signature = sign(&webhook.secret, self.platform.clock().now(), body.as_bytes());
        let headers = [(SIGNATURE, signature), (DELIVERY, told.delivery())];
        let webhooks = self.webhooks.as_ref().map_err(Clone::clone)?;
        webhooks.post(&url, &headers, &body).await.map_err(|error| error.to_string())
    }
}

impl Channels for People {
    async fn names(&self) -> Result<Vec<String>, ()> {
        // What is wrong with a webhook keeps nobody from the topic: it is a channel that takes nothing.
        let webhook = match self.webhook().await {
            Ok(webhook) => webhook.is_some(),
            Err(fault) if self.topic.is_some() => {
                tracing::error!(target: "request", fault, "the webhook is not known");
                true
            }
            Err(fault) => {
                tracing::error!(target: "request", fault, "the channels are not known");
                return Err(());
            }
        };
        let mut names = Vec::new();
        names.extend(self.topic.as_ref().map(|_| TOPIC.to_owned()));
        names.extend(webhook.then(|| WEBHOOK.to_owned()));
        if names.is_empty() {
            tracing::warn!(target: "request", "nobody is told of incidents: no topic, no webhook");
        }
        Ok(names)
    }

    async fn send(&self, channel: &str, notice: &Notice, incident: &Incident) -> bool {
        let config = self.platform.config();
        let told = Told::new(notice, incident, config);
        let outcome = match channel {
            TOPIC => match &self.topic {
                Some(topic) => topic.publish(&told.title(), &told.text()).await,
                None => Ok(()),
            },
            _ => self.call(&told).await,
        };
        let (incident, kind) = (incident.id.to_string(), notice.kind.as_str());
        match outcome {
            Ok(()) => {
                tracing::info!(target: "request", channel, incident, kind, "notified");
                true
            }
            Err(fault) => {
                tracing::error!(target: "request", channel, incident, kind, fault, "not notified");
                false
            }
        }
    }
}
