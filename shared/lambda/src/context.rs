//! Where a request comes from. The gateway's word counts; headers that a caller can set do not.

use std::sync::Arc;

use http::{HeaderMap, header};
use sallyport_core::{
    address::ClientAddress,
    audit::{Actor, Origin},
    flags::Flags,
};

use crate::inbound::Inbound;

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
    pub(crate) fn of(request: &Inbound) -> Self {
        let source = request.source.as_deref().and_then(ClientAddress::parse);
        let domain = request.domain.as_deref().unwrap_or_default();
        let api_url = match &request.stage {
            Some(stage) => format!("https://{domain}/{stage}"),
            None => format!("https://{domain}"),
        };
        Self {
            origin: Origin {
                actor: Actor::Caller,
                address: source.unwrap_or_else(ClientAddress::unknown),
                agent: agent(&request.headers),
                request_id: request.request_id.clone(),
            },
            trace_id: request
                .trace
                .as_deref()
                .and_then(|value| value.split(';').find_map(|part| part.trim().strip_prefix("Root=")))
                .filter(|root| root.len() <= 64)
                .map(str::to_owned),
            api_url,
            is_probe: request.stage.as_deref() == Some(PROBE),
            flags: Arc::default(),
        }
    }
}

/// What the client calls itself: printable ASCII, cut. What else it wrote shows as question marks.
fn agent(headers: &HeaderMap) -> String {
    let value = headers.get(header::USER_AGENT).map(http::HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(value)
        .chars()
        .map(|character| if character == ' ' || character.is_ascii_graphic() { character } else { '?' })
        .take(AGENT)
        .collect()
}
