//! What only the responder calls: a topic, a webhook, the logs.

mod insights;
mod topic;
mod webhook;

pub use insights::LogInsights;
pub use topic::Topic;
pub use webhook::{InvalidUrl, PostError, WebhookUrl, Webhooks};
