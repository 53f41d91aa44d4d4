//! Where a request comes from. The gateway's word counts; headers that a caller can set do not.

use std::sync::Arc;

use http::{HeaderMap, header};
use lambda_http::{Request, RequestExt as _, request::RequestContext as Gateway};
use sallyport_core::{
    address::ClientAddress,
    audit::{Actor, Origin},
    flags::Flags,
};

/// What is known of a request besides its body.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub origin: Origin,
    /// X-Ray's, where the gateway traces.
    pub trace_id: Option<String>,
    /// The address of the API that it came in by.
    pub api_url: String,
    /// The stack's own schedule asks, and nobody else: no caller can choose the stage that the gateway names.
    pub is_probe: bool,
    /// Modes and blocks as this request found them; none where the application has no gate.
    pub flags: Arc<Flags>,
}

/// The stage in the event of `template.yaml`'s schedule.
const PROBE: &str = "probe";

/// Longer names of clients are cut.
const AGENT: usize = 80;

impl RequestContext {
    pub(crate) fn of(request: &Request) -> Self {
        let headers = request.headers();
        let (request_id, address, domain, stage) = match request.request_context_ref() {
            Some(Gateway::ApiGatewayV1(context)) => (
                context.request_id.clone(),
                context.identity.source_ip.clone(),
                context.domain_name.clone(),
                context.stage.clone(),
            ),
            Some(Gateway::ApiGatewayV2(context)) => (
                context.request_id.clone(),
                context.http.source_ip.clone(),
                context.domain_name.clone(),
                context.stage.clone().filter(|stage| stage != "$default"),
            ),
            _ => (None, None, None, None),
        };
        let address =
            address.as_deref().and_then(ClientAddress::parse).unwrap_or_else(ClientAddress::unknown);
        let request_id = request_id
            .or_else(|| request.lambda_context_ref().map(|context| context.request_id.clone()))
            .unwrap_or_default();
        let domain = domain.unwrap_or_default();
        let is_probe = stage.as_deref() == Some(PROBE);
        let api_url =
            stage.map_or_else(|| format!("https://{domain}"), |stage| format!("https://{domain}/{stage}"));
        Self {
            origin: Origin { actor: Actor::Caller, address, agent: agent(headers), request_id },
            trace_id: headers
                .get("x-amzn-trace-id")
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.split(';').find_map(|part| part.trim().strip_prefix("Root=")))
                .filter(|root| root.len() <= 64)
                .map(str::to_owned),
            api_url,
            is_probe,
            flags: Arc::default(),
        }
    }
}

/// What the client calls itself: printable ASCII, cut.
fn agent(headers: &HeaderMap) -> String {
    headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .chars()
        .filter(|character| *character == ' ' || character.is_ascii_graphic())
        .take(AGENT)
        .collect()
}
