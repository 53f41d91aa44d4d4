//! `GET /status`: what the public is told, as a page and as JSON.

mod page;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use sallyport_core::{
    checks::{Component, check},
    clock::Timestamp,
    flags::{ModeName, ReadFlags as _},
};
use sallyport_lambda::{Call, Platform, Problem, Reply};
use sallyport_operations::incidents::{
    Impact, Incident, IncidentId, ListIncidents as _, Progress, impact, progress,
};
use serde::Serialize;

use crate::{LIMIT, probes::Probes};

/// How far back incidents are shown.
const DAYS: u64 = 7;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long one look serves everybody: the page is read most when the service can bear it least.
const FRESH: Duration = Duration::from_secs(10);
const CACHE: &str = "public, max-age=30";

/// The page, and the look that it was made from.
pub(crate) struct Statuses {
    platform: Platform,
    probes: Arc<Probes>,
    last: Mutex<Option<Arc<Status>>>,
}

/// One look at the service.
#[derive(Debug)]
pub(crate) struct Status {
    at: Timestamp,
    overall: Overall,
    services: Vec<(Service, Works)>,
    /// `None` while the records can't be read.
    incidents: Option<Vec<Public>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overall {
    Operational,
    /// Nobody is served, and that is meant.
    Maintenance,
    Impaired(Impact),
}

impl Overall {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Maintenance => "maintenance",
            Self::Impaired(impact) => impact.as_str(),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Operational => "Everything works.",
            Self::Maintenance => "The service is being maintained.",
            Self::Impaired(Impact::Degraded) => "The service works, with limits.",
            Self::Impaired(Impact::Disruption) => "The service is disrupted.",
            Self::Impaired(Impact::Outage) => "The service is not available.",
        }
    }
}

/// Whether something can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Works {
    Up,
    /// What it takes answers, and an incident says that it fails for some or many.
    Impaired,
    Down,
}

impl Works {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Impaired => "impaired",
            Self::Down => "down",
        }
    }
}

/// What users do, with what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    SignIn,
    SecondFactor,
    Sessions,
    PublicKeys,
}

impl Service {
    const ALL: [Self; 4] = [Self::SignIn, Self::SecondFactor, Self::Sessions, Self::PublicKeys];

    const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::SecondFactor => "second_factor",
            Self::Sessions => "sessions",
            Self::PublicKeys => "public_keys",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::SignIn => "Signing in",
            Self::SecondFactor => "Second factor",
            Self::Sessions => "Staying signed in",
            Self::PublicKeys => "Public keys",
        }
    }

    const fn needs(self) -> &'static [Component] {
        match self {
            Self::SignIn | Self::SecondFactor => &Component::ALL,
            Self::Sessions => &[Component::Sessions, Component::Keyring],
            Self::PublicKeys => &[Component::Keyring],
        }
    }
}

/// An incident as the public sees it.
#[derive(Debug)]
pub(crate) struct Public {
    id: IncidentId,
    impact: Impact,
    progress: Progress,
    started_at: Timestamp,
    resolved_at: Option<Timestamp>,
}

impl Public {
    fn of(incident: &Incident) -> Option<Self> {
        Some(Self {
            id: incident.id,
            impact: impact(incident)?,
            progress: progress(incident),
            started_at: incident.opened_at,
            resolved_at: incident.resolved.as_ref().map(|resolution| resolution.at),
        })
    }

    const fn title(&self) -> &'static str {
        match self.impact {
            Impact::Outage => "Service outage",
            Impact::Disruption => "Service disruption",
            Impact::Degraded => "Degraded service",
        }
    }

    const fn words(&self) -> &'static str {
        match (self.progress, self.impact) {
            (Progress::Resolved, _) => "This is resolved.",
            (Progress::Monitoring, _) => "It works again, and we are watching it.",
            (_, Impact::Outage) => "Signing in may not work at all.",
            (_, Impact::Disruption) => "Many requests fail.",
            (_, Impact::Degraded) => "Requests may be slow, or fail for some.",
        }
    }

    const fn stage(&self) -> &'static str {
        match self.progress {
            Progress::Detected => "Detected",
            Progress::Investigating => "We are working on it",
            Progress::Monitoring => "Watching",
            Progress::Resolved => "Resolved",
        }
    }

    /// What users meet of it now.
    fn now(&self) -> Option<Impact> {
        match self.progress {
            Progress::Resolved => None,
            Progress::Monitoring => Some(Impact::Degraded),
            Progress::Detected | Progress::Investigating => Some(self.impact),
        }
    }
}

impl Statuses {
    pub(crate) fn new(platform: &Platform, probes: Arc<Probes>) -> Self {
        Self { platform: platform.clone(), probes, last: Mutex::new(None) }
    }

    async fn look(&self) -> Arc<Status> {
        let now = self.platform.clock().now();
        let fresh = |status: &&Arc<Status>| now < status.at + FRESH;
        if let Some(status) = self.locked().as_ref().filter(fresh) {
            return Arc::clone(status);
        }
        let status = Arc::new(look(&self.platform, &self.probes, now).await);
        *self.locked() = Some(Arc::clone(&status));
        status
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<Arc<Status>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look(platform: &Platform, probes: &Probes, now: Timestamp) -> Status {
    let probing = check(probes, platform.clock(), &Component::ALL, LIMIT);
    let (findings, incidents, maintained) =
        tokio::join!(probing, recent(platform, now), maintained(platform, now));
    let down = |component: &Component| {
        findings.iter().any(|finding| finding.component == *component && finding.fault.is_some())
    };
    let of_incidents = incidents.iter().flatten().filter_map(Public::now).min();
    let goes_on =
        incidents.iter().flatten().any(|one| one.progress != Progress::Monitoring && one.now().is_some());
    let works = |service: Service| {
        if service.needs().iter().any(down) {
            Works::Down
        } else if goes_on && service != Service::PublicKeys {
            Works::Impaired
        } else {
            Works::Up
        }
    };
    let services = Service::ALL.map(|service| (service, works(service))).to_vec();
    let broken = services.iter().any(|(_, works)| *works == Works::Down);
    let of_services = broken.then_some(Impact::Outage);
    let overall = match of_services.into_iter().chain(of_incidents).min() {
        _ if maintained => Overall::Maintenance,
        Some(impact) => Overall::Impaired(impact),
        None => Overall::Operational,
    };
    Status { at: now, overall, services, incidents }
}

/// Whether operators have closed the service for a while. What can't be read is not said.
async fn maintained(platform: &Platform, now: Timestamp) -> bool {
    let flags = tokio::select! {
        flags = platform.store().flags() => flags.ok(),
        () = platform.clock().sleep(LIMIT) => None,
    };
    flags.is_some_and(|flags| flags.mode(ModeName::Maintenance, now).is_some())
}

/// The incidents that concern the public, the newest first: those that go on, and those of the last days.
async fn recent(platform: &Platform, now: Timestamp) -> Option<Vec<Public>> {
    let store = platform.store();
    let since = now.minus(DAY * 7);
    let reading = async { tokio::try_join!(store.open_incidents(), store.incidents_since(since)) };
    let outcome = tokio::select! {
        read = reading => read.map_err(|error| error.to_string()),
        () = platform.clock().sleep(LIMIT) => Err("no answer in time".to_owned()),
    };
    match outcome {
        Ok((open, since)) => {
            let mut all: Vec<_> = open.iter().chain(&since).collect();
            all.sort_by_key(|incident| std::cmp::Reverse(incident.id));
            all.dedup_by_key(|incident| incident.id);
            Some(all.into_iter().filter_map(Public::of).collect())
        }
        Err(fault) => {
            tracing::error!(target: "request", fault, "the incidents are not known");
            None
        }
    }
}

pub(crate) async fn status(statuses: Arc<Statuses>, call: Call) -> Result<Reply, Problem> {
    let status = statuses.look().await;
    let reply = if wants_page(&call.headers) {
        let page = Reply::text(StatusCode::OK, "text/html; charset=utf-8", page::render(&status));
        page.header(header::CONTENT_SECURITY_POLICY, page::policy())
    } else {
        Reply::json(StatusCode::OK, &Document::of(&status))?
    };
    Ok(reply
        .header(header::CACHE_CONTROL, HeaderValue::from_static(CACHE))
        .header(header::VARY, HeaderValue::from_static("Accept")))
}

/// Browsers name HTML; whoever names nothing gets JSON.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let weight = |wanted: &str| {
        accept
            .split(',')
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let kind = parts.next()?;
                let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
                kind.eq_ignore_ascii_case(wanted).then_some(weight.unwrap_or(1.0))
            })
            .fold(0.0, f32::max)
    };
    let page = weight("text/html").max(weight("application/xhtml+xml"));
    page > 0.0 && page >= weight("application/json")
}

#[derive(Serialize)]
struct Document {
    status: &'static str,
    description: &'static str,
    updated_at: u64,
    services: Vec<ServiceDocument>,
    incidents: Option<Vec<IncidentDocument>>,
}

#[derive(Serialize)]
struct ServiceDocument {
    name: &'static str,
    status: &'static str,
}

#[derive(Serialize)]
struct IncidentDocument {
    id: String,
    impact: &'static str,
    progress: &'static str,
    title: &'static str,
    description: &'static str,
    started_at: u64,
    resolved_at: Option<u64>,
}

impl Document {
    fn of(status: &Status) -> Self {
        let incidents = status.incidents.as_ref().map(|incidents| {
            let each = incidents.iter().map(|incident| IncidentDocument {
                id: incident.id.to_string(),
                impact: incident.impact.as_str(),
                progress: incident.progress.as_str(),
                title: incident.title(),
                description: incident.words(),
                started_at: incident.started_at.seconds(),
                resolved_at: incident.resolved_at.map(Timestamp::seconds),
            });
            each.collect()
        });
        let services = status
            .services
            .iter()
            .map(|(service, works)| ServiceDocument { name: service.as_str(), status: works.as_str() });
        Self {
            status: status.overall.as_str(),
            description: status.overall.words(),
            updated_at: status.at.seconds(),
            services: services.collect(),
            incidents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_page_and_programs_json() {
        let wants = |accept: &str| {
            let value = HeaderValue::from_str(accept);
            let headers: HeaderMap = value.into_iter().map(|value| (header::ACCEPT, value)).collect();
            wants_page(&headers)
        };
        assert!(wants("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(wants("text/html;q=0.5"));
        assert!(!wants("application/json"));
        assert!(!wants("*/*"));
        assert!(!wants("text/html;q=0"));
        assert!(!wants("application/json, text/html;q=0.9"));
        assert!(!wants_page(&HeaderMap::new()));
    }
}
