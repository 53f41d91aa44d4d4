//! The routes of second factors, and `POST /api/v1/auth/reauthenticate`

use crate::prelude::*;

const REAUTHENTICATE: (u16, &str) = (401, "reauthentication_required");

fn is(answer: &Answer, (status, code): (u16, &str)) -> bool {
    answer.outcome() == outcome(status, code)
}

#[tokio::test]
async fn an_app_is_enrolled_by_secret_uri_and_picture_and_confirmed_by_its_first_code() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    let enrolment = session.enrol_totp("My phone").await?;
    let secret = enrolment.factor.secret.clone();
    assert_eq!(secret.len(), 32, "160 bits in base 32");
    let uri = reqwest::Url::parse(&enrolment.otpauth_uri)?;
    let parameters: std::collections::HashMap<_, _> = uri.query_pairs().into_owned().collect();
    assert_eq!((uri.scheme(), uri.host_str()), ("otpauth", Some("totp")));
    assert!(uri.path().contains("Sallyport") && uri.path().contains("user0001"), "{uri}");
    assert_eq!(parameters.get("secret"), Some(&secret));
    assert_eq!(parameters.get("issuer").map(String::as_str), Some("Sallyport"));
    assert!(enrolment.qr_svg.contains("<svg"), "{}", enrolment.qr_svg);

    let listed = session.list_factors().await?.expect(200)?.json();
    assert_eq!(listed["factors"][0]["confirmed"], false);
    assert_eq!(listed["recovery_codes_remaining"], 0);
    backend.actor().log_in(&account).await?;

    let code = backend.code(&enrolment.factor).await?;
    let confirmed = session.try_confirm(&enrolment.factor.id, &code).await?.expect(200)?;
    assert_eq!(confirmed.field("factor_id"), enrolment.factor.id);
    let codes = confirmed.field("recovery_codes");
    let codes: Vec<_> = codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(codes.len(), 10);
    for code in &codes {
        let groups: Vec<_> = code.split('-').collect();
        let letters = |group: &&str| group.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        assert!(groups.len() == 4 && groups.iter().all(|group| group.len() == 6 && letters(group)), "{code}");
    }
    let different: std::collections::BTreeSet<_> = codes.iter().collect();
    assert_eq!(different.len(), 10);
    backend.actor().begin_log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn the_list_shows_what_the_owner_needs_and_no_secret() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let session = backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let listed = session.list_factors().await?.expect(200)?;
    insta::assert_json_snapshot!(listed.json(), {
        ".factors[0].id" => insta::dynamic_redaction({
            let id = account.factor().id.clone();
            move |value, _| { assert_eq!(value.as_str(), Some(id.as_str())); "[the factor]" }
        }),
        ".factors[0].created_at" => "[seconds]",
        ".factors[0].last_used_at" => "[seconds]",
    }, @r#"
    {
      "factors": [
        {
          "confirmed": true,
          "created_at": "[seconds]",
          "id": "[the factor]",
          "label": "Phone",
          "last_used_at": "[seconds]",
          "type": "totp"
        }
      ],
      "recovery_codes_remaining": 10
    }
    "#);
    let used = listed.json()["factors"][0]["last_used_at"].as_u64().unwrap();
    assert!(used + 60 > backend.now() && used <= backend.now());
    assert!(!listed.text().contains(&account.factor().secret));
    Ok(())
}

#[tokio::test]
async fn a_sign_in_with_a_code_or_a_recovery_code_has_the_second_level_of_assurance() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let actor = backend.actor();
    let by_app = actor.begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    assert_eq!(
        (&by_app.claims()["aal"], &by_app.claims()["amr"]),
        (&json!(2), &json!(["pwd", "otp", "mfa"]))
    );
    let code = &account.recovery_codes[0];
    let by_code = actor.begin_log_in(&account).await?.verify_with_recovery_code(code).await?;
    assert_eq!((&by_code.claims()["aal"], &by_code.claims()["amr"]), (&json!(2), &json!(["pwd", "mfa"])));
    assert!(actor.device_token().is_some(), "the device is known after a verified sign-in");
    Ok(())
}

#[tokio::test]
async fn a_recovery_code_works_once_however_it_is_typed() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let begin = async || backend.actor().begin_log_in(&account).await;
    let spell: [fn(&str) -> String; 5] = [
        |code| code.to_uppercase(),
        |code| code.replace('-', ""),
        |code| format!(" {code}\n"),
        |code| code.replace('-', " "),
        |code| code.replace('-', "\u{2013}").replace('o', "0").replace('b', "8"),
    ];
    for (used, (spell, code)) in spell.iter().zip(&account.recovery_codes).enumerate() {
        let session = begin().await?.verify_with_recovery_code(&spell(code)).await?;
        assert_eq!(session.list_factors().await?.field("recovery_codes_remaining"), 9 - used);
    }
    // Spent in every spelling, and every spelling an attempt against the one budget.
    let spent = &account.recovery_codes[0];
    for spell in spell {
        let refused = begin().await?.try_verify("recovery", &spell(spent)).await?;
        assert!(is(&refused, (401, "invalid_code")), "{}", refused.text());
    }
    let refused = begin().await?.try_verify("recovery", spent).await?;
    assert!(is(&refused, (429, "too_many_attempts")), "{}", refused.text());
    Ok(())
}

#[tokio::test]
async fn new_recovery_codes_take_the_place_of_those_before() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let session = backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let answer = session.new_recovery_codes().await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "no-store");
    let fresh = answer.json()["recovery_codes"][0].as_str().unwrap().to_owned();
    assert_eq!(answer.json()["recovery_codes"].as_array().unwrap().len(), 10);
    let pending = backend.actor().begin_log_in(&account).await?;
    let refused = pending.try_verify("recovery", &account.recovery_codes[0]).await?;
    assert!(is(&refused, (401, "invalid_code")));
    pending.verify_with_recovery_code(&fresh).await?;
    Ok(())
}

#[tokio::test]
async fn there_are_no_recovery_codes_without_a_confirmed_factor() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    assert!(is(&session.new_recovery_codes().await?, (404, "factor_not_found")));
    session.enrol_totp("Phone").await?;
    assert!(is(&session.new_recovery_codes().await?, (404, "factor_not_found")));
    Ok(())
}

#[tokio::test]
async fn a_further_enrolment_takes_the_place_of_an_unconfirmed_one() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let first = session.enrol_totp("First").await?;
    let second = session.enrol_totp("Second").await?;
    let listed = session.list_factors().await?.json();
    assert_eq!(listed["factors"].as_array().unwrap().len(), 1);
    assert_eq!(listed["factors"][0]["label"], "Second");
    let code = backend.code(&first.factor).await?;
    assert!(is(&session.try_confirm(&first.factor.id, &code).await?, (404, "factor_not_found")));
    session.confirm(&backend, &second).await?;
    Ok(())
}

#[tokio::test]
async fn a_factor_is_confirmed_once_and_the_second_factor_brings_no_further_codes() -> Result<()> {
    let backend = Backend::start().await?;
    let mut account = backend.account_with_totp().await?;
    let session = backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let code = backend.code(account.factor()).await?;
    let again = session.try_confirm(&account.factor().id, &code).await?;
    assert!(is(&again, (409, "factor_already_confirmed")), "{}", again.text());
    let codes = account.recovery_codes.len();
    session.add_totp(&backend, &mut account).await?;
    assert_eq!((account.factors.len(), account.recovery_codes.len()), (2, codes));
    // Either app signs in.
    let second = account.factors[1].clone();
    let pending = backend.actor().begin_log_in(&account).await?;
    assert_eq!(pending.factors.len(), 3);
    let code = backend.code(&second).await?;
    pending.try_verify(&second.id, &code).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn an_account_has_five_factors_at_most() -> Result<()> {
    let backend = Backend::start().await?;
    let mut account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    session.add_totp(&backend, &mut account).await?;
    session.step_up(&backend, &account).await?;
    for _ in 0..4 {
        session.add_totp(&backend, &mut account).await?;
    }
    assert!(is(&session.try_enrol_totp("Sixth").await?, (409, "factor_limit_reached")));
    session.remove_factor(&account.factors[4].id).await?.expect(204)?;
    session.try_enrol_totp("Sixth").await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn labels_have_one_to_sixty_four_characters_that_print() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    for label in [String::new(), "x".repeat(65), "a\nb".to_owned(), "a\u{7f}".to_owned(), "\u{85}".to_owned()]
    {
        let refused = session.try_enrol_totp(&label).await?;
        assert!(is(&refused, (422, "validation_failed")), "{label:?}");
    }
    for label in ["x".to_owned(), "\u{1f512}".repeat(64), "a:b/c?d&e".to_owned()] {
        session.try_enrol_totp(&label).await?.expect(201)?;
    }
    let listed = session.list_factors().await?.json();
    assert_eq!(listed["factors"][0]["label"], "a:b/c?d&e");
    session.ask("POST", "/api/v1/mfa/totp").send().await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn without_its_last_factor_an_account_needs_the_password_only() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let session = backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    session.remove_factor(&account.factor().id).await?.expect(204)?;
    assert!(is(&session.remove_factor(&account.factor().id).await?, (404, "factor_not_found")));
    assert_eq!(session.list_factors().await?.json(), json!({"factors": [], "recovery_codes_remaining": 0}));
    backend.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn removing_the_unconfirmed_factor_leaves_the_confirmed_one_and_the_codes() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let session = backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let enrolment = session.enrol_totp("Tablet").await?;
    session.remove_factor(&enrolment.factor.id).await?.expect(204)?;
    let listed = session.list_factors().await?.json();
    assert_eq!(
        (listed["factors"].as_array().unwrap().len(), &listed["recovery_codes_remaining"]),
        (1, &json!(10))
    );
    backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    Ok(())
}

#[tokio::test]
async fn apps_and_recovery_codes_need_no_challenge() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    for id in [account.factor().id.as_str(), "recovery"] {
        assert!(is(&pending.challenge(id).await?, (409, "challenge_not_applicable")), "{id}");
    }
    let unknown = pending.challenge("fac_AAAAAAAAAAAAAAAAAAAAAA").await?;
    assert!(is(&unknown, (404, "factor_not_found")));
    backend.advance(300).await?;
    assert!(is(&pending.challenge("recovery").await?, (401, "invalid_mfa_token")));
    Ok(())
}

#[tokio::test]
async fn a_challenge_says_that_the_database_is_away_and_not_that_there_is_no_factor() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    backend.fault(json!({"kind": "refuse", "table": "users"})).await?;
    for factor in [account.factor().id.as_str(), "recovery"] {
        let answer = pending.challenge(factor).await?;
        assert!(is(&answer, (503, "dependency_unavailable")), "{}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn an_mfa_token_is_good_once_for_three_hundred_seconds() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    backend.advance(290).await?;
    pending.verify_with_totp(&backend, &account).await?;
    let again = pending.try_verify("recovery", &account.recovery_codes[0]).await?;
    assert!(is(&again, (401, "invalid_mfa_token")), "{}", again.text());
    let late = backend.actor().begin_log_in(&account).await?;
    backend.advance(300).await?;
    let refused = late.try_verify("recovery", &account.recovery_codes[0]).await?;
    assert!(is(&refused, (401, "invalid_mfa_token")));
    // Neither refusal has taken the code.
    backend
        .actor()
        .begin_log_in(&account)
        .await?
        .verify_with_recovery_code(&account.recovery_codes[0])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_new_password_a_disabling_or_a_revocation_ends_the_sign_in_under_way() -> Result<()> {
    let backend = Backend::start().await?;
    for what in ["password", "disable", "revoke"] {
        let mut account = backend.account_with_totp().await?;
        let pending = backend.actor().begin_log_in(&account).await?;
        match what {
            "password" => backend.set_password(&mut account, "another password").await?,
            "disable" => backend.disable(&account).await?,
            _ => backend.revoke_sessions(&account).await?,
        }
        let refused = pending.try_verify("recovery", &account.recovery_codes[0]).await?;
        assert!(is(&refused, (401, "invalid_mfa_token")), "{what}: {}", refused.text());
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_resets_all_factors_and_the_owner_signs_in_by_password_alone_and_enrols_anew()
-> Result<()> {
    let backend = Backend::start().await?;
    let mut account = backend.account_with_totp().await?;
    let mut session =
        backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    session.add_totp(&backend, &mut account).await?;
    session.enrol_totp("never confirmed").await?;
    // Wrong recovery codes have locked their pool, which is the account's and not the codes'.
    let pending = backend.actor().begin_log_in(&account).await?;
    let strange = backend.account_with_totp().await?.recovery_codes;
    for code in &strange[..5] {
        pending.try_verify("recovery", code).await?.expect(401)?;
    }
    assert!(backend.reset_factors(&account).await?);
    assert!(!session.is_alive().await?);
    let stored = backend.items("Users").await?;
    let kept = |item: &&Value| {
        let sort = item["sk"].as_str().unwrap_or_default();
        item["pk"] == format!("USER#{}", account.user_id) && sort != "PROFILE"
    };
    assert_eq!(stored.iter().filter(kept).count(), 0, "{stored:?}");
    let left: Vec<_> = backend.items("Throttle").await?;
    let of_codes = |item: &&Value| {
        let key = item["key"].as_str().unwrap_or_default();
        key.contains(&account.user_id) && !key.starts_with("mfa_token#")
    };
    assert_eq!(left.iter().filter(of_codes).count(), 0, "{left:?}");

    assert!(!backend.reset_factors(&account).await?, "there is nothing left to remove");
    let session = backend.actor().log_in(&account).await?;
    account.factors.clear();
    account.recovery_codes.clear();
    session.add_totp(&backend, &mut account).await?;
    // The sign-in that was under way ends in nothing, though the codes are right.
    let late = pending.try_verify("recovery", &account.recovery_codes[0]).await?;
    assert!(is(&late, (401, "invalid_mfa_token")), "{}", late.text());
    let pending = backend.actor().begin_log_in(&account).await?;
    pending.verify_with_recovery_code(&account.recovery_codes[0]).await?;
    let events = backend.items("Audit").await?;
    let resets: Vec<_> = events.iter().filter(|event| event["kind"] == "mfa.reset").collect();
    assert_eq!(resets.len(), 1, "{resets:?}");
    Ok(())
}

#[tokio::test]
async fn a_factor_that_the_account_does_not_have_is_not_found_and_not_counted() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let other = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    for _ in 0..7 {
        let refused = pending.try_verify(&other.factor().id, "123456").await?;
        assert!(is(&refused, (404, "factor_not_found")));
    }
    backend.actor().begin_log_in(&other).await?.verify_with_totp(&backend, &other).await?;
    Ok(())
}

#[tokio::test]
async fn changes_of_factors_need_a_sign_in_of_the_last_ten_minutes() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    backend.advance(595).await?;
    session.refresh().await?;
    session.list_factors().await?.expect(200)?;
    backend.advance(10).await?;
    session.refresh().await?;
    let id = "fac_AAAAAAAAAAAAAAAAAAAAAA";
    for refused in [
        session.list_factors().await?,
        session.try_enrol_totp("Phone").await?,
        session.try_confirm(id, "123456").await?,
        session.remove_factor(id).await?,
        session.new_recovery_codes().await?,
    ] {
        assert!(is(&refused, REAUTHENTICATE), "{}", refused.text());
        assert!(refused.header("www-authenticate").contains("insufficient_user_authentication"));
    }
    session.reauthenticate(&json!({"password": account.password})).await?;
    session.list_factors().await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn where_there_is_a_second_factor_changes_need_it() -> Result<()> {
    let backend = Backend::start().await?;
    let mut account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    session.add_totp(&backend, &mut account).await?;
    // The session is of the time before the factor: recent, and not strong enough any more.
    assert!(is(&session.list_factors().await?, REAUTHENTICATE));
    assert!(is(&session.new_recovery_codes().await?, REAUTHENTICATE));
    session.reauthenticate(&json!({"password": account.password})).await?;
    assert!(
        is(&session.remove_factor(&account.factor().id).await?, REAUTHENTICATE),
        "the password is no factor"
    );
    session.step_up(&backend, &account).await?;
    session.list_factors().await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_reauthentication_gives_fresh_tokens_and_spends_those_before() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let mut session =
        backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    backend.advance(200).await?;
    let before = session.clone();
    session.reauthenticate(&json!({"password": account.password})).await?;
    assert_eq!(session.session_id, before.session_id);
    assert_ne!(session.refresh_token, before.refresh_token);
    let time = |session: &Session| session.claims()["auth_time"].as_u64().unwrap();
    assert_eq!(time(&session), time(&before), "the second factor is as old as it was");
    session.step_up(&backend, &account).await?;
    assert!(time(&session) >= time(&before) + 200);
    backend.advance(60).await?;
    assert!(is(&before.try_refresh().await?, (401, "refresh_token_reused")));
    Ok(())
}

#[tokio::test]
async fn a_reauthentication_takes_a_password_a_code_or_a_recovery_code() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let mut session =
        backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let factor = account.factor();
    session.reauthenticate(&json!({"password": account.password})).await?;
    session.step_up(&backend, &account).await?;
    session.reauthenticate(&json!({"factor_id": "recovery", "code": account.recovery_codes[0]})).await?;
    assert_eq!(session.claims()["aal"], 2);

    let wrong = factor.wrong_code_at(backend.now());
    for (proof, status, code) in [
        (json!({"password": "wrong"}), 401, "invalid_credentials"),
        (json!({"factor_id": factor.id, "code": wrong}), 401, "invalid_code"),
        (json!({"factor_id": "recovery", "code": account.recovery_codes[0]}), 401, "invalid_code"),
        (json!({"factor_id": "fac_AAAAAAAAAAAAAAAAAAAAAA", "code": wrong}), 404, "factor_not_found"),
        (json!({}), 422, "validation_failed"),
        (json!({"factor_id": factor.id}), 422, "validation_failed"),
        (json!({"code": wrong}), 422, "validation_failed"),
        (json!({"password": "x", "factor_id": factor.id, "code": wrong}), 422, "validation_failed"),
        (json!({"password": "x", "code": wrong}), 422, "validation_failed"),
    ] {
        let answer = session.try_reauthenticate(&proof).await?;
        assert_eq!(answer.outcome(), outcome(status, code), "{proof}");
    }
    Ok(())
}

#[tokio::test]
async fn a_code_is_refused_by_reauthenticate_after_it_was_used_to_sign_in() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let code = backend.code(account.factor()).await?;
    let answer = pending.try_verify(&account.factor().id, &code).await?.expect(200)?;
    let session = Session::of(&pending.actor, &answer)?;
    let again = session.try_reauthenticate(&json!({"factor_id": account.factor().id, "code": code})).await?;
    assert!(is(&again, (401, "invalid_code")));
    Ok(())
}

#[tokio::test]
async fn the_events_of_factors_are_kept() -> Result<()> {
    let backend = Backend::start().await?;
    let mut account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    let before = audit_kinds(&backend).await?.len();
    session.add_totp(&backend, &mut account).await?;
    session.step_up(&backend, &account).await?;
    session.new_recovery_codes().await?.expect(200)?;
    session.remove_factor(&account.factor().id).await?.expect(204)?;
    let mut kinds = audit_kinds(&backend).await?.split_off(before);
    // Written together, they have no order.
    kinds[1..3].sort_unstable();
    assert_eq!(
        kinds,
        [
            "mfa.totp_enrolled",
            "mfa.recovery_codes_issued",
            "mfa.totp_confirmed",
            "session.reauthenticated",
            "mfa.recovery_codes_issued",
            "mfa.factor_removed",
        ]
    );
    Ok(())
}

/// The release before bounded them by nothing: enrolling goes on, and takes them away by and by.
#[tokio::test]
async fn an_account_full_of_unconfirmed_factors_enrols_and_is_cleaned_up() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    session.enrol_totp("First").await?;
    let factors = async || -> Result<Vec<Value>> {
        let items = backend.items("Users").await?;
        Ok(items.into_iter().filter(|item| item["seed"].is_string()).collect())
    };
    let written = factors().await?.remove(0);
    let text = |name: &str| json!({"S": written[name]});
    for number in 0..130 {
        let request = json!({
            "TableName": backend.environment()["SALLYPORT_USERS_TABLE"],
            "Item": {
                "pk": text("pk"), "sk": {"S": format!("FACTOR#fac_{number:03}AAAAAAAAAAAAAAAAAAA")}, "v": {"N": written["v"].to_string()},
                "kind": {"S": "totp"}, "label": {"S": "Phone"}, "seed": {"B": written["seed"]},
                "confirmed": {"BOOL": false}, "created_at": {"N": "1700000000000"},
            },
        });
        backend.write_past_everything("PutItem", &request).await?;
    }
    let mut left = factors().await?.len();
    while left > 1 {
        session.enrol_totp("Phone").await?;
        let now = factors().await?.len();
        assert!(now < left, "{now} of {left} are left");
        left = now;
    }
    let enrolment = session.enrol_totp("Phone").await?;
    session.confirm(&backend, &enrolment).await?;
    Ok(())
}
