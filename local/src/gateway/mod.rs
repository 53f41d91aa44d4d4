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
use serde_json::Value;

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
    let counted_as = refusal.map_or(status, |refusal| gateway.refusals.counted_as(refusal));
    gateway.lambda.metrics.request(counted_as, latency);
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
        let event = event::build(&parts, &body, &addition).map_err(|_| Refusal::Malformed)?;
        let function = Arc::clone(found.function);
        let invocation =
            self.lambda.invoke(function.name(), async move { function.invoke(event).await }, Result::is_err);
        let answered = tokio::time::timeout(TIMEOUT, invocation).await.map_err(|_| Refusal::TimedOut)?;
        let lost = |lost| match lost {
            Lost::Throttled => Refusal::Throttled,
            Lost::Failed => Refusal::Broken,
        };
        let returned = answered.map_err(lost)?.map_err(|_| Refusal::Broken)?;
        into_http(&returned).ok_or(Refusal::Broken)
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

/// What a function has returned as HTTP, by API Gateway's rules: `multiValueHeaders` are added to `headers`, and a body in base64
/// is handed on as it stands, since the API declares no binary media types. None where it is no answer: the caller gets 502.
fn into_http(returned: &Value) -> Option<Response<Body>> {
    let status = returned["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok())?;
    let mut response = Response::builder().status(status);
    let single = returned["headers"].as_object().into_iter().flatten();
    let many = returned["multiValueHeaders"].as_object().into_iter().flatten();
    let values = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    for (name, value) in
        single.chain(many).flat_map(|(name, value)| values(value).into_iter().map(move |value| (name, value)))
    {
        // The server states the length that it sends.
        if !name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str()) {
            response = response.header(name, value.as_str()?);
        }
    }
    response.body(Body::from(returned["body"].as_str().unwrap_or_default().to_owned())).ok()
}

#[cfg(test)]
mod tests;
