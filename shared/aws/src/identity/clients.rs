//! Ops table: confidential clients.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{Delete, Put};
use sallyport_core::{
    audit::SecurityEvent,
    clients::{Client, ClientSecretHash, FindClient, ManageClients, is_client_id},
    store::StoreResult,
};

use crate::platform::{
    item::{ITEM_FORMAT, Item, Reader, b, millis, n, s},
    store::{Committed, Store, Transaction, unavailable, unbuildable},
};

const TABLE: &str = "ops";

fn key(id: &str) -> Item {
    HashMap::from([("pk".to_owned(), s("CLIENT")), ("sk".to_owned(), s(id))])
}

pub(crate) fn write_client(client: &Client) -> Item {
    let mut item = key(&client.id);
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item.insert("secret".to_owned(), b(*client.secret.as_bytes()));
    item.insert("created_at".to_owned(), millis(client.created_at));
    item
}

pub(crate) fn read_client(item: &Item) -> StoreResult<Client> {
    let reader = Reader::new(TABLE, "CLIENT", item);
    reader.format()?;
    let id = reader.text("sk")?;
    if !is_client_id(id) {
        return Err(reader.corrupt("sk", "not a client's id"));
    }
    let secret = reader.bytes("secret")?.try_into().map_err(|_| reader.corrupt("secret", "not 32 bytes"))?;
    Ok(Client {
        id: id.to_owned(),
        secret: ClientSecretHash::from_bytes(secret),
        created_at: reader.instant("created_at")?,
    })
}

impl FindClient for Store {
    async fn client(&self, id: &str) -> StoreResult<Option<Client>> {
        self.ops_item(key(id), "read client").await?.map(|item| read_client(&item)).transpose()
    }
}

impl ManageClients for Store {
    async fn add_client(&self, client: &Client, event: &SecurityEvent) -> StoreResult<bool> {
        let operation = "add client";
        let put = Put::builder()
            .table_name(&self.tables.ops)
            .set_item(Some(write_client(client)))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(unbuildable(operation))?;
        let committed = Transaction::default()
            .put(put)
            .put(self.event_put(event)?)
            .commit(&self.client, operation)
            .await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(committed == Committed::Yes)
    }

    async fn remove_client(&self, id: &str, event: &SecurityEvent) -> StoreResult<bool> {
        let operation = "remove client";
        let delete = Delete::builder()
            .table_name(&self.tables.ops)
            .set_key(Some(key(id)))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(unbuildable(operation))?;
        let committed = Transaction::default()
            .delete(delete)
            .put(self.event_put(event)?)
            .commit(&self.client, operation)
            .await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(committed == Committed::Yes)
    }

    async fn clients(&self) -> StoreResult<Vec<Client>> {
        let mut clients = Vec::new();
        let mut pages = self
            .client
            .query()
            .table_name(&self.tables.ops)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", s("CLIENT"))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            clients.push(read_client(&item.map_err(unavailable("list clients"))?)?);
        }
        Ok(clients)
    }
}
