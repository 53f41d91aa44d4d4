//! `sallyport totp`: codes tried by hand. Nothing is counted, taken or stored.

use std::{
    fmt,
    io::{self, Read as _},
};

use clap::{Args, Subcommand};
use data_encoding::BASE32_NOPAD;
use sallyport_core::{
    accounts::Email,
    clock::{Clock as _, Timestamp},
    ids::FactorId,
    mfa::{FactorPorts as _, ManageFactors as _, Seed, TOTP_STEP, matching_step},
};
use serde::Serialize;
use totp_rs::{Algorithm, Builder};

use super::user;
use crate::{
    cli::Target,
    deployment::{Deployment, OperatorClock},
    failure::{Exit, Failure},
    output::{Answer, count},
};

#[derive(Debug, Subcommand)]
pub(crate) enum TotpCommand {
    /// Say whether a code is right, and how far off the device's clock is. The code is not used up.
    Check {
        /// Six digits.
        code: String,
        #[command(flatten)]
        seed: SeedSource,
        /// A factor of the account; without it, its only one.
        #[arg(long, value_name = "ID", requires = "user")]
        factor: Option<FactorId>,
    },
    /// Print the code of a secret as it is now.
    Code {
        #[command(flatten)]
        secret: SecretSource,
    },
}

/// A secret in base32, as an authenticator app takes it.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SecretSource {
    /// The secret. Other users of this machine can read the command line: for trying things.
    #[arg(long, value_name = "BASE32")]
    secret: Option<String>,
    /// Read the secret from stdin.
    #[arg(long)]
    secret_stdin: bool,
}

/// A secret, or the account that has one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SeedSource {
    /// The secret. Other users of this machine can read the command line: for trying things.
    #[arg(long, value_name = "BASE32")]
    secret: Option<String>,
    /// Read the secret from stdin.
    #[arg(long)]
    secret_stdin: bool,
    /// Check against a factor of this account, whose seed is opened with the keyring.
    #[arg(long, value_name = "EMAIL")]
    user: Option<Email>,
}

/// How far off a clock is looked for, in steps either way: five minutes.
const SEARCHED: u64 = 10;

impl TotpCommand {
    /// # Errors
    /// The secret is no base32; no such account or factor; AWS.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        let now = OperatorClock::of(target).await.now();
        match self {
            Self::Code { secret } => {
                let seed = given(secret.secret)?;
                Answer::of(&Code::of(&seed, now))
            }
            Self::Check { code, seed: SeedSource { user: Some(email), .. }, factor } => {
                let (seed, last_step) = enrolled(target, &email, factor).await?;
                checked(&seed, &code, now, last_step)
            }
            Self::Check { code, seed, .. } => checked(&given(seed.secret)?, &code, now, None),
        }
    }
}

/// The secret of the command line, or of stdin.
fn given(argument: Option<String>) -> Result<Seed, Failure> {
    let text = match argument {
        Some(text) => text,
        None => {
            let mut text = String::new();
            io::stdin().lock().take(4096).read_to_string(&mut text).map_err(|error| {
                Failure::dependency("stdin_failed", format!("the secret could not be read: {error}"))
            })?;
            text
        }
    };
    // As apps show it: groups, any case, padding.
    let tidy: String = text
        .chars()
        .filter(|character| !character.is_whitespace() && !matches!(character, '-' | '='))
        .collect();
    match BASE32_NOPAD.decode(tidy.to_ascii_uppercase().as_bytes()) {
        Ok(bytes) if !bytes.is_empty() => Ok(Seed::from_bytes(bytes)),
        _ => Err(Failure::usage("invalid_secret", "the secret is not base32")),
    }
}

/// The seed of a factor, and the last step that it was used with.
async fn enrolled(
    target: &Target,
    email: &Email,
    factor: Option<FactorId>,
) -> Result<(Seed, Option<u64>), Failure> {
    let deployment = Deployment::find(target).await?;
    let record = user::find(&deployment, email).await?;
    let absent = |message: String| Failure::not_found("factor_not_found", message);
    let factor = match factor {
        Some(id) => {
            let found = deployment.store.factor(record.user, id).await?;
            found.ok_or_else(|| absent(format!("{email} has no factor {id}")))?
        }
        None => {
            let factors = deployment.store.factors(record.user).await?;
            let many = factors.len();
            match <[_; 1]>::try_from(factors) {
                Ok([factor]) => factor,
                Err(_) if many == 0 => return Err(absent(format!("{email} has no TOTP factor"))),
                Err(factors) => {
                    let ids: Vec<_> = factors.iter().map(|factor| factor.id.to_string()).collect();
                    let message = format!(
                        "{email} has {}: pass --factor, one of {}",
                        count(many, "factor"),
                        ids.join(", ")
                    );
                    return Err(Failure::usage("which_factor", message));
                }
            }
        }
    };
    let keyring = deployment.keyring().await?;
    let seed = factor.seed.open(&keyring, record.user, factor.id)?;
    Ok((seed, factor.last_step))
}

#[derive(Debug, Serialize)]
struct Code {
    code: String,
    seconds_left: u64,
}

impl Code {
    fn of(seed: &Seed, now: Timestamp) -> Self {
        let totp = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_step_duration(TOTP_STEP.as_secs())
            .with_secret(seed.expose().to_vec())
            .with_account_name("-")
            .build_noncompliant();
        let step = TOTP_STEP.as_secs();
        Self { code: totp.generate(now.seconds()).to_string(), seconds_left: step - now.seconds() % step }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({} s left)", self.code, self.seconds_left)
    }
}

#[derive(Debug, Serialize)]
struct Checked {
    /// Whether the service would take it now.
    accepted: bool,
    /// `accepted`, `used_before`, `clock_off`, `no_match`, `malformed`.
    result: &'static str,
    /// The time step that the code belongs to.
    step: Option<u64>,
    /// How far the device's clock is from this one's, in steps of 30 s; behind is negative.
    drift_steps: Option<i64>,
}

impl Checked {
    fn of(seed: &Seed, code: &str, now: Timestamp, last_step: Option<u64>) -> Self {
        let current = now.seconds() / TOTP_STEP.as_secs();
        if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self { accepted: false, result: "malformed", step: None, drift_steps: None };
        }
        let drift =
            |step: u64| i64::try_from(step).unwrap_or(i64::MAX) - i64::try_from(current).unwrap_or(i64::MAX);
        let found = |result, step| Self {
            accepted: result == "accepted",
            result,
            step: Some(step),
            drift_steps: Some(drift(step)),
        };
        if let Some(step) = matching_step(seed, code, now, last_step) {
            return found("accepted", step);
        }
        if let Some(step) = matching_step(seed, code, now, None) {
            return found("used_before", step);
        }
        let off = (current.saturating_sub(SEARCHED)..=current.saturating_add(SEARCHED)).find_map(|step| {
            let then = Timestamp::from_seconds(step.saturating_mul(TOTP_STEP.as_secs()));
            matching_step(seed, code, then, None)
        });
        off.map_or(Self { accepted: false, result: "no_match", step: None, drift_steps: None }, |step| {
            found("clock_off", step)
        })
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drift = self.drift_steps.unwrap_or_default();
        let seconds = drift.unsigned_abs().saturating_mul(TOTP_STEP.as_secs());
        let side = if drift < 0 { "behind" } else { "ahead" };
        let step = self.step.unwrap_or_default();
        match self.result {
            "accepted" if drift == 0 => writeln!(f, "right: step {step}, the clocks agree"),
            "accepted" => writeln!(f, "right: step {step}, the device's clock is up to {seconds} s {side}"),
            "used_before" => {
                writeln!(f, "refused: step {step} or a later one has been used; wait for the next code")
            }
            "clock_off" => writeln!(
                f,
                "refused: right for step {step}, but the device's clock is about {seconds} s {side}"
            ),
            "malformed" => writeln!(f, "refused: a code is six digits"),
            _ => writeln!(f, "refused: no code of this secret within 5 minutes either way"),
        }
    }
}

fn checked(seed: &Seed, code: &str, now: Timestamp, last_step: Option<u64>) -> Result<Answer, Failure> {
    let report = Checked::of(seed, code, now, last_step);
    Ok(Answer::of(&report)?.exit(if report.accepted { Exit::Done } else { Exit::Findings }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// RFC 6238, appendix B, in its last six digits.
    const SECRET: &str = "GEZD GNBV-gy3t qojq GEZDGNBVGY3TQOJQ====";

    fn seed() -> Seed {
        given(Some(SECRET.to_owned())).unwrap()
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(Code::of(&seed(), Timestamp::from_seconds(seconds)).code, code);
        }
        assert_eq!(Code::of(&seed(), Timestamp::from_seconds(59)).seconds_left, 1);
    }

    #[test]
    fn a_check_tells_right_from_used_from_late() {
        let told = |seconds: u64, code: &str, last: Option<u64>| {
            Checked::of(&seed(), code, Timestamp::from_seconds(seconds), last)
                .to_string()
                .trim_end()
                .to_owned()
        };
        insta::assert_snapshot!(told(1_111_111_109, "081804", None), @"right: step 37037036, the clocks agree");
        insta::assert_snapshot!(told(1_111_111_130, "081804", None), @"right: step 37037036, the device's clock is up to 30 s behind");
        insta::assert_snapshot!(told(1_111_111_109, "081804", Some(37_037_036)), @"refused: step 37037036 or a later one has been used; wait for the next code");
        insta::assert_snapshot!(told(1_111_111_209, "081804", None), @"refused: right for step 37037036, but the device's clock is about 120 s behind");
        insta::assert_snapshot!(told(1_111_111_009, "081804", None), @"refused: right for step 37037036, but the device's clock is about 90 s ahead");
        insta::assert_snapshot!(told(1_111_111_109, "081805", None), @"refused: no code of this secret within 5 minutes either way");
        insta::assert_snapshot!(told(1_111_111_109, "08180", None), @"refused: a code is six digits");
    }

    #[test]
    fn what_is_not_base32_is_no_secret() {
        for text in ["", "1", "not base32!", "===="] {
            assert!(given(Some(text.to_owned())).is_err(), "{text}");
        }
    }
}
