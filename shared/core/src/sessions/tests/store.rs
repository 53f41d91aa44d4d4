//! The ports in memory, as their documentation says.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard},
};

use super::super::{
    AddSession, Added, EndAll, EndAllSessions, EndSessions, GiveWay, ReadSessions, RotateSession, Rotation,
    RotationRequest, Session, Surplus, UserSessions,
};
use crate::{
    accounts::{Email, Epoch, LoginRecord, LoginRecords, Profile},
    audit::SecurityEvent,
    clock::Timestamp,
    ids::{DeviceKey, SessionId, UserId},
    messages::Message,
    store::{StoreError, StoreResult},
    testing::interleaving::turn,
    throttle::{DeviceUse, Generation},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Arrives,
    /// Applied, lost, repeated.
    Repeated,
    /// Never applied.
    Refused,
}

/// The item of one user, and what was written beside it.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) held: UserSessions,
    pub(super) events: Vec<SecurityEvent>,
    pub(super) messages: Vec<Message>,
    pub(super) calls: u32,
    /// Sessions whose end was acknowledged.
    pub(super) ended: BTreeSet<SessionId>,
    pub(super) disabled: bool,
    /// The epoch of the login record.
    record: Epoch,
    told: BTreeMap<usize, u64>,
}

impl Store {
    fn rotate(&mut self, request: RotationRequest) -> Rotation {
        let rotates = |session: &&mut Session| {
            session.id == request.session
                && session.counter == request.presented
                && session.is_live(request.now)
        };
        if let Some(session) = self.held.sessions.iter_mut().find(rotates) {
            session.counter += 1;
            session.rotated_at = request.now;
            session.rotated_by = request.operation;
            session.idle_until = request.idle_until;
            return Rotation::Rotated(session.clone());
        }
        Rotation::Refused((self.held != UserSessions::default()).then(|| self.held.clone()))
    }

    fn repeat(&mut self, request: RotationRequest, device: DeviceKey, generation: u32) -> Rotation {
        let held = self.held.device(device).map(|device| device.generation.number).unwrap_or_default();
        if held != generation {
            return Rotation::Refused(Some(self.held.clone()));
        }
        let rotated = self.rotate(request);
        if let Rotation::Rotated(session) = &rotated {
            let device = self.held.devices.entry(device).or_default();
            device.known.get_or_insert(DeviceUse::first(request.now));
            device.generation = Generation { number: generation + 1, counter: session.counter };
        }
        rotated
    }

    fn give_way(&mut self, surplus: &Surplus, event: Option<&SecurityEvent>) {
        let gone: Vec<_> = surplus.over.iter().chain(&surplus.displaced).copied().collect();
        self.held.sessions.retain(|session| !gone.contains(&session.id));
        self.held.devices.retain(|key, _| !surplus.devices.iter().any(|(gone, _)| gone == key));
        self.events.extend(event.cloned());
    }

    fn end(&mut self, sessions: &[SessionId], event: &SecurityEvent, message: Option<&Message>) -> bool {
        // Written twice is written once.
        if self.events.iter().any(|written| written.id == event.id) {
            return true;
        }
        if !sessions.iter().any(|id| self.held.find(*id).is_some()) {
            return false;
        }
        self.held.sessions.retain(|session| !sessions.contains(&session.id));
        self.events.push(event.clone());
        self.messages.extend(message.cloned());
        true
    }

    fn end_all(&mut self, epoch: Epoch, session: SessionId, event: &SecurityEvent) -> bool {
        if self.events.iter().any(|written| written.id == event.id) {
            return true;
        }
        if self.record != epoch || self.held.epoch != epoch || self.held.find(session).is_none() {
            return false;
        }
        self.begin_epoch();
        self.events.push(event.clone());
        true
    }

    fn begin_epoch(&mut self) {
        self.record = self.record.next();
        self.held = UserSessions { epoch: self.record, ..UserSessions::default() };
    }

    fn add(&mut self, epoch: Epoch, session: &Session) -> Added {
        if self.held.epoch != epoch {
            return Added::EpochPassed;
        }
        self.held.sessions.retain(|held| held.id != session.id);
        self.held.sessions.push(session.clone());
        let device = self.held.devices.entry(session.device.key()).or_default();
        device.known = Some(DeviceUse::first(session.created_at));
        Added::Among(self.held.clone())
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.held).hash(&mut hasher);
        (&self.ended, self.disabled, self.record.0, self.events.len(), &self.told).hash(&mut hasher);
        hasher.finish()
    }
}

#[derive(Clone)]
pub(super) struct Port {
    store: Arc<Mutex<Store>>,
    actor: usize,
    replies: Arc<Mutex<Vec<Reply>>>,
}

impl Port {
    pub(super) fn of(actor: usize, store: &Arc<Mutex<Store>>, mut replies: Vec<Reply>) -> Self {
        replies.reverse();
        Self { store: store.clone(), actor, replies: Arc::new(Mutex::new(replies)) }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    async fn call<T: std::fmt::Debug>(
        &self,
        mut apply: impl FnMut(&mut Store) -> T + Send,
    ) -> StoreResult<T> {
        let reply = self.replies.lock().unwrap().pop().unwrap_or(Reply::Arrives);
        turn().await;
        if reply == Reply::Refused {
            return Err(StoreError::Unavailable { operation: "test", reason: "refused".to_owned() });
        }
        let mut told = self.apply(&mut apply);
        if reply == Reply::Repeated {
            self.note(&"lost");
            turn().await;
            told = self.apply(&mut apply);
        }
        self.note(&told);
        Ok(told)
    }

    fn apply<T>(&self, apply: &mut impl FnMut(&mut Store) -> T) -> T {
        let mut store = self.store();
        store.calls += 1;
        apply(&mut store)
    }

    fn note(&self, told: &impl std::fmt::Debug) {
        if self.actor == 0 {
            return;
        }
        let mut store = self.store();
        let before = store.told.get(&self.actor).copied().unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        (before, format!("{told:?}")).hash(&mut hasher);
        store.told.insert(self.actor, hasher.finish());
    }

    /// A password change, a reset, a disabling: all sessions end under a new epoch, in one write.
    pub(super) async fn disable(&self) {
        turn().await;
        let mut store = self.store();
        store.begin_epoch();
        store.disabled = true;
        store.told.insert(self.actor, 1);
    }
}

impl Port {
    /// The epoch as a sign-in reads it, with the status: `None` where nobody may sign in.
    pub(super) async fn record_epoch(&self) -> Option<Epoch> {
        self.call(|store| (!store.disabled).then_some(store.record)).await.unwrap()
    }
}

impl LoginRecords for Port {
    async fn login_record(&self, _: &Email) -> StoreResult<Option<LoginRecord>> {
        panic!("ending sessions reads no login record")
    }

    async fn profile(&self, user: UserId) -> StoreResult<Option<Profile>> {
        let email: Email = "ada@example.com".parse().unwrap();
        self.call(|_| {
            Some(Profile { user, email: email.clone(), created_at: Timestamp::default(), enrolling: None })
        })
        .await
    }
}

impl EndAllSessions for Port {
    async fn end_all(&self, all: &EndAll<'_>) -> StoreResult<bool> {
        self.call(|store| store.end_all(all.epoch, all.session, all.event)).await
    }
}

impl RotateSession for Port {
    async fn rotate(&self, request: RotationRequest) -> StoreResult<Rotation> {
        self.call(|store| store.rotate(request)).await
    }

    async fn repeat(
        &self,
        request: RotationRequest,
        device: DeviceKey,
        generation: u32,
    ) -> StoreResult<Rotation> {
        self.call(|store| store.repeat(request, device, generation)).await
    }
}

impl GiveWay for Port {
    async fn give_way(&self, _: UserId, surplus: &Surplus, event: Option<&SecurityEvent>) -> StoreResult<()> {
        self.call(|store| store.give_way(surplus, event)).await
    }
}

impl EndSessions for Port {
    async fn end(
        &self,
        _: UserId,
        sessions: &[SessionId],
        event: &SecurityEvent,
        message: Option<&Message>,
    ) -> StoreResult<bool> {
        self.call(|store| store.end(sessions, event, message)).await
    }
}

impl AddSession for Port {
    async fn add_session(&self, _: UserId, epoch: Epoch, session: &Session) -> StoreResult<Added> {
        self.call(|store| store.add(epoch, session)).await
    }
}

impl ReadSessions for Port {
    async fn sessions(&self, _: UserId) -> StoreResult<UserSessions> {
        self.call(|store| store.held.clone()).await
    }
}
