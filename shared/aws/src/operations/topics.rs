//! The topics that alarms are sent to.

use aws_sdk_sns::Client;
use sallyport_core::store::{StoreError, StoreResult};
use sallyport_operations::recovery::{TopicListeners, Topics};

use crate::platform::{connection::Clients, meter::CallMeter, store::unavailable};

/// SNS, as far as it says who listens.
#[derive(Debug, Clone)]
pub struct SnsTopics(Option<Client>);

impl SnsTopics {
    pub fn new(clients: &Clients) -> Self {
        Self(clients.shared.as_ref().map(|shared| {
            let mut config = aws_sdk_sns::config::Builder::from(&shared.config).interceptor(CallMeter);
            config.set_endpoint_url(shared.endpoints.sns.clone());
            Client::from_conf(config.build())
        }))
    }

    pub fn from_client(client: Client) -> Self {
        Self(Some(client))
    }
}

impl Topics for SnsTopics {
    async fn listeners(&self, topic: &str) -> StoreResult<TopicListeners> {
        let operation = "ask topic";
        let client = self.0.as_ref().ok_or_else(|| StoreError::Unavailable {
            operation,
            reason: "not connected as a function".to_owned(),
        })?;
        let answer =
            client.get_topic_attributes().topic_arn(topic).send().await.map_err(unavailable(operation))?;
        let confirmed = answer
            .attributes()
            .and_then(|attributes| attributes.get("SubscriptionsConfirmed"))
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        Ok(TopicListeners { topic: topic.to_owned(), confirmed })
    }
}
