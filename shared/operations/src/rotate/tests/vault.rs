//! A secret with versions, by the rules of Secrets Manager, whose calls can be made to fail before or after they act.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use sallyport_core::{
    audit::{RecordEvent, SecurityEvent},
    clock::Timestamp,
    keyring::KeyringDocument,
    secret::Secret,
    store::{StoreError, StoreResult},
};

use crate::rotate::{CURRENT, KeyringVersions, OutdateCopies, PENDING, PREVIOUS, Versions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The call fails and has done nothing.
    Before,
    /// The call has acted, and its answer is lost.
    After,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, String>,
    stages: BTreeMap<String, BTreeSet<String>>,
    /// By the key under which they are stored.
    events: BTreeMap<String, SecurityEvent>,
    /// From when copies must be.
    copies_from: Option<Timestamp>,
    calls: usize,
    fault: Option<(usize, Fault)>,
}

pub(super) struct Vault {
    pub(super) rotation_enabled: bool,
    state: Mutex<State>,
}

impl Vault {
    pub(super) fn holding(document: &KeyringDocument) -> Self {
        let vault = Self { rotation_enabled: true, state: Mutex::default() };
        vault.put("first", CURRENT, document);
        vault
    }

    pub(super) fn put(&self, id: &str, stage: &str, document: &KeyringDocument) {
        let mut state = self.state.lock().unwrap();
        state.values.insert(id.to_owned(), serde_json::to_string(document).unwrap());
        state.attach(stage, id);
    }

    /// Puts any text into a version, whatever its stages.
    pub(super) fn write(&self, id: &str, text: &str) {
        self.state.lock().unwrap().values.insert(id.to_owned(), text.to_owned());
    }

    /// What RotateSecret does: the version is there, pending, and holds nothing.
    pub(super) fn reserve(&self, id: &str) {
        self.state.lock().unwrap().attach(PENDING, id);
    }

    pub(super) fn fail(&self, call: usize, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        (state.calls, state.fault) = (0, Some((call, fault)));
    }

    /// Whether the fault that was ordered has struck.
    pub(super) fn has_failed(&self) -> bool {
        self.state.lock().unwrap().fault.is_none()
    }

    pub(super) fn current(&self) -> KeyringDocument {
        let state = self.state.lock().unwrap();
        let id = state.holder(CURRENT).unwrap();
        serde_json::from_str(&state.values[&id]).unwrap()
    }

    pub(super) fn holder(&self, stage: &str) -> Option<String> {
        self.state.lock().unwrap().holder(stage)
    }

    pub(super) fn events(&self) -> Vec<SecurityEvent> {
        self.state.lock().unwrap().events.values().cloned().collect()
    }

    pub(super) fn copies_from(&self) -> Option<Timestamp> {
        self.state.lock().unwrap().copies_from
    }

    fn call<T>(&self, act: impl FnOnce(&mut State) -> T) -> StoreResult<T> {
        let mut state = self.state.lock().unwrap();
        let number = state.calls;
        state.calls += 1;
        let fault = state.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        if fault.is_some() {
            state.fault = None;
        }
        let lost = StoreError::Unavailable { operation: "test", reason: "fault".to_owned() };
        if fault == Some(Fault::Before) {
            return Err(lost);
        }
        let done = act(&mut state);
        if fault == Some(Fault::After) { Err(lost) } else { Ok(done) }
    }
}

impl State {
    fn holder(&self, stage: &str) -> Option<String> {
        self.stages.iter().find(|(_, stages)| stages.contains(stage)).map(|(id, _)| id.clone())
    }

    fn attach(&mut self, stage: &str, id: &str) {
        let from = self.holder(stage);
        if let Some(from) = &from {
            self.stages.get_mut(from).unwrap().remove(stage);
        }
        self.stages.entry(id.to_owned()).or_default().insert(stage.to_owned());
        if let Some(from) = from.filter(|from| stage == CURRENT && from != id) {
            self.attach(PREVIOUS, &from);
        }
    }
}

impl KeyringVersions for Vault {
    async fn versions(&self) -> StoreResult<Versions> {
        let rotation_enabled = self.rotation_enabled;
        self.call(|state| Versions {
            rotation_enabled,
            stages: state
                .stages
                .iter()
                .filter(|(_, stages)| !stages.is_empty())
                .map(|(id, stages)| (id.clone(), stages.iter().cloned().collect()))
                .collect(),
        })
    }

    async fn version(&self, id: &str) -> StoreResult<Option<Secret<String>>> {
        self.call(|state| state.values.get(id).cloned().map(Secret::new))
    }

    async fn put_pending(&self, id: &str, document: &KeyringDocument) -> StoreResult<bool> {
        let text = serde_json::to_string(document).unwrap();
        self.call(|state| match state.values.get(id) {
            Some(held) => *held == text,
            None => {
                state.values.insert(id.to_owned(), text);
                state.attach(PENDING, id);
                true
            }
        })
    }

    async fn make_current(&self, to: &str, from: &str) -> StoreResult<bool> {
        self.call(|state| {
            let holds = state.holder(CURRENT).as_deref() == Some(from);
            if holds {
                state.attach(CURRENT, to);
            }
            holds
        })
    }

    async fn drop_pending(&self, id: &str) -> StoreResult<()> {
        self.call(|state| {
            if let Some(stages) = state.stages.get_mut(id) {
                stages.remove(PENDING);
            }
        })
    }
}

impl OutdateCopies for Vault {
    async fn outdate_copies(&self, from: Timestamp) -> StoreResult<()> {
        self.call(|state| state.copies_from = state.copies_from.max(Some(from)))
    }
}

impl RecordEvent for Vault {
    async fn record(&self, event: &SecurityEvent) -> StoreResult<()> {
        let key = format!("{:?}#{}", event.at, event.id);
        self.call(|state| {
            state.events.entry(key).or_insert_with(|| event.clone());
        })
    }
}
