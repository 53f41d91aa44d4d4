//! Time on a processor of the shipped bootstraps for one event, beside the bare hash.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    Options,
    bootstrap::Bootstrap,
    event::{post, text},
    process::{BareHash, Environment, Local, micros, millis},
    report::{Table, verdict},
    start::Callers,
    stats::Spread,
    tls::Front,
};

pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let rounds = if options.quick { 40 } else { 300 };
    let dependencies = Local::dependencies(&options.binaries.join("local"), &[])?;
    let front = Front::start(&dependencies.environment, &options.work)?;
    let plain = dependencies.environment.clone();
    let secure = front.environment(&plain);

    let mut hashing = Table::new(&[
        "hash",
        "transport",
        "bare hash, CPU ms",
        "sign-in, CPU ms",
        "over the hash, ms",
        "ratio of medians",
        "ratio of pairs",
        "≤ 1.15",
    ]);
    for (engine, directory) in [("portable", "shipped"), ("simd", "simd")] {
        let binaries = options.binaries.join("shipped");
        let mut callers = None;
        for (name, environment) in [("plain", &plain), ("TLS", &secure)] {
            let callers = match &mut callers {
                Some(callers) => callers,
                None if engine == "portable" => {
                    callers.insert(Callers::prepare(&binaries, &plain, environment)?)
                }
                None => callers.insert(Callers::again(&plain)?),
            };
            let login = options.binaries.join(directory).join("login");
            let mut login = Bootstrap::start(&login, environment)?;
            let mut bare = BareHash::start(&options.binaries.join("bare-hash"), engine)?;
            let (mut hashes, mut logins, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..rounds + 5 {
                let event = callers.login_event()?;
                let signed_in = millis(login.expect(&event, 200)?.cpu);
                let hash = millis(bare.hash()?.0);
                if round >= 5 {
                    hashes.push(hash);
                    logins.push(signed_in);
                    ratios.push(signed_in / hash);
                }
            }
            let (hash, own) = (Spread::of(&hashes), Spread::of(&logins));
            let ratio = own.median / hash.median;
            hashing.row(&[
                match engine {
                    "portable" => "argon2 (shipped)".to_owned(),
                    _ => "argon2-rust (`simd-argon2`)".to_owned(),
                },
                name.to_owned(),
                hash.show(2),
                own.show(2),
                format!("{:.2}", own.median - hash.median),
                format!("**{ratio:.3}**"),
                Spread::of(&ratios).show(3),
                verdict(ratio <= 1.15).to_owned(),
            ]);
        }
    }

    let wipe = {
        let mut wiping = BareHash::start(&options.binaries.join("bare-hash"), "wipe")?;
        let mut bare = BareHash::start(&options.binaries.join("bare-hash"), "portable")?;
        let (mut wipes, mut hashes) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            wipes.push(millis(wiping.hash()?.0));
            hashes.push(millis(bare.hash()?.0));
        }
        let (wipe, hash) = (Spread::of(&wipes), Spread::of(&hashes));
        format!(
            "Clearing the 19 MiB after a hash: {} ms of CPU, {:.1} % of the hash.\n",
            wipe.show(2),
            100.0 * wipe.median / hash.median
        )
    };

    let mut others = Table::new(&["event", "transport", "CPU µs", "wall µs"]);
    for (name, environment) in [("plain", &plain), ("TLS", &secure)] {
        let refreshes = refresh(options, &plain, environment, rounds)?;
        let verifies = verify(options, environment, rounds / 10)?;
        for (event, samples) in [("refresh", refreshes), ("MFA verify, recovery code", verifies)] {
            let (cpu, wall): (Vec<_>, Vec<_>) = samples.into_iter().unzip();
            others.row(&[
                event.to_owned(),
                name.to_owned(),
                Spread::of(&cpu).show(0),
                Spread::of(&wall).show(0),
            ]);
        }
    }
    Ok(format!("{}\n{wipe}\n{}", hashing.text(), others.text()))
}

/// Pairs of microseconds: on a processor, and by the clock.
type Samples = Vec<(f64, f64)>;

fn refresh(
    options: &Options,
    behind: &Environment,
    environment: &Environment,
    rounds: usize,
) -> anyhow::Result<Samples> {
    let binaries = options.binaries.join("shipped");
    let mut callers = Callers::again(behind)?;
    callers.sign_in(&mut Bootstrap::start(&binaries.join("login"), environment)?)?;
    let mut refresh = Bootstrap::start(&binaries.join("refresh"), environment)?;
    let mut samples = Vec::new();
    for round in 0..rounds + 5 {
        let event = callers.refresh_event();
        let answer = refresh.expect(&event, 200)?;
        callers.keep(&answer.body)?;
        if round >= 5 {
            samples.push((micros(answer.cpu), micros(answer.wall)));
        }
    }
    Ok(samples)
}

/// Ten recovery codes at a time: by them an account signs in as often as it likes.
fn verify(options: &Options, environment: &Environment, batches: usize) -> anyhow::Result<Samples> {
    let binaries = options.binaries.join("shipped");
    let mut login = Bootstrap::start(&binaries.join("login"), environment)?;
    let mut mfa = Bootstrap::start(&binaries.join("mfa"), environment)?;
    let mut samples = Vec::new();
    let mut callers = Callers::again(environment)?;
    for _ in 0..batches {
        // A new account each time: a code's secret is shown once.
        let event = callers.new_account_event()?;
        let access = text(&login.expect(&event, 200)?.body, "access_token")?;
        let enrolled = mfa.expect(&post("/api/v1/mfa/totp", Some(&access), &json!({})), 201)?.body;
        let code = crate::totp::code(&text(&enrolled, "secret")?)?;
        let confirm = json!({"factor_id": text(&enrolled, "factor_id")?, "code": code});
        let confirmed = mfa.expect(&post("/api/v1/mfa/totp/confirm", Some(&access), &confirm), 200)?.body;
        let codes = confirmed.get("recovery_codes").and_then(Value::as_array).context("no codes")?;
        // Nine: with the first sign-in they are ten sessions, and none has to give way.
        for code in codes.iter().take(9) {
            let pending = text(&login.expect(&event, 200)?.body, "mfa_token")?;
            let body = json!({"mfa_token": pending, "factor_id": "recovery", "code": code});
            let answer = mfa.expect(&post("/api/v1/auth/mfa/verify", None, &body), 200)?;
            samples.push((micros(answer.cpu), micros(answer.wall)));
        }
    }
    Ok(samples)
}
