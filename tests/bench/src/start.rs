//! Start-up of the shipped bootstraps, against TLS endpoints.

use std::{fs, io::Write as _, path::Path};

use anyhow::Context as _;
use flate2::{Compression, write::DeflateEncoder};
use sallyport_aws::system::OsRandom;
use sallyport_core::{ids::UserId, random::Random};
use serde_json::{Value, json};

use crate::{
    Options,
    accounts::{Kind, Operator, PASSWORD},
    bootstrap::Bootstrap,
    event::{get, post, text},
    process::{Environment, Local, millis},
    report::{Table, verdict},
    stats::{Spread, median},
    tls::Front,
};

pub(crate) const FUNCTIONS: [&str; 5] = ["login", "refresh", "mfa", "keys", "health"];

/// Events of each function, with tokens that go on from answer to answer.
pub(crate) struct Callers {
    runtime: tokio::runtime::Runtime,
    operator: Operator,
    users: Vec<(String, UserId)>,
    next: usize,
    refresh_token: String,
    access_token: String,
}

/// The first part of an address that nobody has.
pub(crate) fn unique() -> anyhow::Result<String> {
    let bytes = (&OsRandom as &dyn Random).bytes::<8>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Sign-ins to one account before its sessions are forgotten: an account with a few.
const FEW: usize = 4;

impl Callers {
    /// Fills the keyring as a deployment does, by the first start of `keys`, and creates accounts.
    pub(crate) fn prepare(
        binaries: &Path,
        behind: &Environment,
        functions: &Environment,
    ) -> anyhow::Result<Self> {
        Bootstrap::start(&binaries.join("keys"), functions)?
            .expect(&get("/.well-known/jwks.json", None), 200)?;
        let mut callers = Self::again(behind)?;
        callers.sign_in(&mut Bootstrap::start(&binaries.join("login"), functions)?)?;
        Ok(callers)
    }

    /// New accounts where the keyring is filled already.
    pub(crate) fn again(behind: &Environment) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let operator = runtime.block_on(Operator::connect(behind))?;
        let users = (0..8)
            .map(|number| {
                let email = format!("{}-{number}@example.com", unique()?);
                let user = runtime.block_on(operator.create(&email, Kind::Plain))?;
                Ok((email, user))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            runtime,
            operator,
            users,
            next: 0,
            refresh_token: String::new(),
            access_token: String::new(),
        })
    }

    /// A sign-in to an account that nobody has used.
    pub(crate) fn new_account_event(&mut self) -> anyhow::Result<Value> {
        let email = format!("{}@example.com", unique()?);
        self.runtime.block_on(self.operator.create(&email, Kind::Plain))?;
        Ok(post("/api/v1/auth/login", None, &json!({"email": email, "password": PASSWORD})))
    }

    /// The account whose session the others use: apart from those of the measured sign-ins.
    pub(crate) fn sign_in(&mut self, login: &mut Bootstrap) -> anyhow::Result<()> {
        let (email, _) = self.users.first().context("no account")?;
        let body = json!({"email": email, "password": PASSWORD});
        let answer = login.expect(&post("/api/v1/auth/login", None, &body), 200)?;
        self.keep(&answer.body)
    }

    pub(crate) fn keep(&mut self, answer: &Value) -> anyhow::Result<()> {
        self.refresh_token = text(answer, "refresh_token")?;
        self.access_token = text(answer, "access_token")?;
        Ok(())
    }

    pub(crate) fn login_event(&mut self) -> anyhow::Result<Value> {
        self.next += 1;
        let others = self.users.len() - 1;
        let (email, user) = self.users.get(1 + self.next % others).context("no account")?;
        if self.next % (others * FEW) < others {
            self.runtime.block_on(self.operator.forget_sessions(*user))?;
        }
        Ok(post("/api/v1/auth/login", None, &json!({"email": email, "password": PASSWORD})))
    }

    pub(crate) fn refresh_event(&self) -> Value {
        post("/api/v1/auth/refresh", None, &json!({"refresh_token": self.refresh_token}))
    }

    fn event(&mut self, function: &str) -> anyhow::Result<Value> {
        Ok(match function {
            "login" => self.login_event()?,
            "refresh" => self.refresh_event(),
            "mfa" => get("/api/v1/mfa/factors", Some(&self.access_token)),
            "keys" => get("/.well-known/jwks.json", None),
            _ => get("/health/sessions", None),
        })
    }

    /// Calls a function once, in milliseconds.
    fn call(&mut self, function: &str, bootstrap: &mut Bootstrap) -> anyhow::Result<f64> {
        let event = self.event(function)?;
        let answer = bootstrap.expect(&event, 200)?;
        if function == "refresh" {
            self.keep(&answer.body)?;
        }
        Ok(millis(answer.wall))
    }
}

#[derive(Debug, Default)]
struct Samples {
    first_poll: Vec<f64>,
    first_poll_cpu: Vec<f64>,
    first_event: Vec<f64>,
    second_event: Vec<f64>,
    warm: Vec<f64>,
    at_rest: Vec<f64>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let runs = if options.quick { 7 } else { 25 };
    let shipped = options.binaries.join("shipped");
    let dependencies = Local::dependencies(&options.binaries.join("local"), &[])?;
    let front = Front::start(&dependencies.environment, &options.work)?;
    let environment = front.environment(&dependencies.environment);
    let mut cold = environment.clone();
    cold.insert("SALLYPORT_WARM_UP".to_owned(), "off".to_owned());
    let mut callers = Callers::prepare(&shipped, &dependencies.environment, &environment)?;

    let mut with = FUNCTIONS.map(|_| Samples::default());
    let mut without = FUNCTIONS.map(|_| Samples::default());
    for _ in 0..runs {
        for (index, function) in FUNCTIONS.iter().enumerate() {
            for (environment, samples) in [(&environment, &mut with), (&cold, &mut without)] {
                let samples = samples.get_mut(index).context("no such function")?;
                let mut bootstrap = Bootstrap::start(&shipped.join(function), environment)?;
                samples.first_poll.push(millis(bootstrap.first_poll));
                samples.first_poll_cpu.push(millis(bootstrap.first_poll_cpu));
                samples.at_rest.push(bootstrap.process.resident()?);
                samples.first_event.push(callers.call(function, &mut bootstrap)?);
                samples.second_event.push(callers.call(function, &mut bootstrap)?);
                let warm: Vec<_> =
                    (0..8).map(|_| callers.call(function, &mut bootstrap)).collect::<anyhow::Result<_>>()?;
                samples.warm.push(median(&warm));
            }
        }
        // Access tokens live for five minutes.
        let mut refresh = Bootstrap::start(&shipped.join("refresh"), &environment)?;
        callers.call("refresh", &mut refresh)?;
    }
    let mut loaded = Vec::new();
    for function in FUNCTIONS {
        let mut bootstrap = Bootstrap::start(&shipped.join(function), &environment)?;
        for _ in 0..50 {
            callers.call(function, &mut bootstrap)?;
        }
        loaded.push(bootstrap.process.resident()?);
    }

    let mut sizes =
        Table::new(&["function", "binary MB", "zip MB", "RSS at rest MB", "RSS after 50 events MB"]);
    let mut starts = Table::new(&[
        "function (event)",
        "warm-up",
        "exec → first poll ms",
        "CPU until then ms",
        "first event ms",
        "second event ms",
        "warm event ms",
    ]);
    let (mut largest, mut largest_zip, mut largest_rest) = (0.0_f64, 0.0_f64, 0.0_f64);
    let events = ["sign-in", "refresh", "list factors", "JWKS", "read sessions table"];
    for (index, function) in FUNCTIONS.iter().enumerate() {
        let (on, off) = with.get(index).zip(without.get(index)).context("no samples")?;
        let (binary, zip) = size(&shipped.join(function))?;
        let rest = Spread::of(&on.at_rest).median;
        largest = largest.max(binary);
        largest_zip = largest_zip.max(zip);
        largest_rest = largest_rest.max(rest);
        sizes.row(&[
            (*function).to_owned(),
            format!("{binary:.2}"),
            format!("{zip:.2}"),
            format!("{rest:.1}"),
            loaded.get(index).map(|loaded| format!("{loaded:.1}")).unwrap_or_default(),
        ]);
        for (word, samples) in [("off", off), ("as shipped", on)] {
            let show = |samples: &[f64]| Spread::of(samples).show(2);
            starts.row(&[
                format!("{function} ({})", events.get(index).copied().unwrap_or_default()),
                word.to_owned(),
                show(&samples.first_poll),
                show(&samples.first_poll_cpu),
                show(&samples.first_event),
                show(&samples.second_event),
                show(&samples.warm),
            ]);
        }
    }
    let of = |name: &str, samples: &[Samples; 5], take: fn(&Samples) -> &Vec<f64>| {
        let index = FUNCTIONS.iter().position(|function| *function == name).unwrap_or_default();
        samples.get(index).map(|samples| median(take(samples))).unwrap_or_default()
    };
    let slowest_poll = without.iter().map(|samples| median(&samples.first_poll)).fold(0.0, f64::max);
    let tls = of("health", &without, |samples| &samples.first_event);
    let mut bounds = Table::new(&["bound", "measured", ""]);
    let mut bound = |what: &str, measured: f64, limit: f64| {
        bounds.row(&[what.to_owned(), format!("{measured:.2}"), verdict(measured <= limit).to_owned()]);
    };
    bound("exec → first poll without warm-up, slowest function ≤ 2 ms", slowest_poll, 2.0);
    bound("first event with one TLS handshake and one DynamoDB read ≤ 3 ms (`health`)", tls, 3.0);
    bound("binary ≤ 8 MB, largest", largest, 8.0);
    bound("zip ≤ 4 MB, largest", largest_zip, 4.0);
    bound("memory at rest ≤ 40 MB, largest", largest_rest, 40.0);
    Ok(format!("{}\n{}\n{}", bounds.text(), starts.text(), sizes.text()))
}

/// Megabytes of a file, and of it in a zip (deflate, and the few bytes of a directory of one file).
#[expect(clippy::cast_precision_loss, reason = "megabytes")]
fn size(binary: &Path) -> anyhow::Result<(f64, f64)> {
    let bytes = fs::read(binary).with_context(|| binary.display().to_string())?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&bytes)?;
    let packed = encoder.finish()?;
    Ok((bytes.len() as f64 / 1e6, (packed.len() as f64 + 130.0) / 1e6))
}
