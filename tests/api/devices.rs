//! Devices that an account knows: what they are good for, how long, and that they bound the guesses of whoever holds them.

use sallyport_testkit::Actor;

use crate::prelude::*;

/// Devices that an account knows.
const MOST_DEVICES: usize = 12;
const LIMIT: usize = 5;

/// Devices that sign in and out again, with their tokens. Each is somebody's who knows the password.
async fn devices(backend: &Backend, account: &Account, number: usize) -> Result<Vec<Actor>> {
    let mut devices = Vec::new();
    for _ in 0..number {
        let actor = backend.actor();
        actor.log_in(account).await?.log_out("local").await?.expect(204)?;
        devices.push(actor);
        // Another minute: the least recently used gives way.
        backend.advance(61).await?;
    }
    Ok(devices)
}

/// How many of so many wrong guesses of each device were hashed: all others are refused before.
async fn checked(account: &Account, devices: &[Actor], each: usize) -> Result<usize> {
    let mut checked = 0;
    for device in devices {
        for _ in 0..each {
            let answer = device.try_log_in(&account.email, "wrong").await?;
            checked += usize::from(answer.status == 401);
        }
    }
    Ok(checked)
}

#[tokio::test]
async fn whoever_holds_thirty_device_tokens_has_the_guesses_of_twelve_devices_and_of_strangers() -> Result<()>
{
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "1000")]).await?;
    let account = backend.account().await?;
    let devices = devices(&backend, &account, 30).await?;
    let guesses = checked(&account, &devices, 7).await?;
    assert_eq!(guesses, (MOST_DEVICES + 1) * LIMIT);
    Ok(())
}

#[tokio::test]
async fn in_an_emergency_thirty_device_tokens_are_twelve_guesses() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "1000")]).await?;
    let account = backend.account().await?;
    let devices = devices(&backend, &account, 30).await?;
    backend.set_mode("emergency", 3600).await?;
    backend.advance(6).await?;
    let guesses = checked(&account, &devices, 3).await?;
    assert_eq!(guesses, MOST_DEVICES, "strangers wait");
    Ok(())
}

/// What an operator, or the owner by way of one, does when somebody else knew the password.
#[derive(Debug, Clone, Copy)]
enum Deed {
    SetPassword,
    ForceReset,
    Revoke,
    DisableAndEnable,
    ResetFactors,
}

#[tokio::test]
async fn what_ends_all_sessions_makes_strangers_of_all_devices() -> Result<()> {
    for deed in
        [Deed::SetPassword, Deed::ForceReset, Deed::Revoke, Deed::DisableAndEnable, Deed::ResetFactors]
    {
        let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "1000")]).await?;
        let mut account = match deed {
            Deed::ResetFactors => backend.account_with_totp().await?,
            _ => backend.account().await?,
        };
        let mut devices = Vec::new();
        for _ in 0..6 {
            let actor = backend.actor();
            if let Deed::ResetFactors = deed {
                let pending = actor.begin_log_in(&account).await?;
                pending.verify_with_totp(&backend, &account).await?;
            } else {
                actor.log_in(&account).await?;
            }
            devices.push(actor);
        }
        match deed {
            Deed::SetPassword => backend.set_password(&mut account, "Another horse").await?,
            Deed::ForceReset => drop(backend.force_reset(&account).await?),
            Deed::Revoke => backend.revoke_sessions(&account).await?,
            Deed::DisableAndEnable => {
                backend.disable(&account).await?;
                backend.enable(&account).await?;
            }
            Deed::ResetFactors => drop(backend.reset_factors(&account).await?),
        }
        let guesses = checked(&account, &devices, 3).await?;
        assert_eq!(guesses, LIMIT, "{deed:?}: all of them together are one stranger");
    }
    Ok(())
}

#[tokio::test]
async fn the_device_used_least_recently_gives_way_and_those_of_sessions_do_not() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "1000")]).await?;
    let account = backend.account().await?;
    let oldest = backend.actor();
    let mut session = oldest.log_in(&account).await?;
    let mut known = devices(&backend, &account, MOST_DEVICES - 1).await?;
    // The first of them is used again.
    known[0].log_in(&account).await?.log_out("local").await?.expect(204)?;
    backend.advance(61).await?;
    known.extend(devices(&backend, &account, 1).await?);
    for _ in 0..LIMIT {
        backend.actor().try_log_in(&account.email, "wrong").await?.expect(401)?;
    }
    assert!(session.is_alive().await?);
    let mut known_still = Vec::new();
    for device in known.iter().chain([&oldest]) {
        known_still.push(device.try_log_in(&account.email, &account.password).await?.status == 200);
    }
    let expected: Vec<_> = (0..=MOST_DEVICES).map(|index| index != 1).collect();
    assert_eq!(known_still, expected, "the second is the one that was used least recently");
    Ok(())
}

#[tokio::test]
async fn somebody_who_copied_a_device_token_can_shut_its_pool_and_not_its_owner_out() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let owner = backend.actor();
    owner.log_in(&account).await?.log_out("local").await?.expect(204)?;
    let copied = owner.device_token();
    // Beyond its own pool the thief guesses with the strangers, and locks these, too: for thirty seconds.
    let guess = json!({"email": account.email, "password": "wrong", "device_token": copied});
    for _ in 0..2 * LIMIT {
        backend.actor().post("/api/v1/auth/login", &guess).await?.expect(401)?;
    }
    backend.actor().post("/api/v1/auth/login", &guess).await?.expect(429)?;
    backend.advance(31).await?;
    // Twenty in a row shut the device's pool. A quiet quarter of an hour later strangers are none the worse for it.
    for _ in 0..25 {
        backend.actor().post("/api/v1/auth/login", &guess).await?;
        backend.advance(31 * 60).await?;
    }
    owner.log_in(&account).await?;
    assert_ne!(owner.device_token(), copied, "the owner is another device now, that the thief does not hold");
    for _ in 0..LIMIT {
        backend.actor().try_log_in(&account.email, "wrong").await?.expect(401)?;
    }
    backend.actor().post("/api/v1/auth/login", &guess).await?.expect(429)?;
    owner.log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn a_pool_of_a_device_without_a_session_is_opened_by_the_operator() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let owner = backend.actor();
    owner.log_in(&account).await?.log_out("local").await?.expect(204)?;
    for _ in 0..2 * LIMIT {
        owner.try_log_in(&account.email, "wrong").await?.expect(401)?;
    }
    owner.try_log_in(&account.email, &account.password).await?.expect(429)?;
    backend.unlock(&account).await?;
    let before = owner.device_token();
    owner.log_in(&account).await?;
    assert_eq!(device_of(before)?, device_of(owner.device_token())?);
    Ok(())
}

/// The device that a token names, by its bytes: version, key and device come first.
fn device_of(token: Option<String>) -> Result<String> {
    let token = token.context("no device token")?;
    Ok(token["spd_".len()..]["AQAB".len()..][..20].to_owned())
}

#[tokio::test]
async fn a_device_token_says_nothing_at_another_account_or_after_its_account_was_created_anew() -> Result<()>
{
    let backend = Backend::start().await?;
    let (one, other) = (backend.account().await?, backend.account().await?);
    let actor = backend.actor();
    actor.log_in(&one).await?;
    for _ in 0..LIMIT {
        backend.actor().try_log_in(&other.email, "wrong").await?.expect(401)?;
    }
    actor.try_log_in(&other.email, &other.password).await?.expect(429)?;
    Ok(())
}

#[tokio::test]
async fn a_known_device_has_a_budget_of_its_own_and_beyond_it_its_address_one() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "3")]).await?;
    let account = backend.account().await?;
    let actor = backend.actor();
    actor.log_in(&account).await?;
    backend.advance(61).await?;
    let login = json!({
        "email": account.email, "password": account.password, "device_token": actor.device_token(),
    });
    let mut told = Vec::new();
    for _ in 0..7 {
        let answer = actor.post("/api/v1/auth/login", &login).await?;
        let left = answer.header("ratelimit").split(';').nth(1).unwrap_or_default().to_owned();
        told.push((answer.status, left));
    }
    let of = |status: u16, left: u8| (status, format!("r={left}"));
    let minute = [of(200, 2), of(200, 1), of(200, 0)];
    assert_eq!(told, [minute.as_slice(), &minute, &[of(429, 0)]].concat());
    Ok(())
}

/// Somebody who knows the password of an account with a second factor, and has a code of neither.
#[tokio::test]
async fn strangers_who_know_the_password_do_not_lock_a_known_device_out_of_its_second_step() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let owner = backend.actor();
    owner.begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let stranger = backend.actor();
    for round in 0..6 {
        let pending = stranger.begin_log_in(&account).await?;
        for _ in 0..LIMIT {
            let wrong = account.factor().wrong_code_at(backend.now());
            pending.try_verify(&account.factor().id, &wrong).await?;
            pending.try_verify("recovery", "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA").await?;
        }
        stranger.forget_device();
        let other = backend.actor().begin_log_in(&account).await?;
        let wrong = account.factor().wrong_code_at(backend.now());
        let refused = other.try_verify(&account.factor().id, &wrong).await?;
        assert_eq!(refused.outcome(), outcome(429, "too_many_attempts"), "strangers are locked out");
        let session = owner.begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
        session
            .try_reauthenticate(&json!({
                "factor_id": account.factor().id, "code": backend.code(account.factor()).await?,
            }))
            .await?
            .expect(200)?;
        backend.advance([30, 60, 120, 240, 480, 900][round]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn codes_from_a_known_device_are_counted_for_all_factors_together_and_then_with_strangers() -> Result<()>
{
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let owner = backend.actor();
    owner.begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let pending = owner.begin_log_in(&account).await?;
    let mut outcomes = Vec::new();
    for _ in 0..3 * LIMIT {
        let wrong = account.factor().wrong_code_at(backend.now());
        outcomes.push(pending.try_verify(&account.factor().id, &wrong).await?.status);
    }
    assert_eq!(outcomes, [[401; 2 * LIMIT].as_slice(), &[429; LIMIT]].concat());
    Ok(())
}

#[tokio::test]
async fn guesses_at_reauthentication_and_at_sign_in_from_one_device_are_counted_together() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let (thief, owner) = (backend.actor().log_in(&account).await?, backend.actor().log_in(&account).await?);
    thief.actor.try_log_in(&account.email, "wrong").await?.expect(401)?;
    let mut outcomes = Vec::new();
    for _ in 0..LIMIT {
        outcomes.push(thief.try_reauthenticate(&json!({"password": "wrong"})).await?.status);
    }
    assert_eq!(outcomes, [[401; LIMIT - 1].as_slice(), &[429]].concat());
    // The owner's session has a device of its own.
    owner.try_reauthenticate(&json!({"password": account.password})).await?.expect(200)?;
    Ok(())
}

/// What the device of a session is to its account when a thief of an access token begins to guess.
#[derive(Debug, Clone, Copy)]
enum DeviceIs {
    Known,
    /// Its owner, or whoever holds the device token and the password, has signed in often in this minute.
    OutOfItsMinute,
    /// The session is of a release that noted no devices.
    Unknown,
}

/// The pools in which wrong passwords are counted, but for strangers'.
async fn charged(backend: &Backend) -> Result<Vec<&'static str>> {
    let sessions = backend.items("Sessions").await?;
    let of_device = sessions
        .iter()
        .filter_map(Value::as_object)
        .flatten()
        .any(|(name, used)| name.starts_with("u_") && used.as_u64() > Some(0));
    let throttle = backend.items("Throttle").await?;
    let in_pool = throttle
        .iter()
        .any(|item| item["key"].as_str().is_some_and(|key| key.starts_with("reauthentication#")));
    Ok([(of_device, "the device's"), (in_pool, "the account's")]
        .into_iter()
        .filter_map(|(charged, pool)| charged.then_some(pool))
        .collect())
}

#[tokio::test]
async fn a_stolen_access_token_has_five_guesses_in_one_pool_whatever_its_device_is() -> Result<()> {
    for (state, pool) in [
        (DeviceIs::Known, "the device's"),
        (DeviceIs::OutOfItsMinute, "the device's"),
        (DeviceIs::Unknown, "the account's"),
    ] {
        let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "10")]).await?;
        let account = backend.account().await?;
        // From the start of a minute on, so that it does not end in between.
        backend.advance(61 - backend.now() % 60).await?;
        let session = backend.actor().log_in(&account).await?;
        match state {
            DeviceIs::Known => {}
            DeviceIs::OutOfItsMinute => {
                for _ in 0..9 {
                    session.actor.try_log_in(&account.email, &account.password).await?.expect(200)?;
                }
            }
            DeviceIs::Unknown => forget_devices(&backend).await?,
        }
        // From elsewhere: the budget of an address is not what is tried here.
        let thief = |guess: &'static str| {
            let ask = backend.actor().ask("POST", "/api/v1/auth/reauthenticate");
            ask.bearer(&session.access_token).json(&json!({"password": guess})).send()
        };
        let mut outcomes = Vec::new();
        for _ in 0..LIMIT + 2 {
            outcomes.push(thief("wrong").await?.status);
        }
        assert_eq!(outcomes, [[401; LIMIT].as_slice(), &[429; 2]].concat(), "{state:?}");
        assert_eq!(charged(&backend).await?, [pool], "{state:?}");
        // The next minute of the device is no new beginning: one guess at the end of the lock, as ever.
        backend.advance(61).await?;
        assert_eq!([thief("wrong").await?.status, thief("wrong").await?.status], [401, 429], "{state:?}");
        assert_eq!(charged(&backend).await?, [pool], "{state:?}");
    }
    Ok(())
}

/// As an item looks that a release wrote which noted no devices.
async fn forget_devices(backend: &Backend) -> Result<()> {
    for item in backend.items("Sessions").await? {
        let members = item.as_object().context("no item")?;
        for name in members.keys().filter(|name| name.starts_with("d_")) {
            let request = json!({
                "TableName": backend.environment()["SALLYPORT_SESSIONS_TABLE"],
                "Key": {"user_id": {"S": item["user_id"]}},
                "UpdateExpression": "REMOVE #device",
                "ExpressionAttributeNames": {"#device": name},
            });
            backend.write_past_everything("UpdateItem", &request).await?;
        }
    }
    Ok(())
}

/// A cookie jar that was copied whole, used in turns.
#[tokio::test]
async fn of_two_holders_of_one_cookie_jar_one_is_found_out_at_its_next_refresh() -> Result<()> {
    for thief_first in [true, false] {
        let backend = Backend::start().await?;
        let owner = backend.browser(APP_ORIGIN);
        let account = backend.account().await?;
        owner.log_in(&account).await?;
        let thief = backend.browser(APP_ORIGIN);
        for name in ["__Host-sallyport_refresh", "__Host-sallyport_device"] {
            thief.set_cookie(name, &owner.cookie(name).context("no cookie")?);
        }
        let turns = if thief_first { [&thief, &owner, &thief] } else { [&owner, &thief, &owner] };
        let mut outcomes = Vec::new();
        for browser in turns {
            backend.advance(290).await?;
            let answer = browser.ask("POST", "/api/v1/auth/refresh").send().await?;
            outcomes.push((answer.status, answer.code()));
            let named = |name: &str| answer.cookies().iter().any(|(set, ..)| set == name);
            if outcomes.len() == 2 {
                assert!(named("__Host-sallyport_device"), "the repeat moves the device token on");
            }
        }
        assert_eq!(
            outcomes,
            [(200, String::new()), (200, String::new()), outcome(401, "refresh_token_reused")]
        );
        assert_eq!(backend.outbox().await?.len(), 1, "the owner is told");
    }
    Ok(())
}
