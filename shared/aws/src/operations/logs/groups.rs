//! The log groups of a deployment, and how long they keep a line.

use aws_sdk_cloudwatchlogs::Client;
use sallyport_operations::retention::LogGroup;

use super::{LogsError, insights::unavailable};
use crate::platform::connection::Clients;

/// The groups whose names begin alike.
#[derive(Debug, Clone)]
pub struct LogGroups {
    client: Client,
    prefix: String,
}

impl LogGroups {
    pub const fn new(client: Client, prefix: String) -> Self {
        Self { client, prefix }
    }

    /// For a function. `None` for clients that were not connected by one.
    pub fn of_function(clients: &Clients, prefix: String) -> Option<Self> {
        Some(Self::new(super::client_of_function(clients)?, prefix))
    }

    /// By name.
    ///
    /// # Errors
    /// CloudWatch.
    pub async fn list(&self) -> Result<Vec<LogGroup>, LogsError> {
        let asked = self.client.describe_log_groups().log_group_name_prefix(&self.prefix);
        let mut pages = asked.into_paginator().items().send();
        let mut groups = Vec::new();
        while let Some(group) = pages.next().await {
            let group = group.map_err(unavailable("find the log groups"))?;
            let days = group.retention_in_days().and_then(|days| u32::try_from(days).ok());
            groups.extend(group.log_group_name.map(|name| LogGroup { name, days }));
        }
        Ok(groups)
    }
}
