//! Every kind of security event is written by what it tells of.

use std::collections::BTreeSet;

use sallyport_aws::{Clients, Endpoints, Store, system::OsRandom};
use sallyport_core::{
    accounts::Email,
    audit::{EventKind, Origin, RecordEvent as _, SecurityEvent, Subject},
    clock::Timestamp,
    ids::OperationId,
    throttle::{Attempts as _, Pool, PoolKey, PoolPolicy, ReopenPool as _},
};

use crate::prelude::*;

/// What no route leads to: operators, rotation, the responder and maintenance do it. ops/cli/tests/cli/events.rs has what commands leave,
/// the tests of the keyring, of flags and of incidents in shared/core/src have theirs.
const OF_OPERATORS: &[EventKind] = &[
    EventKind::MigrationApplied,
    EventKind::MigrationReverted,
    EventKind::KeyringRotated,
    EventKind::KeyringRevoked,
    EventKind::ReleaseRolledBack,
    EventKind::ModeSet,
    EventKind::ModeCleared,
    EventKind::BlockAdded,
    EventKind::BlockRemoved,
    EventKind::PasswordResetForced,
    EventKind::IncidentOpened,
    EventKind::IncidentReopened,
    EventKind::IncidentAcknowledged,
    EventKind::IncidentEscalated,
    EventKind::IncidentResolved,
    EventKind::IncidentForgotten,
    EventKind::RestoreProven,
    EventKind::RestoreFailed,
];

async fn written(backend: &Backend) -> Result<BTreeSet<String>> {
    let items = backend.items("Audit").await?;
    Ok(items.iter().filter_map(|item| item["kind"].as_str()).map(str::to_owned).collect())
}

/// Events of one kind, as they are stored.
async fn of_kind(backend: &Backend, kind: EventKind) -> Result<Vec<Value>> {
    let items = backend.items("Audit").await?;
    Ok(items.into_iter().filter(|item| item["kind"] == kind.as_str()).collect())
}

#[tokio::test]
async fn every_kind_of_event_is_written() -> Result<()> {
    let backend = Backend::start().await?;
    sign_ins(&backend).await?;
    sessions(&backend).await?;
    factors(&backend).await?;
    operators(&backend).await?;
    let mut expected: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    for kind in OF_OPERATORS {
        expected.remove(kind.as_str());
    }
    assert_eq!(written(&backend).await?, expected);
    Ok(())
}

/// An account whose hash is of argon2's own test vectors: weaker than any that is made here.
async fn with_a_weaker_hash(backend: &Backend) -> Result<Account> {
    const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let mut account = backend.account().await?;
    let request = json!({
        "TableName": backend.environment()["SALLYPORT_USERS_TABLE"],
        "Key": {"pk": {"S": format!("EMAIL#{}", account.email)}, "sk": {"S": "LOGIN"}},
        "UpdateExpression": "SET password = :hash",
        "ExpressionAttributeValues": {":hash": {"S": HASH}},
    });
    backend.write_past_everything("UpdateItem", &request).await?;
    "password".clone_into(&mut account.password);
    Ok(account)
}

/// 100 failures, without trying them.
async fn shut(backend: &Backend, account: &Account) -> Result<()> {
    let key = account.email.parse::<Email>()?.account_key();
    let request = json!({
        "TableName": backend.environment()["SALLYPORT_THROTTLE_TABLE"],
        "Item": {
            "key": {"S": PoolKey::strangers(key).to_string()},
            "v": {"N": "1"}, "used": {"N": "100"}, "total": {"N": "100"}, "probes": {"N": "20"},
            "last": {"N": (backend.now() * 1000).to_string()}, "cleared": {"N": "0"}, "ver": {"N": "120"},
            "expires_at": {"N": (backend.now() + 1_000_000).to_string()},
        },
    });
    backend.write_past_everything("PutItem", &request).await?;
    // The hundredth of them notes it where known devices look.
    let request = json!({
        "TableName": backend.environment()["SALLYPORT_SESSIONS_TABLE"],
        "Key": {"user_id": {"S": account.user_id}},
        "UpdateExpression": "SET shut = :yes",
        "ExpressionAttributeValues": {":yes": {"BOOL": true}},
    });
    backend.write_past_everything("UpdateItem", &request).await.map(drop)
}

async fn sign_ins(backend: &Backend) -> Result<()> {
    let weak = with_a_weaker_hash(backend).await?;
    let actor = backend.actor();
    actor.log_in(&weak).await?;
    actor.log_in(&weak).await?;
    let renewed = of_kind(backend, EventKind::PasswordRehashed).await?;
    assert_eq!(renewed.len(), 1, "{renewed:?}");
    assert_eq!(renewed[0]["pk"], format!("USER#{}", weak.user_id));

    lock(backend, &weak.email).await?;
    shut(backend, &weak).await?;
    backend.actor().try_log_in(&weak.email, &weak.password).await?.expect(429)?;
    actor.log_in(&weak).await?;
    actor.log_in(&weak).await?;
    let reopened = of_kind(backend, EventKind::PoolReopened).await?;
    assert_eq!(reopened.len(), 1, "{reopened:?}");
    backend.actor().log_in(&weak).await?;
    Ok(())
}

async fn sessions(backend: &Backend) -> Result<()> {
    let account = backend.account().await?;
    let actor = backend.actor();
    let mut session = actor.log_in(&account).await?;
    for _ in 0..10 {
        session = actor.log_in(&account).await?;
    }
    session.reauthenticate(&json!({"password": account.password})).await?;
    let locks = of_kind(backend, EventKind::LockedOut).await?.len();
    for _ in 0..5 {
        session.try_reauthenticate(&json!({"password": "wrong"})).await?.expect(401)?;
    }
    session.try_reauthenticate(&json!({"password": account.password})).await?.expect(429)?;
    let locked = of_kind(backend, EventKind::LockedOut).await?;
    assert_eq!(locked.len(), locks + 1, "{locked:?}");
    assert!(locked.iter().any(|event| event["detail"] == "reauthentication"), "{locked:?}");

    let spent = session.clone();
    session.refresh().await?;
    session.refresh().await?;
    backend.advance(60).await?;
    spent.actor.forget_device();
    spent.try_refresh().await?.expect(401)?;
    actor.log_in(&account).await?.log_out("local").await?.expect(204)?;
    Ok(())
}

async fn factors(backend: &Backend) -> Result<()> {
    let mut account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    session.add_totp(backend, &mut account).await?;
    let issued = of_kind(backend, EventKind::RecoveryCodesIssued).await?;
    assert_eq!(issued.len(), 1, "the first factor brings recovery codes: {issued:?}");

    let pending = backend.actor().begin_log_in(&account).await?;
    let wrong = account.factor().wrong_code_at(backend.now());
    for _ in 0..5 {
        pending.try_verify(&account.factor().id, &wrong).await?.expect(401)?;
    }
    let codes = account.recovery_codes.clone();
    let mut session = pending.verify_with_recovery_code(&codes[0]).await?;
    session.reauthenticate(&json!({"factor_id": "recovery", "code": codes[1]})).await?;
    let used = of_kind(backend, EventKind::RecoveryCodeUsed).await?;
    assert_eq!(used.len(), 2, "one for each code: {used:?}");
    assert!(used.iter().all(|event| event["session_id"] == session.session_id.as_str()), "{used:?}");
    // A code that was used leaves no second event.
    session.try_reauthenticate(&json!({"factor_id": "recovery", "code": codes[1]})).await?.expect(401)?;
    assert_eq!(of_kind(backend, EventKind::RecoveryCodeUsed).await?.len(), 2);

    session.add_totp(backend, &mut account).await?;
    let issued = of_kind(backend, EventKind::RecoveryCodesIssued).await?;
    assert_eq!(issued.len(), 1, "the second factor brings none: {issued:?}");
    session.remove_factor(&account.factors[1].id).await?.expect(204)?;
    Ok(())
}

async fn operators(backend: &Backend) -> Result<()> {
    let mut account = backend.account().await?;
    backend.disable(&account).await?;
    backend.enable(&account).await?;
    backend.set_password(&mut account, "another password").await?;
    backend.revoke_sessions(&account).await?;
    let enrolled = backend.account_with_totp().await?;
    assert!(backend.reset_factors(&enrolled).await?);
    backend.unlock(&account).await?;
    let client = backend.client().await?;
    backend.remove_client(&client).await?;
    // The keyring was empty when the backend started.
    let created = of_kind(backend, EventKind::KeyringCreated).await?;
    assert_eq!(created.len(), 1, "{created:?}");
    assert_eq!((&created[0]["pk"], &created[0]["actor"]), (&json!("DEPLOYMENT"), &json!("function keys")));
    Ok(())
}

#[tokio::test]
async fn a_pool_that_somebody_used_meanwhile_is_not_reopened_and_no_event_says_so() -> Result<()> {
    let backend = Backend::start().await?;
    let lookup = |name: &str| backend.environment().get(name).cloned();
    let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "operator", &lookup)?;
    let store = Store::new(clients.dynamodb, sallyport_lambda::Config::from_lookup(&lookup)?.tables);
    let key = PoolKey::strangers("ada@example.com".parse::<Email>()?.account_key());
    let now = Timestamp::from_seconds(backend.now());
    let pool = Pool { used: 100, total: 100, last: now, version: 7, ..Pool::default() };
    store.replace(&key, 0, &pool, &PoolPolicy::default()).await?;
    let event = || -> Result<_> {
        let id = OperationId::generate(&OsRandom)?;
        let origin = Origin::operator("suite");
        Ok(SecurityEvent::new(id, now, EventKind::PoolReopened, Subject::Deployment, &origin))
    };
    store.reopen(&key, 6, &event()?).await?;
    assert_eq!(store.pool(&key).await?, Some(pool));
    assert!(of_kind(&backend, EventKind::PoolReopened).await?.is_empty());
    store.reopen(&key, 7, &event()?).await?;
    assert_eq!(store.pool(&key).await?, None);
    assert_eq!(of_kind(&backend, EventKind::PoolReopened).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_event_that_stands_keeps_the_name_of_who_did_it() -> Result<()> {
    let backend = Backend::start().await?;
    let lookup = |name: &str| backend.environment().get(name).cloned();
    let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "operator", &lookup)?;
    let store = Store::new(clients.dynamodb, sallyport_lambda::Config::from_lookup(&lookup)?.tables);
    let (id, at) = (OperationId::generate(&OsRandom)?, Timestamp::from_seconds(backend.now()));
    for name in ["ada", "grace"] {
        let origin = Origin::operator(name);
        let event = SecurityEvent::new(id, at, EventKind::KeyringRotated, Subject::Deployment, &origin);
        // Its own write, repeated because the reply was lost, is no other's.
        backend.fault(json!({"kind": "drop_after", "operation": "PutItem", "table": "audit"})).await?;
        store.record(&event).await?;
    }
    let rotated = of_kind(&backend, EventKind::KeyringRotated).await?;
    assert_eq!((rotated.len(), &rotated[0]["actor"]), (1, &json!("operator ada")));
    Ok(())
}

/// Who acted in the events that a request wrote, by kind.
async fn actors_since(backend: &Backend, before: usize) -> Result<Vec<(String, String)>> {
    let mut items = backend.items("Audit").await?;
    items.sort_by_key(|item| item["sk"].as_str().unwrap_or_default().to_owned());
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    Ok(items.iter().skip(before).map(|item| (text(item, "kind"), text(item, "actor"))).collect())
}

/// For each credential that something is changed by: the identity that it proves, and no other.
#[tokio::test]
async fn who_acted_is_the_identity_that_was_proven() -> Result<()> {
    const ROUTES: [&str; 9] = [
        "password",
        "code",
        "access token",
        "refresh token",
        "refresh cookie",
        "device token",
        "client by basic",
        "client by form",
        "client of another id in the agent",
    ];
    for credential in ROUTES {
        let backend = Backend::start().await?;
        let account = backend.account_with_totp().await?;
        let (client, other) = (backend.client().await?, backend.client().await?);
        let actor = backend.actor();
        let session = actor.begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
        let browser = backend.browser(APP_ORIGIN);
        browser.set_cookie("__Host-sallyport_refresh", &session.refresh_token);
        let before = backend.items("Audit").await?.len();
        let stranger = backend.actor();
        let revoke = |agent: &str| stranger.ask("POST", "/oauth/revoke").header("user-agent", agent);
        let grace = "operator grace@desk";
        let token = ("token", session.refresh_token.as_str());
        let by_client = format!("client {}", client.id);
        let (answer, expected) = match credential {
            "password" => (stranger.try_log_in(&account.email, &account.password).await?, "caller"),
            "code" => {
                let pending = stranger.begin_log_in(&account).await?;
                (pending.try_verify("recovery", &account.recovery_codes[0]).await?, "caller")
            }
            "access token" => (session.log_out("local").await?, "caller"),
            "refresh token" => {
                let body = json!({"refresh_token": session.refresh_token});
                (stranger.post("/api/v1/auth/logout", &body).await?, "caller")
            }
            "refresh cookie" => (browser.ask("POST", "/api/v1/auth/logout").send().await?, "caller"),
            "device token" => (actor.try_log_in(&account.email, &account.password).await?, "caller"),
            "client by basic" => {
                (revoke(grace).basic(&client).form(&[token]).send().await?, by_client.as_str())
            }
            "client by form" => {
                let form =
                    [token, ("client_id", client.id.as_str()), ("client_secret", client.secret.as_str())];
                (revoke(grace).form(&form).send().await?, by_client.as_str())
            }
            _ => {
                let ask = revoke(&format!("client {}", other.id));
                (ask.basic(&client).form(&[token]).send().await?, by_client.as_str())
            }
        };
        ensure!((200..300).contains(&answer.status), "{credential}: {}", answer.text());
        let written = actors_since(&backend, before).await?;
        ensure!(!written.is_empty(), "{credential}: no event");
        for (kind, actor) in &written {
            assert_eq!(actor, expected, "{credential}: {kind}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_does_not_authenticate_is_counted_and_one_that_does_is_named() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let actor = backend.actor();
    let mut outcomes = Vec::new();
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let ask = || actor.ask("POST", path);
        let wrong = ServiceClient { secret: format!("{}x", client.secret), ..client.clone() };
        outcomes.push(ask().form(&[("token", "x")]).send().await?);
        outcomes.push(ask().basic(&wrong).form(&[("token", "x")]).send().await?);
        outcomes.push(ask().basic(&client).form(&[("token", "x")]).send().await?);
    }
    let ids: Vec<_> = outcomes.iter().map(|answer| answer.header("x-request-id").to_owned()).collect();
    let (mut counted, mut named) = (vec![json!(null); ids.len()], vec![json!(null); ids.len()]);
    for line in backend.logs().await? {
        let line = &line["line"];
        let Some(index) = ids.iter().position(|id| line["request_id"] == id.as_str()) else { continue };
        if line.get("_aws").is_some() {
            counted[index] = line["client_authentication_failures"].clone();
        } else if line["message"] == "request" {
            named[index] = line["client"].clone();
        }
    }
    assert_eq!(json!(counted), json!([1, 1, 0, 1, 1, 0]));
    let (none, id) = (Value::Null, json!(client.id));
    assert_eq!(json!(named), json!([none, none, id, none, none, id]));
    Ok(())
}
