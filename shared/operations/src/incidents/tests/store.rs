//! The ports in memory, as their documentation says.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard},
};

use sallyport_core::{audit::SecurityEvent, clock::Timestamp, ids::OperationId, store::StoreResult};

use super::super::{
    Cause, ChangeIncident, Entry, FindIncident, Incident, IncidentChange, IncidentId, ListIncidents, Notice,
    Notices, Pointer, ReadTimeline,
};
use crate::testing::interleaving::turn;

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) incidents: BTreeMap<IncidentId, Incident>,
    pub(super) causes: BTreeMap<Cause, (IncidentId, bool)>,
    pub(super) timeline: BTreeMap<(IncidentId, u64, u8), Entry>,
    pub(super) notices: BTreeMap<(IncidentId, u64), Notice>,
    pub(super) events: Vec<SecurityEvent>,
    /// Each call waits for its turn.
    pub(super) turns: bool,
    /// What each actor was told, all of it in one number.
    pub(super) told: BTreeMap<usize, u64>,
    /// Every change's reply is lost, and its repetition meets what it wrote.
    pub(super) lose: bool,
}

#[derive(Clone)]
pub(super) struct Memory(pub(super) Arc<Mutex<Kept>>, pub(super) usize);

impl Memory {
    async fn kept(&self) -> MutexGuard<'_, Kept> {
        if self.0.lock().unwrap().turns {
            turn().await;
        }
        self.0.lock().unwrap()
    }

    fn tell<T: Debug>(&self, kept: &mut Kept, reply: T) -> T {
        let told = kept.told.entry(self.1).or_default();
        let mut hasher = DefaultHasher::new();
        (*told, format!("{reply:?}")).hash(&mut hasher);
        *told = hasher.finish();
        reply
    }
}

impl FindIncident for Memory {
    async fn incident(&self, id: IncidentId) -> StoreResult<Option<Incident>> {
        let mut kept = self.kept().await;
        let found = kept.incidents.get(&id).cloned();
        Ok(self.tell(&mut kept, found))
    }

    async fn latest_of(&self, cause: &Cause) -> StoreResult<Option<Incident>> {
        let id = {
            let mut kept = self.kept().await;
            let id = kept.causes.get(cause).map(|(id, _)| *id);
            self.tell(&mut kept, id)
        };
        match id {
            Some(id) => self.incident(id).await,
            None => Ok(None),
        }
    }
}

impl ListIncidents for Memory {
    async fn open_incidents(&self) -> StoreResult<Vec<Incident>> {
        let kept = self.kept().await;
        let open = kept.causes.values().filter(|(_, open)| *open);
        Ok(open.filter_map(|(id, _)| kept.incidents.get(id)).filter(|i| i.is_open()).cloned().collect())
    }

    async fn incidents_since(&self, since: Timestamp) -> StoreResult<Vec<Incident>> {
        let kept = self.kept().await;
        Ok(kept.incidents.range(IncidentId::first_of(since)..).map(|(_, i)| i.clone()).collect())
    }
}

impl ReadTimeline for Memory {
    async fn timeline(&self, id: IncidentId) -> StoreResult<Vec<Entry>> {
        let kept = self.kept().await;
        Ok(kept.timeline.values().filter(|entry| entry.incident == id).cloned().collect())
    }
}

impl Kept {
    fn apply(&mut self, change: &IncidentChange) -> bool {
        let incident = &change.incident;
        let seen = self.incidents.get(&incident.id).map_or(0, |stored| stored.version);
        let leads = self.causes.get(&incident.cause).copied();
        let holds = match change.pointer {
            Pointer::Stays => true,
            Pointer::Moves(before) => leads == before.map(|before| (before, false)),
            Pointer::Marks => leads.is_some_and(|(id, _)| id == incident.id),
        };
        let given_up = change.given_up.as_ref().map(|notice| (notice.incident, notice.version));
        let there = given_up.is_none_or(|notice| self.notices.contains_key(&notice));
        if seen + 1 != incident.version || !holds || !there {
            return false;
        }
        if let Some(notice) = given_up {
            self.notices.remove(&notice);
        }
        self.incidents.insert(incident.id, incident.clone());
        if change.pointer != Pointer::Stays {
            self.causes.insert(incident.cause.clone(), (incident.id, incident.is_open()));
        }
        for entry in &change.entries {
            self.timeline.insert((entry.incident, entry.version, entry.index), entry.clone());
        }
        if let Some(notice) = &change.notice {
            self.notices.insert((notice.incident, notice.version), notice.clone());
        }
        self.events.extend(change.event.clone());
        true
    }
}

impl ChangeIncident for Memory {
    async fn change_incident(&self, change: &IncidentChange) -> StoreResult<bool> {
        let mut kept = self.kept().await;
        let applied = kept.apply(change);
        let reply = if kept.lose { kept.apply(change) } else { applied };
        Ok(self.tell(&mut kept, reply))
    }
}

impl Notices for Memory {
    async fn pending_notices(&self) -> StoreResult<Vec<Notice>> {
        Ok(self.kept().await.notices.values().cloned().collect())
    }

    async fn claim_notice(
        &self,
        notice: &Notice,
        operation: OperationId,
        until: Timestamp,
    ) -> StoreResult<bool> {
        let mut kept = self.kept().await;
        let stored = kept.notices.get_mut(&(notice.incident, notice.version));
        Ok(stored.filter(|stored| stored.attempts == notice.attempts).is_some_and(|stored| {
            stored.attempts += 1;
            stored.due_at = until;
            stored.claim = Some(operation);
            true
        }))
    }

    async fn mark_sent(&self, notice: &Notice, channel: &str) -> StoreResult<()> {
        if let Some(stored) = self.kept().await.notices.get_mut(&(notice.incident, notice.version)) {
            stored.sent.insert(channel.to_owned());
        }
        Ok(())
    }

    async fn forget_notice(&self, notice: &Notice) -> StoreResult<()> {
        self.kept().await.notices.remove(&(notice.incident, notice.version));
        Ok(())
    }
}
