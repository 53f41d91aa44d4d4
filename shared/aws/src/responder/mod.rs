//! What only the responder calls: a topic, a webhook.

mod settings;
mod topic;
mod webhook;

pub use settings::{WebhookFormat, WebhookSecret, WebhookSettings};
pub use topic::Topic;
pub use webhook::{InvalidUrl, PostError, WebhookUrl, Webhooks};
