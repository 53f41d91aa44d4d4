//! `POST /api/v1/auth/login`

use sallyport_testkit::Pending;

use crate::prelude::*;

fn prefixed(prefix: &'static str) -> insta::internals::Redaction {
    insta::dynamic_redaction(move |value, _| {
        let text = value.as_str().unwrap().to_owned();
        assert!(text.starts_with(prefix) && text.len() > 20, "{text}");
        format!("[{prefix}…]")
    })
}

#[tokio::test]
async fn a_right_password_gives_tokens() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let answer = backend.actor().try_log_in(&account.email, &account.password).await?.expect(200)?;
    insta::assert_json_snapshot!(answer.json(), {
        ".access_token" => prefixed("eyJ"),
        ".refresh_token" => prefixed("spr_"),
        ".session_id" => prefixed("ses_"),
        ".device_token" => prefixed("spd_"),
        ".refresh_expires_in" => insta::dynamic_redaction(|value, _| {
            // A busy machine may take a second or two.
            assert!((1_209_590..=1_209_600).contains(&value.as_u64().unwrap()));
            "[14 days]"
        }),
    }, @r#"
    {
      "access_token": "[eyJ…]",
      "device_token": "[spd_…]",
      "expires_in": 300,
      "refresh_expires_in": "[14 days]",
      "refresh_token": "[spr_…]",
      "session_id": "[ses_…]",
      "status": "authenticated",
      "token_type": "Bearer"
    }
    "#);
    Ok(())
}

#[tokio::test]
async fn the_access_token_says_who_how_and_until_when() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    let claims = session.claims();
    assert_eq!(claims["iss"], backend.issuer());
    assert_eq!(claims["sub"], account.user_id);
    assert_eq!(claims["sid"], session.session_id);
    assert_eq!(claims["exp"].as_u64(), claims["iat"].as_u64().map(|iat| iat + 300));
    assert_eq!(claims["auth_time"], claims["iat"]);
    assert_eq!(claims["proofs"], json!({"pwd": claims["iat"]}));
    insta::assert_json_snapshot!(claims, {
        ".iss" => "[checked]", ".sub" => "[checked]", ".sid" => "[checked]",
        ".iat" => "[checked]", ".exp" => "[checked]", ".auth_time" => "[checked]", ".proofs" => "[checked]",
        ".jti" => insta::dynamic_redaction(|value, _| {
            assert_eq!(value.as_str().unwrap().len(), 22);
            "[22 characters]"
        }),
    }, @r#"
    {
      "aal": 1,
      "amr": [
        "pwd"
      ],
      "aud": "sallyport",
      "auth_time": "[checked]",
      "client_id": "first-party",
      "exp": "[checked]",
      "iat": "[checked]",
      "iss": "[checked]",
      "jti": "[22 characters]",
      "proofs": "[checked]",
      "scope": "account",
      "sid": "[checked]",
      "sub": "[checked]"
    }
    "#);
    Ok(())
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_none_is_told_before_the_password_is_right() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let actor = backend.actor();
    let refused = actor.try_log_in(&account.email, "wrong").await?;
    assert_eq!(refused.outcome(), outcome(401, "invalid_credentials"));
    let answer = actor.try_log_in(&account.email, &account.password).await?.expect(200)?;
    insta::assert_json_snapshot!(answer.json(), {
        ".mfa_token" => prefixed("eyJ"),
        ".factors[0].id" => prefixed("fac_"),
    }, @r#"
    {
      "expires_in": 300,
      "factors": [
        {
          "hint": "Phone",
          "id": "[fac_…]",
          "type": "totp"
        },
        {
          "hint": null,
          "id": "recovery",
          "type": "recovery"
        }
      ],
      "mfa_token": "[eyJ…]",
      "status": "mfa_required"
    }
    "#);
    Ok(())
}

#[tokio::test]
async fn a_problem_has_the_documented_members() -> Result<()> {
    let backend = Backend::start().await?;
    let answer = backend.actor().try_log_in("nobody@example.com", "wrong").await?.expect(401)?;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    insta::assert_json_snapshot!(answer.json(), { ".request_id" => insta::dynamic_redaction(|value, _| {
        assert_eq!(value.as_str().unwrap().len(), 36);
        "[uuid]"
    }) }, @r#"
    {
      "code": "invalid_credentials",
      "detail": "The e-mail address or the password is not right, or the account cannot sign in.",
      "request_id": "[uuid]",
      "status": 401,
      "title": "The sign-in was refused",
      "type": "https://github.com/sallyport/sallyport/blob/main/docs/errors/invalid_credentials.md"
    }
    "#);
    Ok(())
}

#[tokio::test]
async fn invalid_fields_are_named_and_their_values_are_not_repeated() -> Result<()> {
    let backend = Backend::start().await?;
    let body = json!({"email": "not an address", "password": "hunter2"});
    let answer = backend.actor().post("/api/v1/auth/login", &body).await?.expect(422)?;
    assert_eq!(answer.code(), "validation_failed");
    insta::assert_json_snapshot!(answer.field("errors"), @r#"
    [
      {
        "code": "invalid",
        "detail": "This field does not have the type or form that it should have.",
        "field": "email"
      }
    ]
    "#);
    assert!(!answer.text().contains("not an address") && !answer.text().contains("hunter2"));
    Ok(())
}

#[tokio::test]
async fn the_password_counts_whole_and_in_one_unicode_form() -> Result<()> {
    let backend = Backend::start().await?;
    let long = "x".repeat(1024);
    backend.account_as("long@example.com", &long).await?;
    backend.account_as("nfc@example.com", "caf\u{e9} au lait").await?;
    let actor = backend.actor();
    actor.try_log_in("long@example.com", &long).await?.expect(200)?;
    let cut = actor.try_log_in("long@example.com", &long[..1023]).await?;
    assert_eq!(cut.outcome(), outcome(401, "invalid_credentials"));
    actor.try_log_in("nfc@example.com", "cafe\u{301} au lait").await?.expect(200)?;
    let folded = actor.try_log_in("nfc@example.com", "CAF\u{c9} AU LAIT").await?;
    assert_eq!(folded.outcome(), outcome(401, "invalid_credentials"));
    Ok(())
}

#[tokio::test]
async fn a_password_of_no_or_of_too_many_bytes_is_refused_before_it_is_hashed() -> Result<()> {
    let backend = Backend::start().await?;
    for password in [String::new(), "x".repeat(1025), "\u{e9}".repeat(513)] {
        let answer = backend.actor().try_log_in("nobody@example.com", &password).await?;
        assert_eq!(answer.outcome(), outcome(422, "validation_failed"), "{} bytes", password.len());
    }
    assert!(backend.items("Throttle").await?.is_empty(), "nothing was counted");
    Ok(())
}

#[tokio::test]
async fn a_weaker_hash_is_renewed_at_sign_in() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let start = |memory: &'static str| {
        let variables =
            [("SALLYPORT_PASSWORD_MEMORY_KIB", memory), ("SALLYPORT_ISSUER", "https://auth.example.com")];
        let options = local::Options {
            data: Some(directory.path().to_owned()),
            environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..local::Options::default()
        };
        Backend::start_as(options)
    };
    let hash = async |backend: &Backend| -> Result<String> {
        let users = backend.items("Users").await?;
        let login = users.iter().find(|item| item["sk"] == "LOGIN").context("no login record")?;
        Ok(login.to_string())
    };
    let weak = start("7168").await?;
    let account = weak.account().await?;
    assert!(hash(&weak).await?.contains("m=7168"));
    weak.stop().await;
    let strong = start("19456").await?;
    assert!(hash(&strong).await?.contains("m=7168"), "the data was kept");
    strong.actor().try_log_in(&account.email, "wrong").await?.expect(401)?;
    assert!(hash(&strong).await?.contains("m=7168"), "a wrong password renews nothing");
    strong.actor().log_in(&account).await?;
    assert!(hash(&strong).await?.contains("m=19456"));
    strong.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn five_failures_lock_for_thirty_seconds_and_each_further_one_doubles_it() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    lock(&backend, &account.email).await?;
    let mut locks = Vec::new();
    for _ in 0..7 {
        let refused = backend.actor().try_log_in(&account.email, &account.password).await?;
        assert_eq!(refused.outcome(), outcome(429, "too_many_attempts"));
        let wait: u64 = refused.header("retry-after").parse()?;
        assert_eq!(refused.field("retry_after"), wait);
        locks.push(wait);
        backend.advance(wait).await?;
        let probe = backend.actor().try_log_in(&account.email, "still wrong").await?;
        assert_eq!(probe.outcome(), outcome(401, "invalid_credentials"), "one attempt at the end of a lock");
    }
    // The clock runs on: a second may have passed since the lock began.
    let expected = [30, 60, 120, 240, 480, 900, 900];
    for (lock, expected) in locks.iter().zip(expected) {
        assert!((expected - 3..=expected).contains(lock), "{locks:?}");
    }
    Ok(())
}

#[tokio::test]
async fn attempts_while_locked_do_not_prolong_the_lock_and_a_success_clears_the_count() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    lock(&backend, &account.email).await?;
    backend.advance(20).await?;
    for _ in 0..10 {
        backend.actor().try_log_in(&account.email, "wrong").await?.expect(429)?;
    }
    backend.advance(11).await?;
    backend.actor().log_in(&account).await?;
    for _ in 0..4 {
        backend.actor().try_log_in(&account.email, "wrong").await?.expect(401)?;
    }
    backend.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn failures_are_forgotten_after_fifteen_quiet_minutes() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    for _ in 0..4 {
        backend.actor().try_log_in(&account.email, "wrong").await?.expect(401)?;
    }
    backend.advance(15 * 60 + 1).await?;
    for _ in 0..4 {
        backend.actor().try_log_in(&account.email, "wrong").await?.expect(401)?;
    }
    backend.actor().log_in(&account).await?;
    Ok(())
}

/// Fails until the pool of strangers is shut.
async fn shut(backend: &Backend, account: &Account) -> Result<()> {
    for _ in 0..100 {
        let answer = backend.actor().try_log_in(&account.email, "wrong").await?.expect(401)?;
        drop(answer);
        backend.advance(31 * 60).await?;
    }
    let refused = backend.actor().try_log_in(&account.email, &account.password).await?;
    assert_eq!(refused.outcome(), outcome(429, "too_many_attempts"));
    backend.advance_days(2).await?;
    let refused = backend.actor().try_log_in(&account.email, &account.password).await?;
    assert_eq!(refused.outcome(), outcome(429, "too_many_attempts"), "no time opens it");
    Ok(())
}

#[tokio::test]
async fn a_hundred_failures_in_a_row_shut_the_pool_until_a_known_device_signs_in() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let owner = backend.actor();
    owner.log_in(&account).await?;
    shut(&backend, &account).await?;
    owner.log_in(&account).await?;
    backend.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn a_hundred_failures_in_a_row_shut_the_pool_until_the_operator_unlocks_it() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    shut(&backend, &account).await?;
    backend.unlock(&account).await?;
    backend.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn the_tenth_session_is_the_last_and_the_one_idle_longest_gives_way() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(backend.actor().log_in(&account).await?);
        backend.advance(1).await?;
    }
    // The first is used again: the second is now the one idle longest.
    sessions[0].refresh().await?;
    backend.advance(1).await?;
    sessions.push(backend.actor().log_in(&account).await?);
    let mut alive = Vec::new();
    for session in &mut sessions {
        alive.push(session.is_alive().await?);
    }
    let expected: Vec<_> = (0..11).map(|index| index != 1).collect();
    assert_eq!(alive, expected);
    let displaced =
        audit_kinds(&backend).await?.into_iter().filter(|kind| kind == "session.displaced").count();
    assert_eq!(displaced, 1);
    Ok(())
}

#[tokio::test]
async fn a_disabled_account_signs_in_again_once_it_is_enabled() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    backend.disable(&account).await?;
    let refused = backend.actor().try_log_in(&account.email, &account.password).await?;
    assert_eq!(refused.outcome(), outcome(401, "invalid_credentials"));
    backend.enable(&account).await?;
    backend.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn each_outcome_of_a_sign_in_leaves_its_event() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let before = audit_kinds(&backend).await?.len();
    let actor = backend.actor();
    actor.try_log_in(&account.email, "wrong").await?.expect(401)?;
    let pending: Pending = actor.begin_log_in(&account).await?;
    pending
        .try_verify(&account.factor().id, &account.factor().wrong_code_at(backend.now()))
        .await?
        .expect(401)?;
    pending.verify_with_recovery_code(&account.recovery_codes[0]).await?;
    let mut kinds = audit_kinds(&backend).await?.split_off(before);
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "login.password_accepted",
            "login.refused",
            "login.succeeded",
            "mfa.recovery_code_used",
            "mfa.refused"
        ]
    );
    Ok(())
}

/// Neither cut at a NUL nor at 72 bytes, as hashes of other systems do (jeremyevans/rodauth #4).
#[tokio::test]
async fn a_password_is_compared_to_its_last_byte() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "1000")]).await?;
    let long = "x".repeat(100);
    for (password, other) in [
        ("before\0behind", "before\0other"),
        ("before\0behind", "before"),
        (&*format!("{long}y"), &*format!("{long}z")),
    ] {
        let mut account = backend.account().await?;
        backend.set_password(&mut account, password).await?;
        backend.actor().try_log_in(&account.email, other).await?.expect(401)?;
        backend.actor().try_log_in(&account.email, password).await?.expect(200)?;
    }
    Ok(())
}
