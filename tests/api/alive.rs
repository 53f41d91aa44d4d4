//! Authentic is not alive: every route that takes a token, with a token of every kind, in every state of what it stands for.
//!
//! A signature or a MAC says who issued a token. Whether its session lives, whether its epoch has passed and whether it was
//! spent is said by the tables alone; whatever a route changes without having asked them it changes for whoever found the token.

use std::collections::{BTreeMap, BTreeSet};

use sallyport_testkit::Actor;
use tokio::task::JoinSet;

use crate::prelude::*;

const REFRESH_COOKIE: &str = "__Host-sallyport_refresh";

/// Routes that take a token, by their name here and in the OpenAPI document, and where they take it.
const ROUTES: &[(&str, &str, Slot)] = &[
    ("refresh", "refresh", Slot::Refresh),
    ("refresh by cookie", "refresh", Slot::Refresh),
    ("logout local by refresh token", "logout", Slot::Refresh),
    ("logout others by refresh token", "logout", Slot::Refresh),
    ("logout global by refresh token", "logout", Slot::Refresh),
    ("logout global by cookie", "logout", Slot::Refresh),
    ("introspect refresh token", "introspectToken", Slot::Refresh),
    ("revoke refresh token", "revokeToken", Slot::Refresh),
    ("logout local", "logout", Slot::Access),
    ("logout others", "logout", Slot::Access),
    ("logout global", "logout", Slot::Access),
    ("reauthenticate", "reauthenticate", Slot::Access),
    ("list factors", "listFactors", Slot::Access),
    ("enrol", "startTotp", Slot::Access),
    ("confirm", "confirmTotp", Slot::Access),
    ("remove a factor", "deleteFactor", Slot::Access),
    ("new recovery codes", "regenerateRecoveryCodes", Slot::Access),
    ("introspect access token", "introspectToken", Slot::Access),
    ("revoke access token", "revokeToken", Slot::Access),
    ("verify, right recovery code", "verifyMfa", Slot::Mfa),
    ("verify, wrong recovery code", "verifyMfa", Slot::Mfa),
    ("verify, right code", "verifyMfa", Slot::Mfa),
    ("verify, wrong code", "verifyMfa", Slot::Mfa),
    ("challenge", "challengeMfa", Slot::Mfa),
    ("login", "login", Slot::Device),
];

/// Operations that take none. (The scrape token of the metrics is a setting and stands for nothing else.)
const TOKENLESS: [&str; 11] = [
    "getJwks",
    "getMetadata",
    "getDiscovery",
    "getOpenApi",
    "getMetrics",
    "getLive",
    "getReady",
    "getDb",
    "getSessions",
    "getSecrets",
    "getStatus",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Access,
    Refresh,
    Mfa,
    Device,
}

/// What became of what a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its session lives, its counter is the current one; its sign-in waits.
    Live,
    LoggedOut,
    /// By another session's logout of all others.
    LoggedOutByAnother,
    /// By a logout of everything, of another session.
    SignedOutEverywhere,
    /// By an eleventh sign-in.
    Displaced,
    RevokedByService,
    EndedAfterReuse,
    Revoked,
    PasswordSet,
    ResetForced,
    Disabled,
    EnabledAgain,
    FactorsReset,
    Spent,
    /// By its own time.
    Expired,
    IdleTooLong,
    OneBehind,
    OneBehindAfterTheGrace,
    Older,
    /// The table was put back to an earlier state.
    Ahead,
}

use State::*;

/// States that a route can't tell apart.
const DEAD: &[State] = &[
    LoggedOut,
    LoggedOutByAnother,
    SignedOutEverywhere,
    Displaced,
    RevokedByService,
    EndedAfterReuse,
    Revoked,
    PasswordSet,
    ResetForced,
    Disabled,
    EnabledAgain,
    FactorsReset,
];
const SPENT: &[State] = &[OneBehindAfterTheGrace, Older];
const REPEATED: &[State] = &[OneBehind];
const OVER: &[State] = &[IdleTooLong];
const PAST: &[State] =
    &[Spent, SignedOutEverywhere, Revoked, PasswordSet, ResetForced, Disabled, EnabledAgain, Expired];

/// What is there afterwards of the session of the token and of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Unchanged,
    Both,
    Own,
    Other,
    Neither,
}

struct Cell(
    &'static str,
    &'static [State],
    (u16, &'static str),
    &'static [&'static str],
    &'static [&'static str],
    Left,
);

const NOTHING: &[&str] = &[];
const ENDED: &[&str] = &["session.ended"];
const SESSION: &[&str] = &["Audit", "Sessions"];
const ACCOUNT: &[&str] = &["Audit", "Sessions", "Users"];
const FACTORS: &[&str] = &["Audit", "Users"];
const REUSED: (&[&str], &[&str]) = (&["Audit", "Outbox", "Sessions"], &["session.refresh_token_reused"]);

/// Route, states, answer, tables written, events, sessions left. The attempts of an address are not counted as written.
#[rustfmt::skip]
const TABLE: &[Cell] = &[
    Cell("refresh", &[Live], (200, ""), &["Sessions"], NOTHING, Left::Both),
    Cell("refresh", REPEATED, (200, ""), NOTHING, NOTHING, Left::Both),
    Cell("refresh", SPENT, (401, "refresh_token_reused"), REUSED.0, REUSED.1, Left::Other),
    Cell("refresh", &[Ahead], (401, "invalid_refresh_token"), NOTHING, NOTHING, Left::Both),
    Cell("refresh", DEAD, (401, "invalid_refresh_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("refresh", OVER, (401, "invalid_refresh_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("refresh by cookie", &[Live], (200, ""), &["Sessions"], NOTHING, Left::Both),
    Cell("refresh by cookie", REPEATED, (200, ""), NOTHING, NOTHING, Left::Both),
    Cell("refresh by cookie", SPENT, (401, "refresh_token_reused"), REUSED.0, REUSED.1, Left::Other),
    Cell("refresh by cookie", &[Ahead], (401, "invalid_refresh_token"), NOTHING, NOTHING, Left::Both),
    Cell("refresh by cookie", DEAD, (401, "invalid_refresh_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("refresh by cookie", OVER, (401, "invalid_refresh_token"), NOTHING, NOTHING, Left::Unchanged),

    Cell("logout local by refresh token", &[Live], (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout local by refresh token", REPEATED, (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout local by refresh token", SPENT, (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout local by refresh token", &[Ahead], (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout local by refresh token", DEAD, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout local by refresh token", OVER, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout others by refresh token", &[Live], (204, ""), SESSION, ENDED, Left::Own),
    Cell("logout others by refresh token", REPEATED, (204, ""), SESSION, ENDED, Left::Own),
    Cell("logout others by refresh token", SPENT, (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout others by refresh token", &[Ahead], (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout others by refresh token", DEAD, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout others by refresh token", OVER, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout global by refresh token", &[Live], (204, ""), ACCOUNT, ENDED, Left::Neither),
    Cell("logout global by refresh token", REPEATED, (204, ""), ACCOUNT, ENDED, Left::Neither),
    Cell("logout global by refresh token", SPENT, (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout global by refresh token", &[Ahead], (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout global by refresh token", DEAD, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout global by refresh token", OVER, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout global by cookie", &[Live], (204, ""), ACCOUNT, ENDED, Left::Neither),
    Cell("logout global by cookie", REPEATED, (204, ""), ACCOUNT, ENDED, Left::Neither),
    Cell("logout global by cookie", SPENT, (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout global by cookie", &[Ahead], (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout global by cookie", DEAD, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout global by cookie", OVER, (204, ""), NOTHING, NOTHING, Left::Unchanged),

    Cell("introspect refresh token", &[Live], (200, "active"), NOTHING, NOTHING, Left::Both),
    Cell("introspect refresh token", REPEATED, (200, "inactive"), NOTHING, NOTHING, Left::Both),
    Cell("introspect refresh token", SPENT, (200, "inactive"), NOTHING, NOTHING, Left::Both),
    Cell("introspect refresh token", &[Ahead], (200, "inactive"), NOTHING, NOTHING, Left::Both),
    Cell("introspect refresh token", DEAD, (200, "inactive"), NOTHING, NOTHING, Left::Unchanged),
    Cell("introspect refresh token", OVER, (200, "inactive"), NOTHING, NOTHING, Left::Unchanged),
    Cell("revoke refresh token", &[Live], (200, ""), SESSION, ENDED, Left::Other),
    Cell("revoke refresh token", REPEATED, (200, ""), SESSION, ENDED, Left::Other),
    Cell("revoke refresh token", SPENT, (200, ""), SESSION, ENDED, Left::Other),
    Cell("revoke refresh token", &[Ahead], (200, ""), SESSION, ENDED, Left::Other),
    Cell("revoke refresh token", DEAD, (200, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("revoke refresh token", OVER, (200, ""), NOTHING, NOTHING, Left::Unchanged),

    Cell("logout local", &[Live], (204, ""), SESSION, ENDED, Left::Other),
    Cell("logout local", DEAD, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout local", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("logout others", &[Live], (204, ""), SESSION, ENDED, Left::Own),
    Cell("logout others", DEAD, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout others", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("logout global", &[Live], (204, ""), ACCOUNT, ENDED, Left::Neither),
    Cell("logout global", DEAD, (204, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("logout global", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("reauthenticate", &[Live], (200, ""), SESSION, &["session.reauthenticated"], Left::Both),
    Cell("reauthenticate", DEAD, (401, "invalid_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("reauthenticate", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("list factors", &[Live], (200, ""), NOTHING, NOTHING, Left::Both),
    Cell("list factors", DEAD, (401, "invalid_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("list factors", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("enrol", &[Live], (201, ""), FACTORS, &["mfa.totp_enrolled"], Left::Both),
    Cell("enrol", DEAD, (401, "invalid_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("enrol", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("confirm", &[Live], (200, ""), FACTORS, &["mfa.recovery_codes_issued", "mfa.totp_confirmed"], Left::Both),
    Cell("confirm", DEAD, (401, "invalid_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("confirm", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("remove a factor", &[Live], (204, ""), FACTORS, &["mfa.factor_removed"], Left::Both),
    Cell("remove a factor", DEAD, (401, "invalid_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("remove a factor", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("new recovery codes", &[Live], (404, "factor_not_found"), NOTHING, NOTHING, Left::Both),
    Cell("new recovery codes", DEAD, (401, "invalid_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("new recovery codes", &[Expired], (401, "invalid_token"), NOTHING, NOTHING, Left::Both),
    Cell("introspect access token", &[Live], (200, "active"), NOTHING, NOTHING, Left::Both),
    Cell("introspect access token", DEAD, (200, "inactive"), NOTHING, NOTHING, Left::Unchanged),
    Cell("introspect access token", &[Expired], (200, "inactive"), NOTHING, NOTHING, Left::Both),
    Cell("revoke access token", &[Live], (200, ""), SESSION, ENDED, Left::Other),
    Cell("revoke access token", DEAD, (200, ""), NOTHING, NOTHING, Left::Unchanged),
    Cell("revoke access token", &[Expired], (200, ""), NOTHING, NOTHING, Left::Both),

    Cell("verify, right recovery code", &[Live], (200, ""), &["Audit", "Sessions", "Throttle", "Users"], &["login.succeeded", "mfa.recovery_code_used"], Left::Unchanged),
    Cell("verify, right recovery code", PAST, (401, "invalid_mfa_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("verify, wrong recovery code", &[Live], (401, "invalid_code"), &["Audit", "Throttle"], &["mfa.refused"], Left::Unchanged),
    Cell("verify, wrong recovery code", PAST, (401, "invalid_mfa_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("verify, right code", &[Live], (200, ""), &["Audit", "Sessions", "Throttle", "Users"], &["login.succeeded"], Left::Unchanged),
    Cell("verify, right code", PAST, (401, "invalid_mfa_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("verify, wrong code", &[Live], (401, "invalid_code"), &["Audit", "Throttle"], &["mfa.refused"], Left::Unchanged),
    Cell("verify, wrong code", PAST, (401, "invalid_mfa_token"), NOTHING, NOTHING, Left::Unchanged),
    Cell("challenge", &[Live], (409, "challenge_not_applicable"), NOTHING, NOTHING, Left::Unchanged),
    Cell("challenge", PAST, (401, "invalid_mfa_token"), NOTHING, NOTHING, Left::Unchanged),
];

/// What a route may still write for a dead token: a refresh asks by the condition of its one write.
const ASKS_BY_WRITING: [&str; 2] = ["refresh", "refresh by cookie"];

fn states_of(slot: Slot) -> Vec<State> {
    match slot {
        Slot::Access => [&[Live, Expired][..], DEAD].concat(),
        Slot::Refresh => [&[Live, Ahead][..], REPEATED, SPENT, OVER, DEAD].concat(),
        Slot::Mfa => [&[Live][..], PAST].concat(),
        // It opens nothing: what it does for its pool is told in `login.rs`.
        Slot::Device => Vec::new(),
    }
}

#[test]
fn every_operation_that_takes_a_token_is_in_the_table_with_every_state() {
    let document: Value = serde_json::from_str(include_str!("../../functions/keys/openapi.json")).unwrap();
    let operations: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let known: BTreeSet<_> = ROUTES.iter().map(|(_, operation, _)| *operation).chain(TOKENLESS).collect();
    assert_eq!(operations, known, "an operation is neither in the table nor without a token");
    for (route, _, slot) in ROUTES {
        for state in states_of(*slot) {
            let cells = TABLE.iter().filter(|cell| cell.0 == *route && cell.1.contains(&state)).count();
            assert_eq!(cells, 1, "{route}, {state:?}");
        }
    }
    let rows: usize = TABLE.iter().map(|cell| cell.1.len()).sum();
    let cells: usize = ROUTES.iter().map(|(_, _, slot)| states_of(*slot).len()).sum();
    assert_eq!(rows, cells, "a row of no state that its token can have");
}

/// A backend of its own, so that its clock can be moved.
struct Stage {
    backend: Backend,
    account: Account,
    client: ServiceClient,
    own: Session,
    other: Session,
    enrolled: Factor,
    mfa_token: String,
}

/// What somebody found.
struct Tokens {
    session: Session,
    mfa_token: String,
}

/// All items but what every request changes, by table and key.
type Snapshot = BTreeMap<(String, String), Value>;

async fn snapshot(backend: &Backend) -> Result<Snapshot> {
    let mut all = Snapshot::new();
    for table in ["Users", "Sessions", "Throttle", "Outbox", "Audit"] {
        for item in backend.items(table).await? {
            let key =
                ["pk", "sk", "user_id", "key"].map(|name| item[name].as_str().unwrap_or_default()).join(" ");
            if !key.contains("address#") {
                all.insert((table.to_owned(), key), item);
            }
        }
    }
    Ok(all)
}

/// Tables that differ, and the kinds of new events.
fn difference(before: &Snapshot, after: &Snapshot) -> (Vec<String>, Vec<String>) {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed: Vec<_> = keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).collect();
    let tables: BTreeSet<_> = changed.iter().map(|(table, _)| table.clone()).collect();
    let mut events: Vec<_> = changed
        .iter()
        .filter(|(table, _)| table == "Audit")
        .filter_map(|key| after.get(*key)?["kind"].as_str().map(str::to_owned))
        .collect();
    events.sort();
    (tables.into_iter().collect(), events)
}

fn is_there(all: &Snapshot, session: &Session) -> bool {
    let name = session.session_id.replace("ses_", "s_");
    all.iter().any(|((table, _), item)| table == "Sessions" && !item[&name].is_null())
}

impl Stage {
    /// An account with two sessions, of which the first has enrolled an app, and where `mfa` a confirmed factor and a sign-in
    /// that waits for it.
    async fn set(mfa: bool) -> Result<Self> {
        let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "100000")]).await?;
        let client = backend.client().await?;
        if mfa {
            let account = backend.account_with_totp().await?;
            let sign_in = |code: usize| {
                let (actor, account) = (backend.actor(), account.clone());
                async move {
                    let pending = actor.begin_log_in(&account).await?;
                    pending.verify_with_recovery_code(&account.recovery_codes[code]).await
                }
            };
            let (own, other) = (sign_in(0).await?, sign_in(1).await?);
            let mfa_token = backend.actor().begin_log_in(&account).await?.mfa_token;
            let enrolled = account.factor().clone();
            return Ok(Self { backend, account, client, own, other, enrolled, mfa_token });
        }
        let account = backend.account().await?;
        let (own, other) = (backend.actor().log_in(&account).await?, backend.actor().log_in(&account).await?);
        let enrolled = own.enrol_totp("Phone").await?.factor;
        Ok(Self { backend, account, client, own, other, enrolled, mfa_token: String::new() })
    }

    /// Brings what the token stands for into a state. `own` keeps the tokens of before, but for the counters that `state` names.
    async fn bring(&mut self, state: State) -> Result<()> {
        let backend = &self.backend;
        match state {
            Live => {}
            LoggedOut => drop(self.own.log_out("local").await?.expect(204)?),
            LoggedOutByAnother => drop(self.other.log_out("others").await?.expect(204)?),
            SignedOutEverywhere => drop(self.other.log_out("global").await?.expect(204)?),
            Displaced => {
                for _ in 0..9 {
                    backend.actor().log_in(&self.account).await?;
                }
            }
            RevokedByService => {
                backend.actor().revoke(&self.client, &self.own.refresh_token).await?.expect(200)?;
            }
            EndedAfterReuse => {
                let mut ahead = self.own.clone();
                ahead.refresh().await?;
                ahead.refresh().await?;
                self.own.try_refresh().await?.expect(401)?;
                self.own = Session { access_token: self.own.access_token.clone(), ..ahead };
            }
            Revoked => backend.revoke_sessions(&self.account).await?,
            PasswordSet => backend.set_password(&mut self.account, "another password, chosen anew").await?,
            ResetForced => ensure!(backend.force_reset(&self.account).await?, "no password"),
            Disabled => backend.disable(&self.account).await?,
            EnabledAgain => {
                backend.disable(&self.account).await?;
                backend.enable(&self.account).await?;
            }
            FactorsReset => ensure!(backend.reset_factors(&self.account).await?, "no factor"),
            Spent => {
                let code = self.account.recovery_codes[2].clone();
                self.verify(&self.mfa_token, "recovery", &code).await?.expect(200)?;
            }
            Expired => backend.advance(301).await?,
            IdleTooLong => backend.advance_days(14).await?,
            OneBehind | OneBehindAfterTheGrace | Older => {
                let mut ahead = self.own.clone();
                ahead.refresh().await?;
                match state {
                    OneBehindAfterTheGrace => backend.advance(61).await?,
                    Older => ahead.refresh().await?,
                    _ => {}
                }
            }
            Ahead => {
                self.own.refresh().await?;
                let name = self.own.session_id.replace("ses_", "s_");
                let request = json!({
                    "TableName": backend.environment()["SALLYPORT_SESSIONS_TABLE"],
                    "Key": {"user_id": {"S": self.account.user_id}},
                    "UpdateExpression": "SET #s.c = :earlier",
                    "ExpressionAttributeNames": {"#s": name},
                    "ExpressionAttributeValues": {":earlier": {"N": "0"}},
                });
                backend.write_past_everything("UpdateItem", &request).await?;
            }
        }
        Ok(())
    }

    fn tokens(&self) -> Tokens {
        Tokens { session: self.own.clone(), mfa_token: self.mfa_token.clone() }
    }

    async fn verify(&self, mfa_token: &str, factor: &str, code: &str) -> Result<Answer> {
        let body = json!({"mfa_token": mfa_token, "factor_id": factor, "code": code});
        self.backend.actor().post("/api/v1/auth/mfa/verify", &body).await
    }

    async fn by_cookie(&self, refresh_token: &str, path: &str, body: &Value) -> Result<Answer> {
        let browser = self.backend.browser(APP_ORIGIN);
        browser.set_cookie(REFRESH_COOKIE, refresh_token);
        browser.post(path, body).await
    }

    /// As whoever found the tokens, at another device.
    async fn ask(&self, route: &str, tokens: &Tokens) -> Result<(u16, String)> {
        let thief: Actor = self.backend.actor();
        let own = Session { actor: thief.clone(), ..tokens.session.clone() };
        let (refresh_token, mfa_token) = (own.refresh_token.as_str(), tokens.mfa_token.as_str());
        let log_out = |scope: &str| {
            let body = json!({"refresh_token": own.refresh_token, "scope": scope});
            let thief = thief.clone();
            async move { thief.post("/api/v1/auth/logout", &body).await }
        };
        let wrong = self.enrolled.wrong_code_at(self.backend.now());
        let answer = match route {
            "refresh" => thief.try_refresh(refresh_token).await?,
            "refresh by cookie" => self.by_cookie(refresh_token, "/api/v1/auth/refresh", &json!({})).await?,
            "logout local by refresh token" => log_out("local").await?,
            "logout others by refresh token" => log_out("others").await?,
            "logout global by refresh token" => log_out("global").await?,
            "logout global by cookie" => {
                self.by_cookie(refresh_token, "/api/v1/auth/logout", &json!({"scope": "global"})).await?
            }
            "introspect refresh token" => thief.introspect(&self.client, &own.refresh_token).await?,
            "revoke refresh token" => thief.revoke(&self.client, &own.refresh_token).await?,
            "logout local" => own.log_out("local").await?,
            "logout others" => own.log_out("others").await?,
            "logout global" => own.log_out("global").await?,
            "reauthenticate" => own.try_reauthenticate(&json!({"password": self.account.password})).await?,
            "list factors" => own.list_factors().await?,
            "enrol" => own.try_enrol_totp("Tablet").await?,
            "confirm" => {
                let code = self.enrolled.code_at(self.backend.now());
                own.try_confirm(&self.enrolled.id, &code).await?
            }
            "remove a factor" => own.remove_factor(&self.enrolled.id).await?,
            "new recovery codes" => own.new_recovery_codes().await?,
            "introspect access token" => thief.introspect(&self.client, &own.access_token).await?,
            "revoke access token" => thief.revoke(&self.client, &own.access_token).await?,
            "verify, right recovery code" => {
                self.verify(mfa_token, "recovery", &self.account.recovery_codes[3]).await?
            }
            "verify, wrong recovery code" => {
                self.verify(mfa_token, "recovery", "aaaaaa-aaaaaa-aaaaaa-aaaaaa").await?
            }
            "verify, right code" => {
                let code = self.backend.code(&self.enrolled).await?;
                self.verify(mfa_token, &self.enrolled.id, &code).await?
            }
            "verify, wrong code" => self.verify(mfa_token, &self.enrolled.id, &wrong).await?,
            "challenge" => {
                let body = json!({"mfa_token": mfa_token, "factor_id": self.enrolled.id});
                thief.post("/api/v1/auth/mfa/challenge", &body).await?
            }
            other => anyhow::bail!("no route {other}"),
        };
        Ok(match answer.field("active") {
            Value::Bool(active) => (answer.status, if active { "active" } else { "inactive" }.to_owned()),
            _ => answer.outcome(),
        })
    }

    /// Asks, and compares with the table.
    async fn play(&self, route: &str, state: State) -> Result<Option<String>> {
        let Cell(_, _, (status, code), writes, events, left) =
            TABLE.iter().find(|cell| cell.0 == route && cell.1.contains(&state)).context("no cell")?;
        let before = snapshot(&self.backend).await?;
        self.backend.forget_calls().await?;
        let answered = self.ask(route, &self.tokens()).await?;
        let calls = self.backend.calls().await?;
        let after = snapshot(&self.backend).await?;
        let (mut tables, told) = difference(&before, &after);
        if matches!(route, "reauthenticate" | "confirm") {
            // The attempt was counted, and settled.
            tables.retain(|table| table != "Throttle");
        }
        let wrote = calls.iter().any(|call| {
            let writes = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"];
            writes.contains(&call["operation"].as_str().unwrap_or_default())
                && call["parts"].as_array().into_iter().flatten().any(|part| part["kind"] != "address")
        });
        let there = (is_there(&after, &self.own), is_there(&after, &self.other));
        let as_left = match left {
            Left::Unchanged => true,
            Left::Both => there == (true, true),
            Left::Own => there == (true, false),
            Left::Other => there == (false, true),
            Left::Neither => there == (false, false),
        };
        let quiet = !writes.is_empty() || !wrote || ASKS_BY_WRITING.contains(&route);
        let right =
            answered == outcome(*status, code) && tables == *writes && told == *events && as_left && quiet;
        let found =
            format!("{route}, {state:?}: {answered:?} {tables:?} {told:?}, left {there:?}, wrote {wrote}");
        Ok((!right).then_some(found))
    }
}

async fn play(slot: Slot, state: State) -> Result<Vec<String>> {
    let routes: Vec<_> = ROUTES.iter().filter(|route| route.2 == slot).map(|route| route.0).collect();
    let mfa = slot == Slot::Mfa;
    let mut wrong = Vec::new();
    // What changes nothing can be asked for one after the other; what does has a stage of its own.
    let changes = |route: &str| {
        TABLE.iter().any(|cell| cell.0 == route && cell.1.contains(&state) && !cell.3.is_empty())
    };
    let mut stage = Stage::set(mfa).await?;
    if state == FactorsReset {
        // There must be one.
        let code = stage.enrolled.code_at(stage.backend.now());
        stage.own.try_confirm(&stage.enrolled.id, &code).await?.expect(200)?;
    }
    stage.bring(state).await?;
    for route in routes.iter().filter(|route| !changes(route)) {
        wrong.extend(stage.play(route, state).await?);
    }
    for route in routes.iter().filter(|route| changes(route)) {
        let mut stage = Stage::set(mfa).await?;
        stage.bring(state).await?;
        wrong.extend(stage.play(route, state).await?);
    }
    Ok(wrong)
}

async fn play_all(slot: Slot) -> Result<()> {
    let mut playing = JoinSet::new();
    let mut wrong = Vec::new();
    for state in states_of(slot) {
        playing.spawn(async move { play(slot, state).await.with_context(|| format!("{state:?}")) });
        if playing.len() >= 4 {
            wrong.extend(playing.join_next().await.context("nothing played")???);
        }
    }
    while let Some(played) = playing.join_next().await {
        wrong.extend(played??);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_token_does_what_its_session_may() -> Result<()> {
    play_all(Slot::Access).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_does_what_its_session_may() -> Result<()> {
    play_all(Slot::Refresh).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_mfa_token_does_what_its_sign_in_may() -> Result<()> {
    play_all(Slot::Mfa).await
}

/// A token of one kind in the place of another is no token, and changes nothing.
#[tokio::test]
async fn a_token_of_another_kind_is_none() -> Result<()> {
    let stage = Stage::set(true).await?;
    let device = stage.own.actor.device_token().context("no device token")?;
    let (access, refresh) = (stage.own.access_token.clone(), stage.own.refresh_token.clone());
    let kinds = [
        (Slot::Access, access),
        (Slot::Refresh, refresh),
        (Slot::Mfa, stage.mfa_token.clone()),
        (Slot::Device, device),
    ];
    for (kind, token) in kinds {
        let before = snapshot(&stage.backend).await?;
        for (route, _, slot) in ROUTES.iter().filter(|(route, _, slot)| {
            // Both routes for services take access and refresh tokens alike.
            let either = route.starts_with("introspect") || route.starts_with("revoke");
            *slot != kind
                && *slot != Slot::Device
                && !(either && matches!(kind, Slot::Access | Slot::Refresh))
        }) {
            let session =
                Session { access_token: token.clone(), refresh_token: token.clone(), ..stage.own.clone() };
            let tokens = Tokens { session, mfa_token: token.clone() };
            let (status, code) = stage.ask(route, &tokens).await?;
            let refused = matches!(status, 401 | 422) || code == "inactive" || route.starts_with("revoke");
            assert!(refused, "{kind:?} at {route} ({slot:?}): {status} {code}");
        }
        assert_eq!(difference(&before, &snapshot(&stage.backend).await?), (vec![], vec![]), "{kind:?}");
    }
    Ok(())
}
