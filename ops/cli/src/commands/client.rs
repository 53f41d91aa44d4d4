//! `sallyport client`.

use std::fmt;

use clap::Subcommand;
use sallyport_core::{
    clients::{self, Client, ClientSecret, FindClient as _, ManageClients as _, is_client_id},
    clock::Timestamp,
};
use serde::Serialize;

use crate::{
    cli::{Change, Target},
    deployment::{Deployment, placeholder_keyring},
    failure::Failure,
    output::{Answer, Table, ago, moment},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Register a client, and show its secret this once.
    Add {
        /// Its id: 1 to 64 of a-z, 0-9 and -.
        #[arg(value_parser = client_id)]
        id: String,
        #[command(flatten)]
        change: Change,
    },
    /// List the clients.
    List,
    /// Remove a client: its secret works no more.
    Remove {
        /// Its id.
        #[arg(value_parser = client_id)]
        id: String,
        #[command(flatten)]
        change: Change,
    },
}

fn client_id(text: &str) -> Result<String, &'static str> {
    is_client_id(text).then(|| text.to_owned()).ok_or("1 to 64 of a-z, 0-9 and -")
}

impl ClientCommand {
    /// # Errors
    /// The id is taken; there is no such client; AWS.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::Add { id, change } => add(target, id, change).await,
            Self::List => list(target).await,
            Self::Remove { id, change } => remove(target, id, change).await,
        }
    }
}

#[derive(Serialize)]
struct Added {
    client_id: String,
    /// The one time that it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    dry_run: bool,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.client_secret {
            Some(secret) => {
                writeln!(f, "added client {}", self.client_id)?;
                writeln!(f, "secret, shown this once: {secret}")
            }
            None => writeln!(f, "would add client {}; nothing was changed", self.client_id),
        }
    }
}

async fn add(target: &Target, id: String, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let taken = || {
        Failure::conflict(
            "client_exists",
            format!("there is a client {id} already: remove it first, or choose another id"),
        )
    };
    if change.dry_run {
        if deployment.store.client(&id).await?.is_some() {
            return Err(taken());
        }
        return Answer::of(&Added { client_id: id, client_secret: None, dry_run: true });
    }
    let secret = ClientSecret::generate(deployment.random())?;
    let client = Client { id: id.clone(), secret: secret.hash(), created_at: deployment.now() };
    let keyring = placeholder_keyring(deployment.now())?;
    if !clients::add(&deployment.store, deployment.env(&keyring), &client, &Deployment::origin()?).await? {
        return Err(taken());
    }
    Answer::of(&Added { client_id: id, client_secret: Some(secret.expose().to_owned()), dry_run: false })
}

#[derive(Serialize)]
struct Listed {
    clients: Vec<Entry>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Serialize)]
struct Entry {
    client_id: String,
    /// Epoch seconds.
    created_at: u64,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.clients.is_empty() {
            return writeln!(f, "No clients.");
        }
        let mut table = Table::new(["client", "added", "age"]);
        for client in &self.clients {
            let at = Timestamp::from_seconds(client.created_at);
            table.row([client.client_id.clone(), moment(at), ago(at, self.now)]);
        }
        write!(f, "{table}")
    }
}

async fn list(target: &Target) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let mut clients = deployment.store.clients().await?;
    clients.sort_by(|left, right| left.id.cmp(&right.id));
    let clients = clients
        .into_iter()
        .map(|client| Entry { client_id: client.id, created_at: client.created_at.seconds() })
        .collect();
    Answer::of(&Listed { clients, now: deployment.now() })
}

#[derive(Serialize)]
struct Removed {
    client_id: String,
    removed: bool,
    dry_run: bool,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            writeln!(f, "would remove client {}; nothing was changed", self.client_id)
        } else {
            writeln!(f, "removed client {}", self.client_id)
        }
    }
}

async fn remove(target: &Target, id: String, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let absent = || Failure::not_found("client_not_found", format!("there is no client {id}"));
    if change.dry_run {
        deployment.store.client(&id).await?.ok_or_else(absent)?;
    } else {
        let keyring = placeholder_keyring(deployment.now())?;
        if !clients::remove(&deployment.store, deployment.env(&keyring), &id, &Deployment::origin()?).await? {
            return Err(absent());
        }
    }
    Answer::of(&Removed { client_id: id, removed: !change.dry_run, dry_run: change.dry_run })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_when_there_is_one() {
        let added = |client_secret: Option<&str>| Added {
            client_id: "billing".to_owned(),
            client_secret: client_secret.map(str::to_owned),
            dry_run: client_secret.is_none(),
        };
        insta::assert_snapshot!(added(Some("sps_x")), @r"
        added client billing
        secret, shown this once: sps_x
        ");
        insta::assert_snapshot!(added(None), @"would add client billing; nothing was changed");
    }

    #[test]
    fn clients_are_listed_with_their_age() {
        let clients = vec![Entry { client_id: "billing".to_owned(), created_at: 1_785_500_000 }];
        let listed = Listed { clients, now: Timestamp::from_seconds(1_785_506_531) };
        insta::assert_snapshot!(listed, @r"
        CLIENT   ADDED                 AGE
        billing  2026-07-31 12:13:20Z  109 min ago
        ");
    }
}
