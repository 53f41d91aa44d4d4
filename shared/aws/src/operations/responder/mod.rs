//! What only the responder calls: a topic, a webhook, and Lambda for when it was deployed.

mod functions;
mod settings;
mod topic;
mod webhook;

pub use functions::Functions;
pub use settings::{WebhookFormat, WebhookSecret, WebhookSettings};
pub use topic::{Topic, subject};
pub use webhook::{InvalidUrl, PostError, WebhookUrl, Webhooks};
