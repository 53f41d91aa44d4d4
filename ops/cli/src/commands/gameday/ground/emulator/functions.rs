//! Where a stack's functions call.

use std::{collections::HashMap, time::Duration};

use aws_sdk_lambda::{
    Client,
    types::{Environment, LastUpdateStatus},
};

use super::super::FUNCTIONS;
use crate::{aws_fault, failure::Failure};

/// The SDKs' own variables, which no template sets.
const VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SECRETS_MANAGER"];

/// How often an update is asked after, and for how long.
const PAUSE: Duration = Duration::from_millis(200);
const ATTEMPTS: u32 = 150;

/// Functions that call somewhere else, with what their environment was.
pub(super) struct Functions {
    before: Vec<(String, HashMap<String, String>)>,
}

impl Functions {
    /// Has them call there.
    ///
    /// # Errors
    /// A function does not exist or can't be changed; those that were are put back.
    pub(super) async fn divert(client: &Client, stack: &str, url: &str) -> Result<Self, Failure> {
        let mut diverted = Self { before: Vec::new() };
        for function in FUNCTIONS {
            if let Err(failure) = diverted.divert_one(client, format!("{stack}-{function}"), url).await {
                // The next game mends what this could not.
                return Err(diverted.put_back(client).await.err().unwrap_or(failure));
            }
        }
        Ok(diverted)
    }

    async fn divert_one(&mut self, client: &Client, function: String, url: &str) -> Result<(), Failure> {
        let mut before = variables(client, &function).await?;
        before.retain(|name, _| !VARIABLES.contains(&name.as_str()));
        let mut diverted = before.clone();
        diverted.extend(VARIABLES.map(|name| (name.to_owned(), url.to_owned())));
        self.before.push((function.clone(), before));
        update(client, &function, diverted).await
    }

    /// Has them call where they did. All are tried, whatever becomes of one.
    ///
    /// # Errors
    /// A function can't be changed.
    pub(super) async fn put_back(&mut self, client: &Client) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for (function, variables) in std::mem::take(&mut self.before) {
            outcome = outcome.and(update(client, &function, variables).await);
        }
        outcome.map_err(|failure| {
            let message =
                format!("{}: a function calls nowhere until the next game mends it", failure.message);
            Failure::dependency("update_failed", message)
        })
    }
}

/// Puts back the functions of a game that was killed, and could not do it.
///
/// # Errors
/// A function does not exist or can't be changed.
pub(super) async fn mend(client: &Client, stack: &str) -> Result<(), Failure> {
    for function in FUNCTIONS {
        let function = format!("{stack}-{function}");
        let mut variables = variables(client, &function).await?;
        let found = variables.len();
        variables.retain(|name, _| !VARIABLES.contains(&name.as_str()));
        if variables.len() < found {
            update(client, &function, variables).await?;
        }
    }
    Ok(())
}

async fn variables(client: &Client, function: &str) -> Result<HashMap<String, String>, Failure> {
    let asked = client.get_function_configuration().function_name(function).send().await;
    let answer = asked.map_err(|error| aws_fault::from_sdk(&format!("look at {function}"), &error))?;
    Ok(answer.environment().and_then(|environment| environment.variables()).cloned().unwrap_or_default())
}

async fn update(client: &Client, function: &str, variables: HashMap<String, String>) -> Result<(), Failure> {
    let failed = |error| aws_fault::from_sdk(&format!("change {function}"), &error);
    let environment = Environment::builder().set_variables(Some(variables)).build();
    client
        .update_function_configuration()
        .function_name(function)
        .environment(environment)
        .send()
        .await
        .map_err(failed)?;
    for _ in 0..ATTEMPTS {
        let asked = client.get_function_configuration().function_name(function).send().await;
        let answer = asked.map_err(|error| aws_fault::from_sdk(&format!("look at {function}"), &error))?;
        match answer.last_update_status() {
            Some(LastUpdateStatus::InProgress) => tokio::time::sleep(PAUSE).await,
            Some(LastUpdateStatus::Failed) => break,
            _ => return Ok(()),
        }
    }
    Err(Failure::dependency("update_failed", format!("the change of {function} does not come through")))
}
