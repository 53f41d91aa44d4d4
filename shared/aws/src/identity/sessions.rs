//! Sessions table: one item per user, a session an attribute `s_<id>`.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, Update},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sallyport_core::{
    accounts::Epoch,
    address::ClientAddress,
    audit::SecurityEvent,
    clock::Timestamp,
    ids::{DeviceId, DeviceKey, OperationId, SessionId, UserId},
    login::Restamp,
    messages::Message,
    sessions::{
        AddSession, Added, EndAll, EndAllSessions, EndSessions, GiveWay, Methods, Proofs, ReadSessions,
        RotateSession, Rotation, RotationRequest, Session, Surplus, UserSessions,
    },
    store::StoreResult,
    throttle::{DeviceUse, Generation},
    tokens::Delivery,
};

use crate::{
    identity::{
        accounts::login_key,
        devices::{
            STRANGERS_SHUT, attributes_of, generation_attribute, read_devices, use_attribute,
            write_generation,
        },
        messages::write_message,
    },
    platform::{
        item::{ITEM_FORMAT, Item, Reader, b, millis, n, s},
        store::{Committed, Store, Transaction, if_held, unavailable, unbuildable},
    },
};

const TABLE: &str = "sessions";

/// The item stays this long after the last sign-in at least: longer than any session and any device token, so that the epoch
/// outlives whatever it has to refuse, and a device is known as long as its token.
pub(crate) const KEPT: Duration = Duration::from_secs(181 * 24 * 60 * 60);

pub(crate) fn attribute(session: SessionId) -> String {
    format!("s_{}", URL_SAFE_NO_PAD.encode(session.as_bytes()))
}

fn session_of(name: &str) -> Option<SessionId> {
    let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
    bytes.try_into().ok().map(SessionId::from_bytes)
}

/// Names within a session are one letter long: ten sessions fit into two write units.
pub(crate) fn write_session(session: &Session) -> AttributeValue {
    let mut item = HashMap::from([
        ("c".to_owned(), n(session.counter)),
        ("t".to_owned(), millis(session.created_at)),
        ("k".to_owned(), millis(session.authenticated_at())),
        ("r".to_owned(), millis(session.rotated_at)),
        ("o".to_owned(), b(*session.rotated_by.as_bytes())),
        ("i".to_owned(), millis(session.idle_until)),
        ("a".to_owned(), millis(session.absolute_until)),
        ("m".to_owned(), n(method_bits(session.proofs.methods()))),
        ("d".to_owned(), b(*session.device.as_bytes())),
        ("p".to_owned(), b(session.address.octets())),
        ("g".to_owned(), s(&session.agent)),
    ]);
    if let Some(more) = write_more(session) {
        item.insert("w".to_owned(), b(more));
    }
    AttributeValue::M(item)
}

/// That its refresh token is a cookie, in `w`.
const COOKIE: u8 = 1 << 3;

/// What `k` and `m`, which the release before reads and writes, can't say: whether the refresh token is a cookie, and when each
/// method was proven. A byte of flags, and for each method that was proven after the session's creation how many seconds after
/// it, in three bytes (194 days; a session lasts 90). `None` for what most sessions are: of one proof, in the body.
fn write_more(session: &Session) -> Option<Vec<u8>> {
    let Proofs { password, otp, recovery_code } = session.proofs;
    let later = [password, otp, recovery_code].map(|at| at.filter(|at| *at > session.created_at));
    let mut more = vec![if session.delivery == Delivery::Cookie { COOKIE } else { 0 }];
    for (method, at) in later.into_iter().enumerate() {
        if let (Some(at), Some(flags)) = (at, more.first_mut()) {
            *flags |= 1 << method;
            let seconds = u32::try_from(at.since(session.created_at).as_secs()).unwrap_or(u32::MAX);
            let [_, bytes @ ..] = seconds.min(0x00ff_ffff).to_be_bytes();
            more.extend(bytes);
        }
    }
    (more != [0]).then_some(more)
}

/// The release before wrote one time for all methods, which any of them renewed: with a second factor it says nothing of
/// either, except that neither is older than the session. With the password alone it is the password's.
fn read_more(reader: Reader<'_>, created_at: Timestamp) -> StoreResult<(Proofs, Delivery)> {
    let methods = methods_of(reader.number("m")?);
    let one: Timestamp = reader.instant("k")?;
    let mut proofs = Proofs::at(methods, created_at);
    let more = if reader.has("w") { reader.bytes("w")? } else { &[0] };
    let (flags, mut times) = more.split_first().ok_or_else(|| reader.corrupt("w", "empty"))?;
    for (method, proof) in
        [&mut proofs.password, &mut proofs.otp, &mut proofs.recovery_code].into_iter().enumerate()
    {
        if flags & (1 << method) != 0 {
            let (bytes, rest) =
                times.split_first_chunk::<3>().ok_or_else(|| reader.corrupt("w", "too short"))?;
            let [high, middle, low] = *bytes;
            let seconds = u32::from_be_bytes([0, high, middle, low]);
            *proof = Some(created_at + Duration::from_secs(seconds.into()));
            times = rest;
        }
    }
    if methods == Methods::PASSWORD {
        proofs.password = proofs.password.max(Some(one));
    }
    let delivery = if flags & COOKIE == 0 { Delivery::Body } else { Delivery::Cookie };
    Ok((proofs, delivery))
}

fn read_session(id: SessionId, reader: Reader<'_>) -> StoreResult<Session> {
    let created_at = reader.instant("t")?;
    let (proofs, delivery) = read_more(reader, created_at)?;
    Ok(Session {
        id,
        counter: reader.number("c")?,
        created_at,
        rotated_at: reader.instant("r")?,
        rotated_by: OperationId::from_bytes(reader.id("o")?),
        idle_until: reader.instant("i")?,
        absolute_until: reader.instant("a")?,
        proofs,
        delivery,
        device: DeviceId::from_bytes(reader.id("d")?),
        address: ClientAddress::from_octets(reader.bytes("p")?)
            .ok_or_else(|| reader.corrupt("p", "not an address"))?,
        agent: reader.text("g")?.to_owned(),
    })
}

fn method_bits(methods: Methods) -> u8 {
    u8::from(methods.password) | u8::from(methods.otp) << 1 | u8::from(methods.recovery_code) << 2
}

fn methods_of(bits: u8) -> Methods {
    Methods { password: bits & 1 != 0, otp: bits & 2 != 0, recovery_code: bits & 4 != 0 }
}

pub(crate) fn read_sessions(user: UserId, item: &Item) -> StoreResult<UserSessions> {
    let key = user.to_string();
    let reader = Reader::new(TABLE, &key, item);
    reader.format()?;
    let mut sessions = reader
        .named("s_")
        .map(|(name, id)| {
            let id = session_of(id).ok_or_else(|| reader.corrupt(name, "not a session's id"))?;
            read_session(id, reader.map(name)?)
        })
        .collect::<StoreResult<Vec<_>>>()?;
    sessions.sort_by_key(|session| (session.created_at, session.id));
    Ok(UserSessions {
        epoch: Epoch(reader.number("epoch")?),
        sessions,
        devices: read_devices(reader)?,
        strangers_shut: reader.has(STRANGERS_SHUT) && reader.flag(STRANGERS_SHUT)?,
    })
}

/// The item of a user whose sessions have all ended under a new epoch.
pub(crate) fn emptied_item(user: UserId, epoch: Epoch, now: Timestamp) -> Item {
    HashMap::from([
        ("user_id".to_owned(), s(user)),
        ("v".to_owned(), n(ITEM_FORMAT)),
        ("epoch".to_owned(), n(epoch.0)),
        ("expires_at".to_owned(), n((now + KEPT).seconds())),
    ])
}

/// Adding a session, as a part of a transaction.
pub(crate) fn adding(
    table: &str,
    user: UserId,
    epoch: Epoch,
    session: &Session,
    surplus: &Surplus,
) -> StoreResult<Update> {
    let mut update = Update::builder()
        .table_name(table)
        .key("user_id", s(user))
        .condition_expression(EPOCH_HOLDS)
        .expression_attribute_names("#session", attribute(session.id))
        .expression_attribute_names("#device", use_attribute(session.device.key()))
        .expression_attribute_values(":session", write_session(session))
        .expression_attribute_values(":use", n(DeviceUse::first(session.created_at).stored()))
        .expression_attribute_values(":epoch", n(epoch.0))
        .expression_attribute_values(":v", n(ITEM_FORMAT))
        .expression_attribute_values(":expires", n((session.created_at + KEPT).seconds()));
    let mut expression = ADD_SESSION.to_owned();
    for (index, attribute) in leaving(surplus).into_iter().enumerate() {
        let name = format!("#leaving{index}");
        expression.push_str(if index == 0 { " REMOVE " } else { ", " });
        expression.push_str(&name);
        update = update.expression_attribute_names(name, attribute);
    }
    update.update_expression(expression).build().map_err(unbuildable("add session"))
}

/// The attributes of what makes room.
fn leaving(surplus: &Surplus) -> Vec<String> {
    let sessions = surplus.over.iter().chain(&surplus.displaced).map(|session| attribute(*session));
    let devices = surplus.devices.iter().flat_map(|(key, device)| attributes_of(*key, device));
    sessions.chain(devices).collect()
}

pub(crate) const EPOCH_HOLDS: &str = "attribute_not_exists(epoch) OR epoch = :epoch";
const ADD_SESSION: &str =
    "SET #session = :session, #device = :use, epoch = :epoch, v = :v, expires_at = :expires";

impl AddSession for Store {
    async fn add_session(&self, user: UserId, epoch: Epoch, session: &Session) -> StoreResult<Added> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.tables.sessions)
            .key("user_id", s(user))
            .update_expression(ADD_SESSION)
            .condition_expression(EPOCH_HOLDS)
            .expression_attribute_names("#session", attribute(session.id))
            .expression_attribute_names("#device", use_attribute(session.device.key()))
            .expression_attribute_values(":session", write_session(session))
            .expression_attribute_values(":use", n(DeviceUse::first(session.created_at).stored()))
            .expression_attribute_values(":epoch", n(epoch.0))
            .expression_attribute_values(":v", n(ITEM_FORMAT))
            .expression_attribute_values(":expires", n((session.created_at + KEPT).seconds()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match if_held(sent, "add session")? {
            Some(answer) => Ok(Added::Among(read_sessions(user, &answer.attributes.unwrap_or_default())?)),
            None => Ok(Added::EpochPassed),
        }
    }
}

impl RotateSession for Store {
    async fn rotate(&self, request: RotationRequest) -> StoreResult<Rotation> {
        self.rotate_session(request, None, None).await
    }

    async fn repeat(
        &self,
        request: RotationRequest,
        device: DeviceKey,
        generation: u32,
    ) -> StoreResult<Rotation> {
        self.rotate_session(request, None, Some((device, generation))).await
    }
}

impl Restamp for Store {
    async fn restamp(
        &self,
        request: RotationRequest,
        epoch: Epoch,
        stamped: &Session,
    ) -> StoreResult<Rotation> {
        self.rotate_session(request, Some((epoch, stamped)), None).await
    }
}

impl Store {
    async fn rotate_session(
        &self,
        request: RotationRequest,
        stamp: Option<(Epoch, &Session)>,
        repeat: Option<(DeviceKey, u32)>,
    ) -> StoreResult<Rotation> {
        let mut expression =
            "SET #s.#counter = :next, #s.#rotated = :now, #s.#operation = :operation, #s.#idle = :idle"
                .to_owned();
        let mut condition = "#s.#counter = :presented AND #s.#idle > :now AND #s.#absolute > :now".to_owned();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.tables.sessions)
            .key("user_id", s(request.user))
            .expression_attribute_names("#s", attribute(request.session))
            .expression_attribute_names("#counter", "c")
            .expression_attribute_names("#rotated", "r")
            .expression_attribute_names("#operation", "o")
            .expression_attribute_names("#idle", "i")
            .expression_attribute_names("#absolute", "a")
            .expression_attribute_values(":presented", n(request.presented))
            .expression_attribute_values(":next", n(u64::from(request.presented) + 1))
            .expression_attribute_values(":now", millis(request.now))
            .expression_attribute_values(":idle", millis(request.idle_until))
            .expression_attribute_values(":operation", b(*request.operation.as_bytes()));
        if let Some((epoch, stamped)) = stamp {
            expression.push_str(", #s.#authenticated = :authenticated, #s.#methods = :methods");
            condition.push_str(" AND epoch = :epoch");
            update = update
                .expression_attribute_names("#authenticated", "k")
                .expression_attribute_names("#methods", "m")
                .expression_attribute_values(":authenticated", millis(stamped.authenticated_at()))
                .expression_attribute_values(":methods", n(method_bits(stamped.proofs.methods())))
                .expression_attribute_values(":epoch", n(epoch.0));
            // The counter vouches for what was read: nothing of the session was written since.
            if let Some(more) = write_more(stamped) {
                expression.push_str(", #s.#more = :more");
                update = update
                    .expression_attribute_names("#more", "w")
                    .expression_attribute_values(":more", b(more));
            }
        } else if request.by_cookie {
            expression.push_str(", #s.#more = if_not_exists(#s.#more, :cookie)");
            update = update
                .expression_attribute_names("#more", "w")
                .expression_attribute_values(":cookie", b([COOKIE]));
        }
        if let Some((device, generation)) = repeat {
            let next = Generation {
                number: generation.saturating_add(1),
                counter: request.presented.saturating_add(1),
            };
            expression.push_str(", #generation = :generation, #device = if_not_exists(#device, :use)");
            if generation == 0 {
                condition.push_str(" AND attribute_not_exists(#generation)");
            } else {
                condition.push_str(" AND #generation.#number = :number");
                update = update
                    .expression_attribute_names("#number", "g")
                    .expression_attribute_values(":number", n(generation));
            }
            update = update
                .expression_attribute_names("#generation", generation_attribute(device))
                .expression_attribute_names("#device", use_attribute(device))
                .expression_attribute_values(":generation", write_generation(next))
                .expression_attribute_values(":use", n(DeviceUse::first(request.now).stored()));
        }
        let sent = update
            .update_expression(expression)
            .condition_expression(condition)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                let item = answer.attributes.unwrap_or_default();
                let key = request.user.to_string();
                let reader = Reader::new(TABLE, &key, &item);
                reader.format()?;
                read_session(request.session, reader.map(&attribute(request.session))?).map(Rotation::Rotated)
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let held = failed.item.as_ref().filter(|item| !item.is_empty());
                    Ok(Rotation::Refused(held.map(|item| read_sessions(request.user, item)).transpose()?))
                }
                _ => Err(unavailable("rotate session")(error)),
            },
        }
    }
}

impl ReadSessions for Store {
    async fn sessions(&self, user: UserId) -> StoreResult<UserSessions> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.sessions)
            .key("user_id", s(user))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("read sessions"))?;
        answer.item.map_or_else(|| Ok(UserSessions::default()), |item| read_sessions(user, &item))
    }
}

impl EndSessions for Store {
    async fn end(
        &self,
        user: UserId,
        sessions: &[SessionId],
        event: &SecurityEvent,
        message: Option<&Message>,
    ) -> StoreResult<bool> {
        let operation = "end sessions";
        let mut update = Update::builder().table_name(&self.tables.sessions).key("user_id", s(user));
        let (mut names, mut there) = (Vec::new(), Vec::new());
        for (index, id) in sessions.iter().enumerate() {
            let name = format!("#s{index}");
            there.push(format!("attribute_exists({name})"));
            update = update.expression_attribute_names(&name, attribute(*id));
            names.push(name);
        }
        let update = update
            .update_expression(format!("REMOVE {}", names.join(", ")))
            .condition_expression(there.join(" OR "))
            .build()
            .map_err(unbuildable(operation))?;
        let mut transaction = Transaction::default().update(update).put(self.event_put(event)?);
        if let Some(message) = message {
            let put = Put::builder()
                .table_name(&self.tables.outbox)
                .set_item(Some(write_message(message)))
                .build()
                .map_err(unbuildable(operation))?;
            transaction = transaction.put(put);
        }
        let committed = transaction.commit(&self.client, operation).await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(committed == Committed::Yes)
    }
}

impl EndAllSessions for Store {
    async fn end_all(&self, all: &EndAll<'_>) -> StoreResult<bool> {
        let EndAll { user, email, epoch, session, event } = *all;
        let operation = "end all sessions";
        let record = Update::builder()
            .table_name(&self.tables.users)
            .set_key(Some(login_key(email)))
            .update_expression("SET epoch = :next")
            .condition_expression("epoch = :epoch")
            .expression_attribute_values(":epoch", n(epoch.0))
            .expression_attribute_values(":next", n(epoch.next().0))
            .build()
            .map_err(unbuildable(operation))?;
        let sessions = Put::builder()
            .table_name(&self.tables.sessions)
            .set_item(Some(emptied_item(user, epoch.next(), event.at)))
            .condition_expression("epoch = :epoch AND attribute_exists(#session)")
            .expression_attribute_names("#session", attribute(session))
            .expression_attribute_values(":epoch", n(epoch.0))
            .build()
            .map_err(unbuildable(operation))?;
        let committed = Transaction::default()
            .update(record)
            .put(sessions)
            .put(self.event_put(event)?)
            .commit(&self.client, operation)
            .await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(committed == Committed::Yes)
    }
}

impl GiveWay for Store {
    async fn give_way(
        &self,
        user: UserId,
        surplus: &Surplus,
        event: Option<&SecurityEvent>,
    ) -> StoreResult<()> {
        let operation = "make room";
        let names = leaving(surplus).into_iter().enumerate();
        let names: Vec<_> = names.map(|(index, name)| (format!("#a{index}"), name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let removed: Vec<_> = names.iter().map(|(placeholder, _)| placeholder.as_str()).collect();
        let expression = format!("REMOVE {}", removed.join(", "));
        let exists = "attribute_exists(user_id)";
        let Some(event) = event else {
            let sent = self
                .client
                .update_item()
                .table_name(&self.tables.sessions)
                .key("user_id", s(user))
                .update_expression(expression)
                .condition_expression(exists)
                .set_expression_attribute_names(Some(names.into_iter().collect()))
                .send()
                .await;
            return if_held(sent, operation).map(drop);
        };
        let update = Update::builder()
            .table_name(&self.tables.sessions)
            .key("user_id", s(user))
            .update_expression(expression)
            .condition_expression(exists)
            .set_expression_attribute_names(Some(names.into_iter().collect()))
            .build()
            .map_err(unbuildable(operation))?;
        let transaction = Transaction::default().update(update).put(self.event_put(event)?);
        let committed = transaction.commit(&self.client, operation).await?;
        self.announce_if(committed == Committed::Yes, [event]);
        Ok(())
    }
}
