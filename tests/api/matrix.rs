//! What modes, blocks and other measures do to every deed, each pair in a cell of one table.
//!
//! Rules that are right alone may be wrong together. So every route of the API stands here against every measure that an
//! operator or an attack can bring about, and a route, a mode, a kind of block or of key that has no cells fails the test.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use sallyport_core::flags::{BlockSubject, ModeName};
use sallyport_operations::rotation::KeyKind;
use sallyport_testkit::{Actor, Pending};

use crate::prelude::*;

/// The columns, in their order.
const MEASURES: [&str; 16] = [
    "nothing",
    "emergency",
    "maintenance",
    "degraded.users",
    "degraded.sessions",
    "degraded.throttle",
    "degraded.keyring",
    "block of the address",
    "block of the account",
    "revoked signing",
    "revoked refresh",
    "revoked device",
    "revoked pepper",
    "revoked aead",
    "raised epoch",
    "exhausted address",
];

/// A deed by the right person with the right credentials: who did nothing wrong but to come at this time.
///
/// A cell is one letter of [`outcome_of`], in the order of [`MEASURES`]; the operation is that of the OpenAPI document.
#[rustfmt::skip]
const TABLE: &[(&str, &str, [char; 16])] = &[
    // deed, operation                                     none  emerg maint users sess  throt keyr  addr  acct  sign  refr  dev   pepp  aead  epoch exhau
    ("sign in from a new device", "login",                ['.',  'W',  'M',  'D',  'D',  'D',  '.',  'B',  'L',  '.',  '.',  '.',  '.',  '.',  '.',  'R']),
    ("sign in from a known device", "login",              ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  'L',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("give the password before a code", "login",          ['.',  'W',  'M',  'D',  'D',  'D',  '.',  'B',  'L',  '.',  '.',  '.',  '.',  '.',  '.',  'R']),
    ("ask for a code", "challengeMfa",                    ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  '.',  'X',  '.',  '.',  '.',  '.',  'X',  '.']),
    ("complete with a code", "verifyMfa",                 ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  'L',  'X',  '.',  '.',  '.',  '.',  'x',  'R']),
    ("complete with a recovery code", "verifyMfa",        ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  'L',  'X',  '.',  '.',  '.',  '.',  'x',  'R']),
    ("prove oneself by password", "reauthenticate",       ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  'L',  'T',  '.',  '.',  '.',  '.',  't',  'R']),
    ("prove oneself by a code", "reauthenticate",         ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  'L',  'T',  '.',  '.',  '.',  '.',  't',  'R']),
    ("prove oneself by a recovery code", "reauthenticate",['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  'L',  'T',  '.',  '.',  '.',  '.',  't',  'R']),
    ("list factors", "listFactors",                       ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  '.',  'T',  '.',  '.',  '.',  '.',  'T',  '.']),
    ("enrol a factor", "startTotp",                       ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  '.',  'T',  '.',  '.',  '.',  '.',  'T',  '.']),
    ("confirm a factor", "confirmTotp",                   ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  'l',  'T',  '.',  '.',  '.',  '.',  'T',  '.']),
    ("remove a factor", "deleteFactor",                   ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  '.',  'T',  '.',  '.',  '.',  '.',  'T',  '.']),
    ("renew recovery codes", "regenerateRecoveryCodes",   ['.',  '.',  'M',  'D',  'D',  'D',  '.',  'B',  '.',  'T',  '.',  '.',  '.',  '.',  'T',  '.']),
    ("refresh", "refresh",                                ['.',  '.',  'M',  '.',  'D',  '.',  '.',  'B',  '.',  '.',  'F',  '.',  '.',  '.',  'F',  '.']),
    ("sign out", "logout",                                ['.',  '.',  'M',  '.',  'D',  '.',  '.',  'B',  '.',  'T',  '.',  '.',  '.',  '.',  'E',  '.']),
    ("sign out by the refresh token", "logout",           ['.',  '.',  'M',  '.',  'D',  '.',  '.',  'B',  '.',  '.',  'F',  '.',  '.',  '.',  'E',  '.']),
    ("introspect a refresh token", "introspectToken",     ['.',  '.',  'M',  '.',  'D',  '.',  '.',  'B',  '.',  '.',  'I',  '.',  '.',  '.',  'I',  '.']),
    ("introspect an access token", "introspectToken",     ['.',  '.',  'M',  '.',  'D',  '.',  '.',  'B',  '.',  'I',  '.',  '.',  '.',  '.',  'I',  '.']),
    ("revoke", "revokeToken",                             ['.',  '.',  'M',  '.',  'D',  '.',  '.',  'B',  '.',  '.',  'N',  '.',  '.',  '.',  'N',  '.']),
    ("read the keys", "getJwks",                          ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("read the metadata", "getMetadata",                  ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("read the discovery document", "getDiscovery",       ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("read the API's description", "getOpenApi",          ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("scrape", "getMetrics",                              ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("ask whether it lives", "getLive",                   ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("ask whether it is ready", "getReady",               ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("ask for the tables", "getDb",                       ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("ask for the sessions", "getSessions",               ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("ask for the keyring", "getSecrets",                 ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
    ("read the public page", "getStatus",                 ['.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.',  '.']),
];

/// What a cell says: the answer, how many passwords may be hashed, and of which kinds items may be written; `None` where the
/// deed is done, whose cost `tests/usage` holds.
struct Cell {
    answer: (u16, &'static str),
    hashes: u64,
    writes: Option<&'static [&'static str]>,
}

fn outcome_of(letter: char, deed: &str) -> Cell {
    let refused = |status, code, writes| Cell { answer: (status, code), hashes: 0, writes: Some(writes) };
    match letter {
        // Done, as on any other day.
        '.' => Cell { answer: done(deed), hashes: 1, writes: None },
        'N' => refused(200, "", &[]),
        // It is over already: nothing is written.
        'E' => refused(204, "", &[]),
        // The token is told to be inactive.
        'I' => refused(200, "inactive", &[]),
        'M' => refused(503, "maintenance", &[]),
        'D' => refused(503, "dependency_unavailable", &[]),
        'B' => refused(403, "blocked", &[]),
        'R' => refused(429, "rate_limited", &["address"]),
        'L' => refused(429, "too_many_attempts", &["address"]),
        'l' => refused(429, "too_many_attempts", &[]),
        // To come back after ten seconds.
        'W' => refused(429, "too_many_attempts", &["address", "wait"]),
        'T' => refused(401, "invalid_token", &[]),
        't' => refused(401, "invalid_token", &["address"]),
        'F' => refused(401, "invalid_refresh_token", &[]),
        'X' => refused(401, "invalid_mfa_token", &[]),
        'x' => refused(401, "invalid_mfa_token", &["address"]),
        other => panic!("no such cell: {other}"),
    }
}

fn done(deed: &str) -> (u16, &'static str) {
    match deed {
        "ask for a code" => (409, "challenge_not_applicable"),
        "enrol a factor" => (201, ""),
        "remove a factor" | "sign out" | "sign out by the refresh token" => (204, ""),
        _ => (200, ""),
    }
}

const TOKEN: &str = "scrape-4f1c0d7e9b2a-8c6e0f";

/// A deed that only its request is missing of.
type Ready<'a> = BoxFuture<'a, Result<Answer>>;

struct Scene<'a> {
    backend: &'a Backend,
    /// From whose address the deed is done.
    actor: Actor,
    client: &'a ServiceClient,
}

/// What a deed needs from before the measure.
enum Prepared {
    Nothing,
    Account(Actor, Account),
    /// With the token of the device that it knows.
    Known(Account, String),
    Pending(Pending, String, String),
    Session(Session, Value),
    Revocable(Session),
}

impl Scene<'_> {
    async fn session(&self, account: &Account) -> Result<Session> {
        if account.factors.is_empty() {
            return self.backend.actor().log_in(account).await;
        }
        self.backend.actor().begin_log_in(account).await?.verify_with_totp(self.backend, account).await
    }

    /// Whom the deed concerns, if anybody.
    async fn account(&self, deed: &str) -> Result<Option<Account>> {
        Ok(match deed {
            "give the password before a code"
            | "ask for a code"
            | "complete with a code"
            | "complete with a recovery code"
            | "prove oneself by a code"
            | "prove oneself by a recovery code"
            | "list factors"
            | "remove a factor"
            | "renew recovery codes" => Some(self.backend.account_with_totp().await?),
            "sign in from a new device"
            | "sign in from a known device"
            | "prove oneself by password"
            | "enrol a factor"
            | "confirm a factor"
            | "refresh"
            | "sign out"
            | "sign out by the refresh token"
            | "introspect a refresh token"
            | "introspect an access token"
            | "revoke" => Some(self.backend.account().await?),
            _ => None,
        })
    }

    /// Whatever else has to be there when the measure comes.
    async fn prepare(&self, deed: &str, account: Option<&Account>) -> Result<Prepared> {
        let Some(account) = account else { return Ok(Prepared::Nothing) };
        Ok(match deed {
            "sign in from a new device" => Prepared::Account(self.actor.clone(), account.clone()),
            "sign in from a known device" => {
                let device = self.backend.actor();
                device.log_in(account).await?;
                let token = device.device_token().context("no device token")?;
                Prepared::Known(account.clone(), token)
            }
            "give the password before a code" => Prepared::Account(self.actor.clone(), account.clone()),
            "ask for a code" | "complete with a code" => {
                let pending = self.backend.actor().begin_log_in(account).await?;
                Prepared::Pending(pending, account.factor().id.clone(), String::new())
            }
            "complete with a recovery code" => {
                let pending = self.backend.actor().begin_log_in(account).await?;
                Prepared::Pending(pending, "recovery".to_owned(), account.recovery_codes[0].clone())
            }
            "confirm a factor" => {
                let session = self.session(account).await?;
                let enrolment = session.enrol_totp("Phone").await?;
                let body = json!({"factor_id": enrolment.factor.id, "secret": enrolment.factor.secret});
                Prepared::Session(session, body)
            }
            "prove oneself by password" => {
                Prepared::Session(self.session(account).await?, json!({"password": account.password}))
            }
            "prove oneself by a recovery code" => {
                let proof = json!({"factor_id": "recovery", "code": account.recovery_codes[0]});
                Prepared::Session(self.session(account).await?, proof)
            }
            "introspect a refresh token" | "introspect an access token" | "revoke" => {
                Prepared::Revocable(self.session(account).await?)
            }
            _ => Prepared::Session(self.session(account).await?, Value::Null),
        })
    }

    fn act<'b>(&'b self, deed: &str, prepared: &'b Prepared, account: Option<&'b Account>) -> Ready<'b> {
        let deed = deed.to_owned();
        Box::pin(async move { self.do_it(&deed, prepared, account).await })
    }

    async fn do_it(&self, deed: &str, prepared: &Prepared, account: Option<&Account>) -> Result<Answer> {
        let actor = &self.actor;
        let code = |account: Option<&Account>| -> Result<String> {
            let factor = account.context("no account")?.factor();
            Ok(factor.code_at(self.backend.now()))
        };
        match prepared {
            // Another device each, at the address of the deed.
            Prepared::Account(stranger, account) => {
                stranger.forget_device();
                stranger.try_log_in(&account.email, &account.password).await
            }
            Prepared::Known(account, token) => {
                let Account { email, password, .. } = account;
                let body = json!({"email": email, "password": password, "device_token": token});
                actor.post("/api/v1/auth/login", &body).await
            }
            Prepared::Pending(pending, factor, _) if deed == "ask for a code" => {
                let body = json!({"mfa_token": pending.mfa_token, "factor_id": factor});
                actor.post("/api/v1/auth/mfa/challenge", &body).await
            }
            Prepared::Pending(pending, factor, given) => {
                let code = if given.is_empty() { code(account)? } else { given.clone() };
                let body = json!({"mfa_token": pending.mfa_token, "factor_id": factor, "code": code});
                actor.post("/api/v1/auth/mfa/verify", &body).await
            }
            Prepared::Session(session, body) => self.by_session(deed, session, body, account).await,
            Prepared::Revocable(session) => {
                let (path, token) = match deed {
                    "revoke" => ("/oauth/revoke", &session.refresh_token),
                    "introspect a refresh token" => ("/oauth/introspect", &session.refresh_token),
                    _ => ("/oauth/introspect", &session.access_token),
                };
                actor.ask("POST", path).basic(self.client).form(&[("token", token)]).send().await
            }
            Prepared::Nothing => {
                let path = match deed {
                    "read the keys" => "/.well-known/jwks.json",
                    "read the metadata" => "/.well-known/oauth-authorization-server",
                    "read the discovery document" => "/.well-known/openid-configuration",
                    "read the API's description" => "/openapi.json",
                    "scrape" => return actor.ask("GET", "/metrics").bearer(TOKEN).send().await,
                    "ask whether it lives" => "/health/live",
                    "ask whether it is ready" => "/health/ready",
                    "ask for the tables" => "/health/db",
                    "ask for the sessions" => "/health/sessions",
                    "ask for the keyring" => "/health/secrets",
                    "read the public page" => "/status",
                    other => panic!("nothing does: {other}"),
                };
                actor.get(path).await
            }
        }
    }

    async fn by_session(
        &self,
        deed: &str,
        session: &Session,
        body: &Value,
        account: Option<&Account>,
    ) -> Result<Answer> {
        // From the address of the deed, whoever signed in.
        let ask = |method: &str, path: &str| self.actor.ask(method, path).bearer(&session.access_token);
        match deed {
            "prove oneself by a code" => {
                let factor = account.context("no account")?.factor();
                let body = json!({"factor_id": factor.id, "code": factor.code_at(self.backend.now())});
                ask("POST", "/api/v1/auth/reauthenticate").json(&body).send().await
            }
            "prove oneself by password" | "prove oneself by a recovery code" => {
                ask("POST", "/api/v1/auth/reauthenticate").json(body).send().await
            }
            "list factors" => ask("GET", "/api/v1/mfa/factors").send().await,
            "remove a factor" => {
                let id = &account.context("no account")?.factor().id;
                ask("DELETE", &format!("/api/v1/mfa/factors/{id}")).send().await
            }
            "renew recovery codes" => ask("POST", "/api/v1/mfa/recovery-codes").send().await,
            "enrol a factor" => ask("POST", "/api/v1/mfa/totp").json(&json!({"label": "Phone"})).send().await,
            "confirm a factor" => {
                let text = |name: &str| body[name].as_str().unwrap_or_default();
                let factor = Factor::new(text("factor_id"), text("secret"));
                let body = json!({"factor_id": factor.id, "code": factor.code_at(self.backend.now())});
                ask("POST", "/api/v1/mfa/totp/confirm").json(&body).send().await
            }
            "refresh" => self.actor.try_refresh(&session.refresh_token).await,
            "sign out" => ask("POST", "/api/v1/auth/logout").json(&json!({"scope": "local"})).send().await,
            "sign out by the refresh token" => {
                let body = json!({"refresh_token": session.refresh_token, "scope": "local"});
                self.actor.post("/api/v1/auth/logout", &body).await
            }
            other => panic!("nothing does: {other}"),
        }
    }

    /// Brings the measure about, and waits as long as it takes to be obeyed.
    async fn take(&self, measure: &str, accounts: &[&Account]) -> Result<()> {
        let backend = self.backend;
        match measure {
            "nothing" => {}
            "block of the address" => {
                backend.block_prefix(&format!("{}/32", self.actor.address()), 3600).await?;
            }
            "block of the account" => {
                for account in accounts {
                    backend.block_account(&account.email, 3600).await?;
                }
            }
            "raised epoch" => {
                for account in accounts {
                    backend.revoke_sessions(account).await?;
                }
            }
            "exhausted address" => {
                let first = self.actor.try_log_in("nobody@example.com", "x").await?;
                let (_, resets) = first.header("ratelimit").rsplit_once('=').context("no limit")?;
                backend.advance(resets.parse::<u64>()? + 1).await?;
                while self.actor.try_log_in("nobody@example.com", "x").await?.outcome().1 != "rate_limited" {}
            }
            revoked if revoked.starts_with("revoked ") => {
                let kind = revoked.trim_start_matches("revoked ");
                let document = backend.keyring();
                let mut keys = document[kind].as_array().into_iter().flatten();
                let key = keys.rfind(|key| key["state"] == "current").context("no key")?;
                let name = key["kid"].as_str().map_or_else(|| format!("{kind}:{}", key["id"]), str::to_owned);
                let revoked = backend.revoke_key(&name).await;
                // Hashes and seeds depend on these two: neither is ever taken out of use at once.
                ensure!(revoked.is_err() == ["pepper", "aead"].contains(&kind), "{kind}: {revoked:?}");
            }
            mode => backend.set_mode(mode, 3600).await?,
        }
        // A copy of the flags serves for five seconds.
        backend.advance(if measure == "exhausted address" { 0 } else { 10 }).await
    }
}

/// Every column is there: modes, kinds of blocks and of keys are asked of those who know them.
#[test]
fn every_measure_and_every_route_has_its_cells() -> Result<()> {
    let blocks = |subject: &BlockSubject| match subject {
        BlockSubject::Network(_) => "block of the address",
        BlockSubject::Account(_) => "block of the account",
    };
    let account =
        BlockSubject::Account("ada@example.com".parse::<sallyport_core::accounts::Email>()?.account_key());
    let network = BlockSubject::Network("192.0.2.0/24".parse()?);
    let known: BTreeSet<String> = ["nothing", "raised epoch", "exhausted address"]
        .into_iter()
        .chain([blocks(&account), blocks(&network)])
        .map(str::to_owned)
        .chain(ModeName::all().map(|mode| mode.to_string()))
        .chain(KeyKind::ALL.map(|kind| format!("revoked {}", kind.as_str())))
        .collect();
    assert_eq!(MEASURES.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(), known);

    let document: Value = serde_json::from_str(include_str!("../../functions/keys/openapi.json"))?;
    let paths = document["paths"].as_object().context("no paths")?;
    let operations = paths.values().filter_map(Value::as_object).flat_map(|path| path.values());
    let operations: BTreeSet<_> = operations.filter_map(|one| one["operationId"].as_str()).collect();
    assert_eq!(TABLE.iter().map(|row| row.1).collect::<BTreeSet<_>>(), operations);
    Ok(())
}

async fn column(index: usize) -> Result<Vec<String>> {
    let measure = MEASURES[index];
    let providers = [("metrics_token".to_owned(), TOKEN.to_owned())].into();
    let mut options = local::Options { providers, ..local::Options::default() };
    if measure == "exhausted address" {
        options.environment.insert("SALLYPORT_ADDRESS_LIMIT".to_owned(), "20".to_owned());
    }
    let backend = Backend::start_as(options).await?;
    let client = backend.client().await?;
    let scene = Scene { backend: &backend, actor: backend.actor(), client: &client };
    let mut accounts = Vec::new();
    for (deed, ..) in TABLE {
        accounts.push(scene.account(deed).await?);
    }
    // A code is good once: each account has one more by then, and another one by the time of the deed.
    backend.advance(31).await?;
    let mut prepared = Vec::new();
    for ((deed, _, cells), account) in TABLE.iter().zip(&accounts) {
        prepared.push((*deed, cells[index], scene.prepare(deed, account.as_ref()).await?, account.as_ref()));
    }
    backend.advance(31).await?;
    let accounts: Vec<_> = accounts.iter().flatten().collect();
    scene.take(measure, &accounts).await?;
    let mut wrong = Vec::new();
    for (deed, letter, prepared, account) in &prepared {
        let cell = outcome_of(*letter, deed);
        let before = backend.logs().await?.last().and_then(|line| line["sequence"].as_u64()).unwrap_or(0);
        backend.forget_calls().await?;
        let answer = scene.act(deed, prepared, *account).await?;
        let calls = backend.calls().await?;
        let mut writes: Vec<_> = calls
            .iter()
            .filter(|call| call["service"] == "dynamodb")
            .filter(|call| !["GetItem", "Query"].contains(&call["operation"].as_str().unwrap_or_default()))
            .flat_map(|call| call["parts"].as_array().cloned().unwrap_or_default())
            .filter_map(|part| part["kind"].as_str().map(str::to_owned))
            .collect();
        writes.sort_unstable();
        let lines = backend.logs_since(before).await?;
        let hashes: u64 = lines.iter().filter_map(|line| line["line"]["password_checks"].as_u64()).sum();
        let (status, mut code) = answer.outcome();
        if answer.field("active") == json!(false) {
            "inactive".clone_into(&mut code);
        }
        let right = (status, code.as_str()) == cell.answer
            && hashes <= cell.hashes
            && cell.writes.is_none_or(|expected| writes == expected);
        if !right {
            let told = format!("{status} {code}, {hashes} hashes, writes {writes:?}");
            wrong.push(format!("{measure} × {deed}: not {letter:?} but {told}"));
        }
    }
    Ok(wrong)
}

async fn check(indexes: impl IntoIterator<Item = usize>) -> Result<()> {
    let mut wrong = Vec::new();
    for index in indexes {
        wrong.extend(column(index).await.with_context(|| MEASURES[index])?);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn modes_do_to_every_deed_what_their_cells_say() -> Result<()> {
    check(0..7).await
}

#[tokio::test]
async fn blocks_and_limits_do_to_every_deed_what_their_cells_say() -> Result<()> {
    check([7, 8, 14, 15]).await
}

#[tokio::test]
async fn revoked_keys_do_to_every_deed_what_their_cells_say() -> Result<()> {
    check(9..14).await
}
