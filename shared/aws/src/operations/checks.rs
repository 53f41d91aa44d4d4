//! Probes of the tables.

use sallyport_core::{checks::Component, store::StoreResult};

use crate::platform::{
    item::s,
    store::{Store, unavailable},
};

impl Store {
    /// One consistent read of a key that is never there.
    ///
    /// # Errors
    /// The table does not answer. The keyring is not a table: it answers always, here.
    pub async fn probe_table(&self, component: Component) -> StoreResult<()> {
        let (table, key) = match component {
            Component::Users => (&self.tables.users, vec![("pk", "HEALTH"), ("sk", "PROBE")]),
            Component::Sessions => (&self.tables.sessions, vec![("user_id", "HEALTH")]),
            Component::Throttle => (&self.tables.throttle, vec![("key", "HEALTH")]),
            Component::Keyring => return Ok(()),
        };
        let mut get = self.client.get_item().table_name(table).consistent_read(true);
        for (name, value) in key {
            get = get.key(name, s(value));
        }
        get.send().await.map(drop).map_err(unavailable("probe table"))
    }
}
