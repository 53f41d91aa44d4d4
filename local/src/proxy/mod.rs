//! What stands between the SDK and the embedded services: it delays, records and breaks calls.
//!
//! One port serves all services, told apart as emulators do (by `X-Amz-Target`, by the form, by the path), so that
//! `AWS_ENDPOINT_URL` is enough.

mod call;
mod errors;
mod faults;
mod imitations;
mod recorder;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use self::faults::{Fault, Kind};
pub(crate) use self::{
    call::{Call, Service},
    faults::{Faults, Rule},
    imitations::{Imitations, TOPICS, topic},
    recorder::Recorder,
};
use crate::{
    guard::{self, Asked},
    identifier,
    published::Published,
    stop::Stop,
    wire::{Connection, Message},
};

/// Where the calls go, and what happens to them on their way.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Its own, which its own pages name.
    pub(crate) port: u16,
    pub(crate) dynamodb: SocketAddr,
    pub(crate) secretsmanager: SocketAddr,
    /// Lambda and CodeDeploy.
    pub(crate) hook: SocketAddr,
    /// Added to every call of the database.
    pub(crate) latency: Duration,
    pub(crate) faults: Arc<Faults>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Published>,
    pub(crate) imitations: Imitations,
}

impl Proxy {
    /// Serves until it is stopped: idle connections end, calls under way are answered.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, stop: Stop) {
        let proxy = self;
        let mut clients = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        clients.spawn(Arc::clone(&proxy).serve_client(stream, stop.clone()));
                    }
                }
                Some(_) = clients.join_next() => {}
                _ = stop.requested() => break,
            }
        }
        drop(listener);
        while clients.join_next().await.is_some() {}
    }

    async fn serve_client(self: Arc<Self>, stream: TcpStream, stop: Stop) {
        let Ok(mut client) = Connection::new(stream) else { return };
        let mut upstreams = Upstreams::default();
        loop {
            let read = tokio::select! {
                read = client.read() => read,
                _ = stop.requested() => return,
            };
            let request = match read {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(error) => {
                    let body = format!("{{\"message\":\"{}\"}}", error.to_string().escape_default());
                    let refusal =
                        Message::reply("400 Bad Request", "application/json", "", body.into_bytes());
                    drop(client.write(&refusal).await);
                    return;
                }
            };
            let closes = request.closes();
            let asked = Asked::in_message(&request);
            if !asked.means_this_machine() || !asked.is_of_no_other_page(self.port) {
                let body = json!({"__type": "AccessDeniedException", "message": guard::REFUSAL.trim()});
                let refusal = Message::reply(
                    "403 Forbidden",
                    "application/x-amz-json-1.1",
                    "",
                    body.to_string().into_bytes(),
                );
                if client.write(&refusal).await.is_err() || closes {
                    return;
                }
                continue;
            }
            match self.exchange(request, &mut upstreams).await {
                Ok(reply) if client.write(&reply).await.is_ok() && !closes => {}
                Ok(_) => return,
                Err(_) => return client.reset(),
            }
        }
    }

    /// The answer for the caller, or an error when the caller's connection breaks instead.
    async fn exchange(&self, mut request: Message, upstreams: &mut Upstreams) -> io::Result<Message> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the time a call takes is real, whatever the functions' clock says"
        )]
        let started = Instant::now();
        let mut call = Call::describe(&request);
        let fault = self.faults.strike(&call);
        call.fault = fault.as_ref().map(|fault| fault.kind.name().to_owned());
        if call.is_metered() {
            meter(&mut request);
        }
        if call.service == Service::DynamoDb && !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let answer = self.answer(&call, request, fault.as_ref(), upstreams).await;
        if let Ok(reply) = &answer {
            call.complete(reply);
        }
        call.duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if !call.operation.is_empty() {
            self.metrics.call(&call);
            self.recorder.record(call);
        }
        answer
    }

    async fn answer(
        &self,
        call: &Call,
        request: Message,
        fault: Option<&Fault>,
        upstreams: &mut Upstreams,
    ) -> io::Result<Message> {
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        let Some(fault) = fault else { return self.forward(call, &request, upstreams).await };
        match fault.kind {
            Kind::DropBefore | Kind::Refuse => Err(broken()),
            Kind::DropAfter => {
                self.forward(call, &request, upstreams).await?;
                Err(broken())
            }
            Kind::Slow => {
                tokio::time::sleep(fault.delay).await;
                self.forward(call, &request, upstreams).await
            }
            Kind::Error500 | Kind::Throttle | Kind::Conflict => {
                let request_id = identifier::uuid().unwrap_or_default();
                errors::reply(fault, call, &request_id).ok_or_else(broken)
            }
        }
    }

    async fn forward(
        &self,
        call: &Call,
        request: &Message,
        upstreams: &mut Upstreams,
    ) -> io::Result<Message> {
        if let Some(reply) = self.imitations.answer(call, request) {
            return Ok(reply);
        }
        let (upstream, address) = match call.service {
            Service::DynamoDb | Service::Sns => (&mut upstreams.dynamodb, self.dynamodb),
            Service::SecretsManager => (&mut upstreams.secretsmanager, self.secretsmanager),
            Service::Lambda | Service::CodeDeploy => (&mut upstreams.hook, self.hook),
        };
        // Taken out and put back only after a whole exchange: a connection that broke halfway is not used again.
        let mut connection = match upstream.take() {
            Some(connection) => connection,
            None => Connection::new(TcpStream::connect(address).await?)?,
        };
        connection.write(request).await?;
        let reply = connection.read().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !reply.closes() {
            *upstream = Some(connection);
        }
        Ok(reply)
    }
}

/// The connections of one client: each client has its own, so that no call waits for another's.
#[derive(Debug, Default)]
struct Upstreams {
    dynamodb: Option<Connection>,
    secretsmanager: Option<Connection>,
    hook: Option<Connection>,
}

/// Asks for the capacity units of a call that does not ask itself: the functions have no use for them, the suites
/// count them.
fn meter(request: &mut Message) {
    const ASK: &[u8] = br#"{"ReturnConsumedCapacity":"TOTAL","#;
    if request.body.windows(24).any(|window| window == br#""ReturnConsumedCapacity""#) {
        return;
    }
    if let Some(rest) = request.body.strip_prefix(b"{") {
        request.set_body([ASK, rest].concat());
    }
}

#[cfg(test)]
mod tests;
