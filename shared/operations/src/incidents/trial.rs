//! A change on trial: decided by the same rules, and written nowhere.

use sallyport_core::store::StoreResult;

use super::{Cause, ChangeIncident, Entry, FindIncident, Incident, IncidentChange, IncidentId, ReadTimeline};

/// An incident as it was read, for ports that keep nothing.
#[derive(Debug, Clone)]
pub struct Trial {
    incident: Incident,
    timeline: Vec<Entry>,
}

impl Trial {
    pub const fn new(incident: Incident, timeline: Vec<Entry>) -> Self {
        Self { incident, timeline }
    }
}

impl FindIncident for Trial {
    async fn incident(&self, id: IncidentId) -> StoreResult<Option<Incident>> {
        Ok(Some(self.incident.clone()).filter(|incident| incident.id == id))
    }

    async fn latest_of(&self, cause: &Cause) -> StoreResult<Option<Incident>> {
        Ok(Some(self.incident.clone()).filter(|incident| incident.cause == *cause))
    }
}

impl ReadTimeline for Trial {
    async fn timeline(&self, _: IncidentId) -> StoreResult<Vec<Entry>> {
        Ok(self.timeline.clone())
    }
}

impl ChangeIncident for Trial {
    async fn change_incident(&self, _: &IncidentChange) -> StoreResult<bool> {
        Ok(true)
    }
}
