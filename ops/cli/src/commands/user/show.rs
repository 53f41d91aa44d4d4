//! `sallyport user show`.

use std::fmt;

use sallyport_core::{
    accounts::{Credential, Email, LoginRecord, LoginRecords as _, Profile, Status},
    clock::Timestamp,
    mfa::{Factor, FactorPorts as _, ManageFactors as _, RecoveryCodes},
    sessions::{ReadSessions as _, Session, UserSessions},
};
use serde::Serialize;

use super::{
    events::{self, EventReport},
    find,
    pools::{self, PoolReport},
};
use crate::{
    cli::Target,
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Facts, Table, ago, moment},
};

#[derive(Debug, Serialize)]
struct Shown {
    email: String,
    user_id: String,
    status: &'static str,
    verified: bool,
    has_password: bool,
    /// By whom, when and why it was made unusable, where an operator did.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_reset: Option<EventReport>,
    /// Epoch seconds.
    created_at: Option<u64>,
    recovery_codes_left: Option<usize>,
    factors: Vec<FactorReport>,
    sessions: Vec<SessionReport>,
    /// Where attempts have failed.
    pools: Vec<PoolReport>,
    events: Vec<EventReport>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Debug, Serialize)]
struct FactorReport {
    id: String,
    r#type: &'static str,
    label: String,
    confirmed: bool,
    created_at: u64,
    last_used_at: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SessionReport {
    id: String,
    device: String,
    agent: String,
    address: String,
    aal: u8,
    created_at: u64,
    last_used_at: u64,
    authenticated_at: u64,
    ends_at: u64,
}

impl FactorReport {
    fn of(factor: &Factor) -> Self {
        Self {
            id: factor.id.to_string(),
            r#type: "totp",
            label: factor.label.clone(),
            confirmed: factor.confirmed,
            created_at: factor.created_at.seconds(),
            last_used_at: factor.last_used_at.map(Timestamp::seconds),
        }
    }
}

impl SessionReport {
    fn of(session: &Session) -> Self {
        Self {
            id: session.id.to_string(),
            device: session.device.to_string(),
            agent: session.agent.clone(),
            address: session.address.to_string(),
            aal: session.proofs.assurance_level(),
            created_at: session.created_at.seconds(),
            last_used_at: session.rotated_at.seconds(),
            authenticated_at: session.authenticated_at().seconds(),
            ends_at: session.refresh_until().seconds(),
        }
    }
}

/// # Errors
/// No such account; AWS.
pub(super) async fn run(target: &Target, email: &Email, events: u8) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let record = find(&deployment, email).await?;
    let store = &deployment.store;
    let (profile, factors, codes, held) = tokio::try_join!(
        store.profile(record.user),
        store.factors(record.user),
        store.recovery_codes(record.user),
        store.sessions(record.user),
    )?;
    let pools = pools::read(&deployment, &record, &held).await?;
    let events = events::recent(&deployment, &record, events).await?;
    let now = deployment.now();
    let mut shown = report(&record, profile.as_ref(), &factors, codes.as_ref(), &held, pools, events, now);
    if !shown.has_password {
        shown.password_reset = events::last_reset(&deployment, record.user).await?;
    }
    Answer::of(&shown)
}

#[expect(clippy::too_many_arguments, reason = "each is one of the things that are shown")]
fn report(
    record: &LoginRecord,
    profile: Option<&Profile>,
    factors: &[Factor],
    codes: Option<&RecoveryCodes>,
    held: &UserSessions,
    pools: Vec<PoolReport>,
    events: Vec<EventReport>,
    now: Timestamp,
) -> Shown {
    let mut live: Vec<_> = held.sessions.iter().filter(|session| session.is_live(now)).collect();
    live.sort_by_key(|session| std::cmp::Reverse(session.rotated_at));
    Shown {
        email: record.email.to_string(),
        user_id: record.user.to_string(),
        status: match record.status {
            Status::Active => "active",
            Status::Disabled => "disabled",
        },
        verified: record.verified,
        has_password: matches!(record.credential, Credential::Password(_)),
        password_reset: None,
        created_at: profile.map(|profile| profile.created_at.seconds()),
        recovery_codes_left: codes.map(|codes| codes.left.len()),
        factors: factors.iter().map(FactorReport::of).collect(),
        sessions: live.into_iter().map(SessionReport::of).collect(),
        pools,
        events,
        now,
    }
}

impl Shown {
    fn time(&self, seconds: u64) -> String {
        let at = Timestamp::from_seconds(seconds);
        format!("{} ({})", moment(at), ago(at, self.now))
    }

    fn ago(&self, seconds: u64) -> String {
        ago(Timestamp::from_seconds(seconds), self.now)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |holds| if holds { "yes" } else { "no" };
        let created = self.created_at.map_or_else(|| "unknown".to_owned(), |at| self.time(at));
        let codes =
            self.recovery_codes_left.map_or_else(|| "none issued".to_owned(), |left| format!("{left} left"));
        let password = match &self.password_reset {
            Some(reset) => format!("no, reset by force {}", reset.told()),
            None => yes(self.has_password).to_owned(),
        };
        let facts = Facts::default()
            .with("email", &self.email)
            .with("user", &self.user_id)
            .with("status", self.status)
            .with("verified", yes(self.verified))
            .with("password", password)
            .with("created", created)
            .with("recovery codes", codes);
        write!(f, "{facts}")?;
        self.show_factors(f)?;
        self.show_sessions(f)?;
        self.show_pools(f)?;
        events::show(&self.events, f)
    }
}

impl Shown {
    fn show_factors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.factors.is_empty() {
            return writeln!(f, "\nNo second factor.");
        }
        let mut table = Table::new(["factor", "type", "label", "confirmed", "last used"]);
        for factor in &self.factors {
            table.row([
                factor.id.clone(),
                factor.r#type.to_owned(),
                factor.label.clone(),
                if factor.confirmed { "yes" } else { "no" }.to_owned(),
                factor.last_used_at.map(|at| self.ago(at)).unwrap_or_default(),
            ]);
        }
        write!(f, "\n{table}")
    }

    fn show_sessions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sessions.is_empty() {
            return writeln!(f, "\nNo live session.");
        }
        let mut table =
            Table::new(["session", "client", "address", "aal", "signed in", "last used", "device"]);
        for session in &self.sessions {
            table.row([
                session.id.clone(),
                session.agent.clone(),
                session.address.clone(),
                session.aal.to_string(),
                self.ago(session.created_at),
                self.ago(session.last_used_at),
                session.device.clone(),
            ]);
        }
        write!(f, "\n{table}")
    }

    fn show_pools(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pools.is_empty() {
            return writeln!(f, "\nNo failed attempts.");
        }
        let mut table = Table::new(["attempts", "state", "failed", "in a row", "until"]);
        for pool in &self.pools {
            table.row([
                pool.attempts.clone(),
                pool.state.as_str().to_owned(),
                pool.failed.to_string(),
                pool.failed_in_a_row.to_string(),
                pool.until.map(|until| ago(until, self.now)).unwrap_or_default(),
            ]);
        }
        write!(f, "\n{table}")
    }
}
