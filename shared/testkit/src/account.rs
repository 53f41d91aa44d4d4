//! Whom the backend knows.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use data_encoding::BASE32_NOPAD;
use totp_rs::{Algorithm, Builder};

/// An account, as its owner knows it.
#[derive(Debug, Clone)]
pub struct Account {
    pub user_id: String,
    pub email: String,
    pub password: String,
    /// Confirmed authenticator apps.
    pub factors: Vec<Factor>,
    pub recovery_codes: Vec<String>,
}

impl Account {
    /// The one authenticator app.
    pub fn factor(&self) -> &Factor {
        self.factors.first().unwrap()
    }
}

/// A registered client of introspection and revocation.
#[derive(Debug, Clone)]
pub struct ServiceClient {
    pub id: String,
    pub secret: String,
}

const STEP: u64 = 30;

/// An authenticator app.
#[derive(Debug, Clone)]
pub struct Factor {
    pub id: String,
    /// Base 32, as it was shown.
    pub secret: String,
    /// The last step whose code was handed out, shared by the copies of this factor.
    used: Arc<AtomicU64>,
}

impl Factor {
    pub fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), used: Arc::default() }
    }

    /// What the app shows at a time, in epoch seconds.
    pub fn code_at(&self, seconds: u64) -> String {
        let secret = BASE32_NOPAD.decode(self.secret.as_bytes()).unwrap();
        let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(STEP);
        let totp = builder.with_account_name("-").with_secret(secret).build_noncompliant();
        totp.generate(seconds).to_string()
    }

    /// A code that is none around a time.
    pub fn wrong_code_at(&self, seconds: u64) -> String {
        let near: Vec<_> =
            (0..=8).map(|step| self.code_at((seconds + STEP * step).saturating_sub(4 * STEP))).collect();
        (0..).map(|number: u32| format!("{number:06}")).find(|code| !near.contains(code)).unwrap()
    }

    /// The code of the earliest step around `seconds` that was not handed out before, with how long to wait until it is
    /// good.
    pub(crate) fn next_code(&self, seconds: u64) -> (String, u64) {
        let now = seconds / STEP;
        let used = self.used.load(Ordering::SeqCst);
        let step = now.max(used + 1);
        self.used.store(step, Ordering::SeqCst);
        (self.code_at(step * STEP), step.saturating_sub(now) * STEP)
    }
}
