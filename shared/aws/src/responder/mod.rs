//! What only the responder calls: a topic, a webhook, the logs.

mod insights;
mod settings;
mod topic;
mod webhook;

pub use insights::LogInsights;
pub use settings::{WebhookFormat, WebhookSecret, WebhookSettings};
pub use topic::Topic;
pub use webhook::{InvalidUrl, PostError, WebhookUrl, Webhooks};
