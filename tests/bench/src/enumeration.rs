//! Whether the time of an answer tells accounts apart: interleaved samples, the sign test, Holm's correction.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use http::{Method, StatusCode};
use serde_json::json;

use crate::{
    Options,
    accounts::{Kind, Operator, PASSWORD},
    client::Client,
    process::{Local, millis},
    report::Table,
    stats::{holm, median, sign_test},
};

/// What an address stands for, and the password that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    /// Unknown as well: what the test says of equals.
    UnknownAgain,
    Wrong,
    Disabled,
    DisabledRight,
    Factor,
    /// Its hash was made before the parameters were raised.
    WeakHash,
    UnverifiedRight,
    NoPassword,
    LockedUnknown,
    LockedKnown,
}

impl State {
    const ALL: [Self; 11] = [
        Self::Unknown,
        Self::UnknownAgain,
        Self::Wrong,
        Self::Disabled,
        Self::DisabledRight,
        Self::Factor,
        Self::WeakHash,
        Self::UnverifiedRight,
        Self::NoPassword,
        Self::LockedUnknown,
        Self::LockedKnown,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown account",
            Self::UnknownAgain => "unknown account, a second time",
            Self::Wrong => "wrong password",
            Self::Disabled => "disabled, wrong password",
            Self::DisabledRight => "disabled, right password",
            Self::Factor => "with a second factor, wrong password",
            Self::WeakHash => "with a hash of half the cost, wrong password",
            Self::UnverifiedRight => "unverified, right password",
            Self::NoPassword => "without a password",
            Self::LockedUnknown => "locked, unknown account",
            Self::LockedKnown => "locked, known account",
        }
    }

    const fn kind(self) -> Option<Kind> {
        match self {
            Self::Unknown | Self::UnknownAgain | Self::LockedUnknown => None,
            Self::Wrong | Self::LockedKnown => Some(Kind::Plain),
            Self::Disabled | Self::DisabledRight => Some(Kind::Disabled),
            Self::Factor => Some(Kind::WithFactor),
            Self::WeakHash => Some(Kind::WeakHash),
            Self::UnverifiedRight => Some(Kind::Unverified),
            Self::NoPassword => Some(Kind::NoPassword),
        }
    }

    const fn is_locked(self) -> bool {
        matches!(self, Self::LockedUnknown | Self::LockedKnown)
    }

    /// What it is compared with.
    const fn reference(self) -> Self {
        if self.is_locked() { Self::LockedUnknown } else { Self::Unknown }
    }

    fn password(self) -> &'static str {
        if matches!(self, Self::DisabledRight | Self::UnverifiedRight) {
            PASSWORD
        } else {
            "correct horse battery stapl3"
        }
    }
}

/// Failures of one account before its pool would lock.
const ATTEMPTS: usize = 4;

pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (cheap_count, default_count) = if options.quick { (200, 60) } else { (1200, 400) };
    let local = options.binaries.join("local");
    let cheap = [("SALLYPORT_PASSWORD_MEMORY_KIB", "7168"), ("SALLYPORT_PASSWORD_ITERATIONS", "1")];
    let mut table = Table::new(&[
        "state",
        "compared with",
        "hash",
        "pairs",
        "median ms",
        "median difference ms",
        "p (Holm)",
    ]);
    for (name, extra, count) in
        [("m=7168, t=1", cheap.as_slice(), cheap_count), ("default", &[], default_count)]
    {
        runtime.block_on(measure(&local, name, extra, count, &mut table))?;
    }
    Ok(table.text().to_owned())
}

async fn measure(
    local: &Path,
    name: &str,
    extra: &[(&str, &str)],
    count: usize,
    table: &mut Table,
) -> anyhow::Result<()> {
    let local = Local::backend(local, Duration::ZERO, extra)?;
    let mut environment = local.environment.clone();
    environment.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let operator = Operator::connect(&environment).await?;
    let mut client = Client::connect(&local.api).await?;
    let mut samples = State::ALL.map(|_| Vec::with_capacity(count));
    let mut emails = State::ALL.map(|_| String::new());
    for number in 0..count {
        if number % ATTEMPTS == 0 {
            // Addresses of one length, as a stranger's list has them.
            for (state, email) in State::ALL.iter().zip(&mut emails) {
                *email = format!("{}@example.com", crate::start::unique()?);
                if let Some(kind) = state.kind() {
                    operator.create(email, kind).await?;
                }
                if state.is_locked() {
                    operator.lock(email).await?;
                }
            }
        }
        // Another order each time, so that none always comes after the same other one.
        for offset in 0..State::ALL.len() {
            let index = order(number, offset);
            let (state, email) = State::ALL.get(index).zip(emails.get(index)).context("no state")?;
            let body = json!({"email": email, "password": state.password()}).to_string().into_bytes();
            let started = Instant::now();
            let (status, _) = client.send(Method::POST, "/api/v1/auth/login", None, body).await?;
            let elapsed = millis(started.elapsed());
            let expected =
                if state.is_locked() { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::UNAUTHORIZED };
            anyhow::ensure!(status == expected, "{}: {status}", state.name());
            samples.get_mut(index).context("no state")?.push(elapsed);
        }
    }
    let of = |state: State| {
        let index = State::ALL.iter().position(|other| *other == state).unwrap_or_default();
        samples.get(index).map(Vec::as_slice).unwrap_or_default()
    };
    let compared: Vec<State> = State::ALL.into_iter().filter(|state| *state != state.reference()).collect();
    let differences = |state: State| -> Vec<f64> {
        of(state).iter().zip(of(state.reference())).map(|(own, other)| own - other).collect()
    };
    let raw: Vec<f64> = compared.iter().map(|state| sign_test(&differences(*state))).collect();
    for (state, probability) in compared.iter().zip(holm(&raw)) {
        table.row(&[
            state.name().to_owned(),
            format!("{} ({:.3} ms)", state.reference().name(), median(of(state.reference()))),
            name.to_owned(),
            count.to_string(),
            format!("{:.3}", median(of(*state))),
            format!("{:+.3}", median(&differences(*state))),
            format!("{probability:.3}"),
        ]);
    }
    Ok(())
}

/// A permutation of the states that differs from round to round: multiplication modulo a prime, and a shift. Each state
/// comes after each other one equally often.
const fn order(round: usize, offset: usize) -> usize {
    let count = State::ALL.len();
    let unit = 1 + (round / count) % (count - 1);
    (offset * unit + round) % count
}

// Else some products are none of a permutation.
const _: () =
    assert!(is_prime(State::ALL.len()), "the number of states must be prime: add one that repeats another");

const fn is_prime(number: usize) -> bool {
    let mut divisor = 2;
    while divisor < number {
        if number.is_multiple_of(divisor) {
            return false;
        }
        divisor += 1;
    }
    number > 1
}
