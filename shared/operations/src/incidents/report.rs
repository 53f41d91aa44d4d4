//! An incident that no alarm knows of: a user's report, a leaked key, a mail from a researcher.

use sallyport_core::{audit::Origin, clock::Timestamp, ids::OperationId, random::Random};

use super::{
    Cause, ChangeIncident, FindIncident, Incident, IncidentError, IncidentId, Severity,
    open::{ROUNDS, begun, contended, opening},
    people::check,
};

/// Characters of a cause that a person names.
pub(super) const LONGEST_CAUSE: usize = 40;

/// What a person reports.
#[derive(Debug, Clone)]
pub struct NewIncident {
    pub cause: Cause,
    pub severity: Severity,
    /// What is known of it, 1 to [`super::LONGEST_TEXT`] characters.
    pub text: String,
}

impl NewIncident {
    /// # Errors
    /// No text, or a cause that is no word.
    pub fn check(&self) -> Result<(), IncidentError> {
        check(&self.text)?;
        if is_word(self.cause.as_str()) { Ok(()) } else { Err(IncidentError::Cause) }
    }
}

/// Opens an incident, which is told, waited for and reminded of like any other. Alarms of the same cause join it.
///
/// # Errors
/// One of this cause is open already; no text, or a cause that is no word; storage.
pub async fn report<P>(
    ports: &P,
    now: Timestamp,
    random: &dyn Random,
    new: &NewIncident,
    origin: &Origin,
) -> Result<Incident, IncidentError>
where
    P: FindIncident + ChangeIncident,
{
    new.check()?;
    let operation = OperationId::generate(random)?;
    for _ in 0..ROUNDS {
        let latest = ports.latest_of(&new.cause).await?;
        match &latest {
            // The write was refused since it had been made: only its reply was lost.
            Some(own) if own.operation == operation => return Ok(own.clone()),
            Some(open) if open.is_open() => return Err(IncidentError::Open { id: open.id }),
            _ => {}
        }
        let id = IncidentId::generate(random, now)?;
        let incident = begun(id, new.cause.clone(), new.severity, now);
        let change = opening(&incident, latest.as_ref(), new.text.clone()).change(now, operation, origin);
        if ports.change_incident(&change).await? {
            return Ok(change.incident);
        }
    }
    Err(contended().into())
}

/// As the causes of alarms are named.
fn is_word(cause: &str) -> bool {
    (1..=LONGEST_CAUSE).contains(&cause.len())
        && cause.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
