//! API Gateway in small: routes, real REST events, the functions' answers as HTTP.

mod access;
mod answers;
mod event;
mod function;
mod refusal;
mod routes;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody as _},
    extract::{ConnectInfo, State},
    http::{HeaderValue, Request, Response, header},
};
use futures_util::StreamExt as _;
use sallyport_core::clock::Clock;

pub(crate) use self::{
    access::Access,
    answers::Answers,
    event::STAGE,
    function::{Answer, Function},
    refusal::Refusals,
    routes::Routes,
};
use self::{access::Answered, event::Addition, refusal::Refusal};
use crate::{
    clock::ShiftingClock,
    identifier,
    lambda::{Lambda, Lost},
};

/// API Gateway's limit of a request's body.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// API Gateway's limit of an integration.
const TIMEOUT: Duration = Duration::from_secs(29);

/// The gateway of one backend.
pub(crate) struct Gateway {
    pub(crate) routes: Routes,
    pub(crate) refusals: Refusals,
    pub(crate) clock: Arc<ShiftingClock>,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) port: u16,
    pub(crate) access: Access,
    /// Where answers are noted, if anywhere.
    pub(crate) answers: Option<Answers>,
}

/// Answers a request by the function of its route.
pub(crate) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    #[expect(clippy::disallowed_methods, reason = "a latency is measured, no rule depends on it")]
    let started = Instant::now();
    let id = identifier::uuid().unwrap_or_default();
    let method = request.method().clone();
    let path = gateway.routes.find(&method, request.uri().path()).map(|found| found.resource);
    let answered = gateway.forward(&id, peer, request).await;
    let refusal = answered.as_ref().err().copied();
    let mut response = answered.unwrap_or_else(|refusal| gateway.refusals.response(refusal, &id));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    let (status, latency) = (response.status().as_u16(), started.elapsed());
    gateway.lambda.metrics.request(status, latency);
    gateway.access.note(&Answered {
        request_id: &id,
        method: method.as_str(),
        resource: path,
        status,
        gateway_error: refusal.map(|refusal| refusal.response_type().0),
        lambda_status: match refusal {
            // A function that broke is an answer of Lambda's as well.
            None | Some(Refusal::Broken) => Some(200),
            Some(Refusal::Throttled) => Some(429),
            Some(Refusal::UnknownRoute | Refusal::Malformed | Refusal::TooLarge | Refusal::TimedOut) => None,
        },
        latency,
        length: response.body().size_hint().exact(),
        address: peer.ip().to_string(),
    });
    match &gateway.answers {
        Some(answers) => answers.note(&method, path, refusal.is_some(), response).await,
        None => response,
    }
}

impl Gateway {
    async fn forward(
        &self,
        id: &str,
        peer: SocketAddr,
        request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let (parts, body) = request.into_parts();
        let found = self.routes.find(&parts.method, parts.uri.path()).ok_or(Refusal::UnknownRoute)?;
        let body = read(body).await?;
        let addition = Addition {
            id,
            at: self.clock.now(),
            peer,
            port: self.port,
            resource: found.resource,
            parameters: &found.parameters,
        };
        let event = event::build(&parts, &body, &addition).map_err(|_| Refusal::Malformed)?.to_string();
        let function = Arc::clone(found.function);
        let invocation = self.lambda.invoke(
            function.name(),
            async move {
                let request = lambda_http::request::from_str(&event).map_err(|_| Refusal::Broken)?;
                Ok(function.handle(request).await)
            },
            Result::is_err,
        );
        let answered = tokio::time::timeout(TIMEOUT, invocation).await.map_err(|_| Refusal::TimedOut)?;
        let lost = |lost| match lost {
            Lost::Throttled => Refusal::Throttled,
            Lost::Failed => Refusal::Broken,
        };
        Ok(into_http(answered.map_err(lost)??))
    }
}

/// The whole body. What is too long is read to its end as well, so that the caller gets the answer and no reset.
async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    let mut too_long = false;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::Malformed)?;
        too_long |= whole.len() + chunk.len() > MAX_BODY;
        if too_long {
            whole.clear();
        } else {
            whole.extend_from_slice(&chunk);
        }
    }
    if too_long { Err(Refusal::TooLarge) } else { Ok(whole) }
}

/// The function's answer, multi-value headers kept apart.
fn into_http(answer: lambda_http::Response<lambda_http::Body>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    // The server states the length that it sends.
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = match body {
        lambda_http::Body::Text(text) => Body::from(text),
        lambda_http::Body::Binary(bytes) => Body::from(bytes),
        _ => Body::empty(),
    };
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests;
