//! The page: one document, no script, no other resource. It reads without its style as well.

use std::{fmt::Write as _, sync::LazyLock};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use jiff::fmt::strtime;
use sallyport_core::clock::Timestamp;
use sallyport_operations::incidents::{Impact, Progress};

use super::{DAY, DAYS, Overall, Public, Status, Works};

const STYLE: &str = include_str!("page.css");

/// Nothing is loaded, sent or framed; the one style is known by its hash.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

pub(super) fn policy() -> HeaderValue {
    HeaderValue::from_str(&POLICY).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

pub(super) fn render(status: &Status) -> String {
    let mut page = String::with_capacity(8192);
    // Writing into a String cannot fail.
    let _infallible = write(&mut page, status);
    page
}

fn write(page: &mut String, status: &Status) -> std::fmt::Result {
    let words = status.overall.words();
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{words} Service status</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Service status</h1>\n\
         <div class=\"overall {}\"><strong>{words}</strong><p>{}</p></div>\n",
        overall_class(status.overall),
        told(status),
    )?;
    let open: Vec<_> = status.incidents.iter().flatten().filter(|one| one.resolved_at.is_none()).collect();
    if !open.is_empty() {
        writeln!(page, "<section>\n<h2>Now</h2>")?;
        for incident in open {
            article(page, incident)?;
        }
        writeln!(page, "</section>")?;
    }
    writeln!(page, "<section>\n<h2>Services</h2>\n<ul>")?;
    for (service, works) in &status.services {
        let (class, word) = match works {
            Works::Up => ("good", "Available"),
            Works::Impaired => ("mild", "Impaired"),
            Works::Down => ("bad", "Not available"),
        };
        writeln!(page, "<li class=\"{class}\"><span>{}</span> <b>{word}</b></li>", service.words())?;
    }
    writeln!(page, "</ul>\n</section>\n<section>\n<h2>The last {DAYS} days</h2>")?;
    past(page, status)?;
    writeln!(page, "</section>\n</main>")?;
    writeln!(
        page,
        "<footer><small>As of {}. All times are UTC. Programs get the same as JSON with \
         <code>Accept: application/json</code>.</small></footer>\n</body>\n</html>",
        time(status.at)
    )
}

fn told(status: &Status) -> &'static str {
    let broken = status.services.iter().any(|(_, works)| *works == Works::Down);
    match (&status.incidents, status.overall) {
        (None, _) => "The record of incidents can't be read at the moment.",
        (_, Overall::Operational) => "There is no known problem.",
        (_, Overall::Maintenance) => "Nobody is signed in or out meanwhile. Tokens that are out stay valid.",
        (Some(incidents), _) if incidents.iter().any(|one| one.resolved_at.is_none()) => {
            "What we know stands below."
        }
        _ if broken => "Something that the service depends on does not answer.",
        _ => "",
    }
}

/// A list a day with incidents, and one line where there was none.
fn past(page: &mut String, status: &Status) -> std::fmt::Result {
    let Some(incidents) = &status.incidents else {
        return writeln!(page, "<p>Not known at the moment.</p>");
    };
    let over: Vec<_> = incidents.iter().filter(|one| one.resolved_at.is_some()).collect();
    if over.is_empty() {
        let other = if incidents.is_empty() { "" } else { " other" };
        let since = date(status.at.minus(DAY * 7));
        return writeln!(page, "<p class=\"soft\">No{other} incident since {since}.</p>");
    }
    over.into_iter().try_for_each(|incident| article(page, incident))
}

fn article(page: &mut String, incident: &Public) -> std::fmt::Result {
    let class = match (incident.progress, incident.impact) {
        (Progress::Resolved, _) => "over",
        (Progress::Monitoring, _) | (_, Impact::Degraded) => "mild",
        (_, Impact::Outage | Impact::Disruption) => "bad",
    };
    let until = incident.resolved_at.map(|at| format!(" to {}", until(incident.started_at, at)));
    let until = until.unwrap_or_default();
    writeln!(
        page,
        "<article class=\"{class}\">\n<h3>{}</h3>\n<p>{} {}</p>\n<p class=\"soft\">{}{until} · <code>{}</code></p>\n</article>",
        incident.title(),
        if incident.progress == Progress::Resolved {
            String::new()
        } else {
            format!("<b>{}.</b>", incident.stage())
        },
        incident.words(),
        time(incident.started_at),
        incident.id,
    )
}

const fn overall_class(overall: Overall) -> &'static str {
    match overall {
        Overall::Operational => "good",
        Overall::Maintenance | Overall::Impaired(Impact::Degraded) => "mild",
        Overall::Impaired(Impact::Disruption | Impact::Outage) => "bad",
    }
}

fn formatted(at: Timestamp, format: &str) -> String {
    i64::try_from(at.millis())
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .and_then(|at| strtime::format(format, at).ok())
        .unwrap_or_default()
}

fn date(at: Timestamp) -> String {
    formatted(at, "%-d %B %Y")
}

/// The end of something: without its date where that is the beginning's.
fn until(began: Timestamp, ended: Timestamp) -> String {
    if date(began) == date(ended) { marked(ended, "%H:%M") } else { time(ended) }
}

fn time(at: Timestamp) -> String {
    marked(at, "%-d %B %Y, %H:%M")
}

/// With the machine's way beside people's.
fn marked(at: Timestamp, format: &str) -> String {
    let machine = formatted(at, "%Y-%m-%dT%H:%M:%SZ");
    format!("<time datetime=\"{machine}\">{}</time>", formatted(at, format))
}
