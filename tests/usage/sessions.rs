//! The largest item that a refresh writes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sallyport_aws::{Clients, Endpoints, Store, system::OsRandom};
use sallyport_core::{
    accounts::Epoch,
    address::ClientAddress,
    clock::Timestamp,
    ids::{DeviceId, OperationId, SessionId, UserId},
    sessions::{AddSession as _, Proofs, RotateSession as _, Rotation, RotationRequest, Session},
    tokens::Delivery,
};
use sallyport_lambda::Config;
use sallyport_testkit::Backend;

/// Ten sessions from addresses and of agents that are as long as they get still fit into two write units, and into the
/// 2,048 bytes that these are.
#[tokio::test]
async fn ten_sessions_with_the_longest_of_everything_fit_two_write_units() -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    let lookup = |name: &str| backend.environment().get(name).cloned();
    let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "operator", &lookup)?;
    let store = Store::new(clients.dynamodb, Config::from_lookup(&lookup)?.tables);
    let (user, now) = (UserId::generate(&OsRandom)?, Timestamp::from_millis(1_999_999_999_999));
    let later = Some(now + Duration::from_secs(60));
    let mut last = None;
    for _ in 0..10 {
        let session = Session {
            id: SessionId::generate(&OsRandom)?,
            counter: 99_999,
            created_at: now,
            rotated_at: now,
            rotated_by: OperationId::generate(&OsRandom)?,
            idle_until: now + Duration::from_secs(14 * 24 * 60 * 60),
            absolute_until: now + Duration::from_secs(90 * 24 * 60 * 60),
            proofs: Proofs { password: later, otp: later, recovery_code: later },
            delivery: Delivery::Cookie,
            device: DeviceId::generate(&OsRandom)?,
            address: ClientAddress::parse("2001:db8:1234:5678:9abc:def0:1234:5678").context("no address")?,
            agent: "M".repeat(Session::AGENT),
        };
        store.add_session(user, Epoch(1_000), &session).await?;
        last = Some(session);
    }
    backend.forget_calls().await?;
    let session = last.context("no session")?;
    let request = RotationRequest {
        user,
        session: session.id,
        presented: session.counter,
        now,
        idle_until: session.idle_until,
        operation: OperationId::generate(&OsRandom)?,
        by_cookie: true,
    };
    ensure!(matches!(store.rotate(request).await?, Rotation::Rotated(_)), "not rotated");
    let calls = backend.calls().await?;
    ensure!(calls.len() == 1 && calls[0]["capacity"][0]["units"] == 2.0, "{calls:?}");
    Ok(())
}

/// Sessions that the release before stored are of cookies from the first refresh that brings one; what is noted once stays.
#[tokio::test]
async fn a_refresh_by_cookie_notes_that_the_session_is_one_of_cookies() -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    let lookup = |name: &str| backend.environment().get(name).cloned();
    let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "operator", &lookup)?;
    let store = Store::new(clients.dynamodb, Config::from_lookup(&lookup)?.tables);
    let (user, now) = (UserId::generate(&OsRandom)?, Timestamp::from_millis(1_999_999_999_999));
    let session = Session {
        id: SessionId::generate(&OsRandom)?,
        counter: 0,
        created_at: now,
        rotated_at: now,
        rotated_by: OperationId::generate(&OsRandom)?,
        idle_until: now + Duration::from_secs(60),
        absolute_until: now + Duration::from_secs(60),
        proofs: Proofs { password: Some(now), ..Proofs::default() },
        delivery: Delivery::Body,
        device: DeviceId::generate(&OsRandom)?,
        address: ClientAddress::unknown(),
        agent: String::new(),
    };
    store.add_session(user, Epoch(0), &session).await?;
    for (presented, by_cookie, expected) in [
        (0, false, Delivery::Body),
        (1, true, Delivery::Cookie),
        (2, true, Delivery::Cookie),
        (3, false, Delivery::Cookie),
    ] {
        let operation = OperationId::generate(&OsRandom)?;
        let idle_until = session.idle_until;
        let request =
            RotationRequest { user, session: session.id, presented, now, idle_until, operation, by_cookie };
        let Rotation::Rotated(rotated) = store.rotate(request).await? else { anyhow::bail!("not rotated") };
        ensure!(rotated.delivery == expected && rotated.proofs == session.proofs, "{presented}: {rotated:?}");
    }
    Ok(())
}
