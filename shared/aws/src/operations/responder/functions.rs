//! Functions of the deployment, as Lambda knows them.

use std::time::Duration;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;

use crate::platform::{cause::cause, connection::Clients, meter::CallMeter};

/// The logs take longer to answer: a diagnosis does not wait for this.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Functions(Client);

impl Functions {
    /// `None` for clients that were not connected by a function.
    pub fn new(clients: &Clients) -> Option<Self> {
        let shared = clients.shared.as_ref()?;
        let mut config = aws_sdk_lambda::config::Builder::from(&shared.config)
            .timeout_config(TimeoutConfig::builder().operation_timeout(LIMIT).build())
            .interceptor(CallMeter);
        config.set_endpoint_url(shared.endpoints.lambda.clone());
        Some(Self(Client::from_conf(config.build())))
    }

    /// When code or settings of a function were changed last: ISO 8601 with an offset without a colon, as Lambda writes it.
    ///
    /// # Errors
    /// Lambda, in the operator's words.
    pub async fn changed_at(&self, function: &str) -> Result<String, String> {
        let answer = self.0.get_function_configuration().function_name(function).send().await;
        let answer = answer.map_err(|error| cause(&error))?;
        answer.last_modified().map(str::to_owned).ok_or_else(|| format!("{function} has no date"))
    }
}
