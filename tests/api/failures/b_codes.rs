//! B. Second factors and codes.

use crate::prelude::*;

const LOCKED: (u16, &str) = (429, "too_many_attempts");

fn is(answer: &Answer, (status, code): (u16, &str)) -> bool {
    answer.outcome() == outcome(status, code)
}

#[tokio::test]
async fn b13_codes_are_limited_after_a_right_password_cve_2018_14657() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let actor = backend.actor();
    let wrong = account.factor().wrong_code_at(backend.now());
    let mut checked = 0;
    for _ in 0..12 {
        // A right password in between gives no new attempts.
        let pending = actor.begin_log_in(&account).await?;
        let answer = pending.try_verify(&account.factor().id, &wrong).await?;
        checked += usize::from(is(&answer, (401, "invalid_code")));
        assert!(is(&answer, (401, "invalid_code")) || is(&answer, LOCKED));
    }
    assert_eq!(checked, 5);
    // Of the next step: good, not used yet, and no wait that would outlast the lock.
    let right = account.factor().code_at(backend.now() + 30);
    let answer = actor.begin_log_in(&account).await?.try_verify(&account.factor().id, &right).await?;
    assert!(is(&answer, LOCKED), "a right code while locked: {} {}", answer.status, answer.text());
    Ok(())
}

#[tokio::test]
async fn b14_every_kind_of_code_has_a_limit_cve_2024_32868() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let wrong = account.factor().wrong_code_at(backend.now());
    let app = account.factor().id.clone();
    for (id, code) in [(app.as_str(), wrong.as_str()), ("recovery", "aaaaaa-aaaaaa-aaaaaa-aaaaaa")] {
        for _ in 0..5 {
            assert!(is(&pending.try_verify(id, code).await?, (401, "invalid_code")), "{id}");
        }
        let refused = pending.try_verify(id, code).await?;
        assert!(is(&refused, LOCKED), "{id}");
        assert!(refused.has_header("retry-after"));
    }
    let right = pending.try_verify("recovery", &account.recovery_codes[0]).await?;
    assert!(is(&right, LOCKED));
    Ok(())
}

#[tokio::test]
async fn b15_every_route_that_takes_a_code_has_a_limit_cve_2025_64102() -> Result<()> {
    let backend = Backend::start().await?;
    // Reauthenticate and verify have one limit each: the session's device is known, the other is a stranger's.
    let account = backend.account_with_totp().await?;
    let factor = account.factor();
    let session = backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let wrong = factor.wrong_code_at(backend.now());
    let proof = json!({"factor_id": factor.id, "code": wrong});
    for _ in 0..5 {
        assert!(is(&session.try_reauthenticate(&proof).await?, (401, "invalid_code")));
        assert!(is(&pending.try_verify(&factor.id, &wrong).await?, (401, "invalid_code")));
    }
    assert!(is(&session.try_reauthenticate(&proof).await?, LOCKED));
    assert!(is(&pending.try_verify(&factor.id, &wrong).await?, LOCKED));
    // Confirming has one too.
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let enrolment = session.enrol_totp("Phone").await?;
    let wrong = enrolment.factor.wrong_code_at(backend.now());
    for _ in 0..5 {
        assert!(is(&session.try_confirm(&enrolment.factor.id, &wrong).await?, (401, "invalid_code")));
    }
    assert!(is(&session.try_confirm(&enrolment.factor.id, &wrong).await?, LOCKED));
    Ok(())
}

#[tokio::test]
async fn b16_a_sign_in_that_waits_for_its_factor_opens_nothing_cve_2025_64103() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let id = &account.factor().id;
    for (method, path) in [
        ("GET", "/api/v1/mfa/factors".to_owned()),
        ("DELETE", format!("/api/v1/mfa/factors/{id}")),
        ("POST", "/api/v1/mfa/totp".to_owned()),
        ("POST", "/api/v1/mfa/totp/confirm".to_owned()),
        ("POST", "/api/v1/mfa/recovery-codes".to_owned()),
        ("POST", "/api/v1/auth/reauthenticate".to_owned()),
        ("POST", "/api/v1/auth/logout".to_owned()),
    ] {
        let answer = pending.actor.ask(method, &path).bearer(&pending.mfa_token).send().await?;
        assert!(is(&answer, (401, "invalid_token")), "{method} {path}: {}", answer.text());
    }
    let client = backend.client().await?;
    let introspected = pending.actor.introspect(&client, &pending.mfa_token).await?;
    assert_eq!(introspected.json(), json!({"active": false}));
    assert!(
        backend.items("Sessions").await?.iter().all(|item| {
            item.as_object().unwrap().keys().filter(|name| name.starts_with("s_")).count() == 0
        })
    );
    Ok(())
}

#[tokio::test]
async fn b17_a_code_works_once_and_no_spelling_of_it_is_another_cve_2025_6014() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let factor = account.factor();
    let code = backend.code(factor).await?;
    let (head, tail) = code.split_at(3);
    let wide: String = code.chars().map(|digit| char::from_u32(digit as u32 + 0xfee0).unwrap()).collect();
    let arabic: String =
        code.chars().map(|digit| char::from_u32(digit as u32 - 0x30 + 0x660).unwrap()).collect();
    let others = [
        format!("\u{feff}{code}"),
        format!("{code}\0"),
        format!("0{code}"),
        format!("+{}", &code[1..]),
        wide,
        arabic,
    ];
    let spellings = [
        format!(" {code}"),
        format!("{code} "),
        format!("{head} {tail}"),
        format!("{head}-{tail}"),
        format!("{head}\u{a0}{tail}"),
        format!("{code}\r\n"),
    ];
    let begin = async || backend.actor().begin_log_in(&account).await;
    let session = begin().await?;
    for other in &others {
        let answer = session.try_verify(&factor.id, other).await?;
        assert!(is(&answer, (422, "validation_failed")), "before: {other:?}");
    }
    session.try_verify(&factor.id, &spellings[2]).await?.expect(200)?;
    for other in &others {
        let answer = begin().await?.try_verify(&factor.id, other).await?;
        assert!(is(&answer, (422, "validation_failed")), "after: {other:?}");
    }
    // They are the code that was used, each an attempt against the one budget: five, and the factor is locked.
    for spelling in spellings.iter().take(4).chain([&code]) {
        let answer = begin().await?.try_verify(&factor.id, spelling).await?;
        assert!(is(&answer, (401, "invalid_code")), "{spelling:?}: {}", answer.text());
    }
    let answer = begin().await?.try_verify(&factor.id, &spellings[5]).await?;
    assert!(is(&answer, (429, "too_many_attempts")), "{}", answer.text());
    Ok(())
}

#[tokio::test]
async fn b18_an_earlier_step_is_refused_after_a_later_one_cve_2026_82470() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let factor = account.factor();
    // Some steps later, so that none of those around was used.
    backend.advance(300).await?;
    backend.begin_totp_step().await?;
    let now = backend.now();
    let begin = async || backend.actor().begin_log_in(&account).await;
    begin().await?.try_verify(&factor.id, &factor.code_at(now)).await?.expect(200)?;
    let before = begin().await?.try_verify(&factor.id, &factor.code_at(now - 30)).await?;
    assert!(is(&before, (401, "invalid_code")), "the step before is still in the window");
    begin().await?.try_verify(&factor.id, &factor.code_at(now + 30)).await?.expect(200)?;
    let between = begin().await?.try_verify(&factor.id, &factor.code_at(now)).await?;
    assert!(is(&between, (401, "invalid_code")));
    Ok(())
}

#[tokio::test]
async fn b19_the_window_is_one_step_either_way_and_no_more_cve_2024_7318() -> Result<()> {
    let backend = Backend::start().await?;
    for (steps, expected) in [(-3, 401), (-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401), (3, 401)] {
        let account = backend.account_with_totp().await?;
        backend.advance(300).await?;
        backend.begin_totp_step().await?;
        let pending = backend.actor().begin_log_in(&account).await?;
        let at = backend.now().checked_add_signed(30 * steps).unwrap();
        let answer = pending.try_verify(&account.factor().id, &account.factor().code_at(at)).await?;
        assert_eq!(answer.status, expected, "{steps} steps");
    }
    Ok(())
}

#[tokio::test]
async fn b20_another_address_client_or_session_is_no_new_budget_cve_2026_33640() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let wrong = account.factor().wrong_code_at(backend.now());
    let mut checked = 0;
    for number in 0..12 {
        let actor = backend.actor();
        let pending = actor.begin_log_in(&account).await?;
        let body = json!({"mfa_token": pending.mfa_token, "factor_id": account.factor().id, "code": wrong});
        let answer = actor
            .ask("POST", "/api/v1/auth/mfa/verify")
            .header("user-agent", &format!("client {number}"))
            .header("x-forwarded-for", &format!("192.0.2.{number}"))
            .header("x-device-id", &format!("{number}"))
            .json(&body)
            .send()
            .await?;
        checked += usize::from(is(&answer, (401, "invalid_code")));
    }
    assert_eq!(checked, 5);
    Ok(())
}

#[tokio::test]
async fn b21_beginning_again_resets_no_count_ghsa_vfph_hjfv_cpv2() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let wrong = account.factor().wrong_code_at(backend.now());
    for round in 0..3 {
        let pending = backend.actor().begin_log_in(&account).await?;
        for number in 0..2 {
            let answer = pending.try_verify(&account.factor().id, &wrong).await?;
            let expected = if round * 2 + number < 5 { (401, "invalid_code") } else { LOCKED };
            assert!(is(&answer, expected), "round {round}, {number}: {}", answer.text());
        }
    }
    Ok(())
}

#[tokio::test]
async fn b22_an_older_mfa_token_winds_no_count_back_cve_2026_78655() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let wrong = account.factor().wrong_code_at(backend.now());
    let old = backend.actor().begin_log_in(&account).await?;
    let new = backend.actor().begin_log_in(&account).await?;
    for pending in [&new, &new, &new, &old, &new] {
        pending.try_verify(&account.factor().id, &wrong).await?.expect(401)?;
    }
    assert!(is(&old.try_verify(&account.factor().id, &wrong).await?, LOCKED));
    Ok(())
}

#[tokio::test]
async fn b23_no_answer_holds_a_code_and_the_secret_is_shown_once_cve_2026_105211() -> Result<()> {
    let backend = Backend::start().await?;
    let mut account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    let enrolled = session.try_enrol_totp("Phone").await?.expect(201)?;
    let factor = Factor::new(&enrolled.string("factor_id")?, &enrolled.string("secret")?);
    let now = backend.now();
    let near: Vec<_> = (0..5).map(|step| factor.code_at(now - 60 + 30 * step)).collect();
    for code in &near {
        assert!(!enrolled.text().contains(&format!("\"{code}\"")));
    }
    let code = backend.code(&factor).await?;
    let confirmed = session.try_confirm(&factor.id, &code).await?.expect(200)?;
    account.factors.push(factor.clone());
    let recovery = confirmed.json()["recovery_codes"][0].as_str().unwrap().to_owned();
    let login = backend.actor().try_log_in(&account.email, &account.password).await?;
    let strong = backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    for (what, answer) in [("confirm", confirmed), ("login", login), ("list", strong.list_factors().await?)] {
        assert!(!answer.text().contains(&factor.secret), "{what}");
        assert!(near.iter().all(|code| !answer.text().contains(&format!("\"{code}\""))), "{what}");
        assert!(what == "confirm" || !answer.text().contains(&recovery), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn b24_no_route_is_a_free_oracle_for_passwords_cve_2026_43914() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    let proof = |password: &str| json!({"password": password});
    for _ in 0..5 {
        assert!(is(&session.try_reauthenticate(&proof("wrong")).await?, (401, "invalid_credentials")));
    }
    let right = session.try_reauthenticate(&proof(&account.password)).await?;
    assert!(is(&right, LOCKED), "the right password tells nothing once the limit is reached");
    // The thief of an access token has used up a budget of its own: the owner signs in.
    backend.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn b25_no_pathway_leads_past_a_lock_a_disabling_or_a_factor_cve_2026_15616() -> Result<()> {
    let backend = Backend::start().await?;
    // Locked.
    let locked = backend.account().await?;
    lock(&backend, &locked.email).await?;
    assert!(is(&backend.actor().try_log_in(&locked.email, &locked.password).await?, LOCKED));
    // Disabled, with everything that was issued before in hand.
    let disabled = backend.account_with_totp().await?;
    let session =
        backend.actor().begin_log_in(&disabled).await?.verify_with_totp(&backend, &disabled).await?;
    let pending = backend.actor().begin_log_in(&disabled).await?;
    backend.disable(&disabled).await?;
    let code = &disabled.recovery_codes[0];
    for answer in [
        backend.actor().try_log_in(&disabled.email, &disabled.password).await?,
        session.actor.try_log_in(&disabled.email, &disabled.password).await?,
        pending.try_verify("recovery", code).await?,
        session.try_refresh().await?,
        session.try_reauthenticate(&json!({"password": disabled.password})).await?,
        session.try_reauthenticate(&json!({"factor_id": "recovery", "code": code})).await?,
        session.list_factors().await?,
    ] {
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    // With a factor: the password alone gives no session, from a known device neither.
    let factor = backend.account_with_totp().await?;
    let actor = backend.actor();
    actor.begin_log_in(&factor).await?.verify_with_totp(&backend, &factor).await?;
    let again = actor.try_log_in(&factor.email, &factor.password).await?.expect(200)?;
    assert_eq!(again.field("status"), "mfa_required");
    assert!(again.field("access_token").is_null() && again.cookies().is_empty());
    Ok(())
}
