//! An SNS topic that people subscribe to.

use aws_sdk_sns::Client;

use crate::platform::{cause::cause, connection::Clients, meter::CallMeter};

/// A subject as SNS takes it: no line ends in it, and none of its characters steers whoever reads mail.
pub fn subject(title: &str) -> String {
    let printable = title.chars().filter(|character| *character == ' ' || character.is_ascii_graphic());
    printable.take(SUBJECT).collect()
}

/// The topic of incidents.
#[derive(Debug, Clone)]
pub struct Topic {
    client: Client,
    arn: String,
}

/// SNS takes a hundred characters of ASCII.
const SUBJECT: usize = 100;

impl Topic {
    /// `None` for clients that were not connected by a function.
    pub fn new(clients: &Clients, arn: impl Into<String>) -> Option<Self> {
        let shared = clients.shared.as_ref()?;
        let mut config = aws_sdk_sns::config::Builder::from(&shared.config).interceptor(CallMeter);
        config.set_endpoint_url(shared.endpoints.sns.clone());
        Some(Self { client: Client::from_conf(config.build()), arn: arn.into() })
    }

    /// # Errors
    /// SNS, in the operator's words.
    pub async fn publish(&self, subject: &str, message: &str) -> Result<(), String> {
        self.client
            .publish()
            .topic_arn(&self.arn)
            .subject(self::subject(subject))
            .message(message)
            .send()
            .await
            .map(drop)
            .map_err(|error| cause(&error))
    }
}
