//! F. Tokens and sessions.

use futures_util::future::try_join_all;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use crate::{
    forging::{Forger, encode, is_taken, message},
    prelude::*,
};

/// A backend, a signed-in user, a client, and the deployment's own key in wrong hands.
struct Heist {
    backend: Backend,
    client: ServiceClient,
    session: Session,
    forger: Forger,
}

async fn heist() -> Result<Heist> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "100000")]).await?;
    let client = backend.client().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let forger = Forger::of(&backend)?;
    Ok(Heist { backend, client, session, forger })
}

impl Heist {
    async fn takes(&self, token: &str) -> Result<bool> {
        is_taken(&self.backend, &self.client, token).await
    }

    /// The session's own header and claims with a change, under a good signature.
    fn changed(&self, change: impl FnOnce(&mut Value, &mut Value)) -> Result<String> {
        let (mut header, mut claims) = (self.forger.header(), self.session.claims());
        change(&mut header, &mut claims);
        self.forger.sign(&header, &claims)
    }
}

#[tokio::test]
async fn f00_the_forger_can_make_a_token_that_is_taken() -> Result<()> {
    let heist = heist().await?;
    let client = &heist.client;
    let token = heist.changed(|_, _| ())?;
    let answer = heist.backend.actor().introspect(client, &token).await?;
    assert_eq!(answer.field("active"), true, "otherwise the tests below would prove nothing");
    Ok(())
}

#[tokio::test]
async fn f49_times_that_are_no_times_are_refused_cve_2026_25537() -> Result<()> {
    let heist = heist().await?;
    let exp = heist.session.claims()["exp"].as_u64().unwrap();
    let mut tokens = Vec::new();
    for claim in ["exp", "iat", "auth_time", "nbf"] {
        for value in [
            json!(exp.to_string()),
            json!(exp as f64 + 0.5),
            json!(-1),
            json!(1e300),
            json!(null),
            json!([exp]),
            json!({}),
            json!(true),
        ] {
            tokens.push((claim, value.clone(), heist.changed(|_, claims| claims[claim] = value.clone())?));
        }
        if claim != "nbf" {
            let missing = heist.changed(|_, claims| drop(claims.as_object_mut().unwrap().remove(claim)))?;
            tokens.push((claim, json!("missing"), missing));
        }
    }
    let now = heist.backend.now();
    for (claim, value) in [
        ("exp", json!(now - 1)),
        ("exp", json!(0)),
        ("iat", json!(now + 3600)),
        ("nbf", json!(now + 3600)),
        ("nbf", json!("x")),
        ("nbf", json!("")),
    ] {
        tokens.push((claim, value.clone(), heist.changed(|_, claims| claims[claim] = value.clone())?));
    }
    for (claim, value, token) in tokens {
        assert!(!heist.takes(&token).await?, "{claim} {value}");
    }
    let past = heist.changed(|_, claims| claims["nbf"] = json!(now - 1))?;
    assert!(heist.takes(&past).await?, "nbf in the past");
    Ok(())
}

#[tokio::test]
async fn f49_claims_are_required_typed_and_compared() -> Result<()> {
    let heist = heist().await?;
    let claims = heist.session.claims();
    for claim in claims.as_object().unwrap().keys() {
        let missing = heist.changed(|_, claims| drop(claims.as_object_mut().unwrap().remove(claim)))?;
        // The release before writes no proofs.
        assert_eq!(heist.takes(&missing).await?, claim == "proofs", "without {claim}");
        let wrong = if claims[claim].is_number() { json!("1") } else { json!(1) };
        let token = heist.changed(|_, claims| claims[claim] = wrong.clone())?;
        assert!(!heist.takes(&token).await?, "{claim} {wrong}");
    }
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", json!(format!("{}/", heist.backend.issuer()))),
        ("aud", json!("other")),
        ("aud", json!(heist.backend.issuer())),
        ("sub", json!("usr_")),
        ("sub", json!("")),
        ("sub", json!("usr_AAAAAAAAAAAAAAAAAAAAAA")),
        ("sid", json!("ses_AAAAAAAAAAAAAAAAAAAAAA")),
        ("sid", json!("../../x")),
    ] {
        let token = heist.changed(|_, claims| claims[claim] = value.clone())?;
        let answer = heist.backend.actor().introspect(&heist.client, &token).await?;
        assert_eq!(answer.json(), json!({"active": false}), "{claim} {value}");
        let listed = heist.backend.actor().ask("GET", "/api/v1/mfa/factors").bearer(&token).send().await?;
        assert_eq!(listed.outcome(), outcome(401, "invalid_token"), "{claim} {value}");
    }
    Ok(())
}

/// It says when something was proven, and not what: with a second factor on the account that is not enough.
#[tokio::test]
async fn a_token_of_the_release_before_proves_no_second_factor() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let strong = backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let weak = backend.actor().log_in(&backend.account().await?).await?;
    let forger = Forger::of(&backend)?;
    for (session, expected) in [(strong, outcome(401, "reauthentication_required")), (weak, outcome(200, ""))]
    {
        session.list_factors().await?.expect(200)?;
        let mut claims = session.claims();
        claims.as_object_mut().unwrap().remove("proofs").context("no proofs")?;
        let token = forger.sign(&forger.header(), &claims)?;
        let answer = backend.actor().ask("GET", "/api/v1/mfa/factors").bearer(&token).send().await?;
        assert_eq!(answer.outcome(), expected, "{}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn f50_the_header_decides_neither_algorithm_nor_key_cve_2026_44699_cve_2026_22817_cve_2023_48223_cve_2024_54150()
-> Result<()> {
    let heist = heist().await?;
    let (header, claims) = (heist.forger.header(), heist.session.claims());
    let jwks = heist.backend.actor().get("/.well-known/jwks.json").await?;
    let key = jwks.json()["keys"][0].clone();
    let mut tokens = Vec::new();
    let with = |change: &[(&str, Value)]| {
        let mut header = header.clone();
        for (name, value) in change {
            header[*name] = value.clone();
        }
        header
    };
    // No signature, by every spelling of none.
    for alg in ["none", "None", "NONE", "nOnE", "", "null"] {
        let unsigned = message(&with(&[("alg", json!(alg))]), &claims);
        let signature = heist.session.access_token.rsplit('.').next().unwrap();
        tokens.push((format!("alg {alg:?}"), format!("{unsigned}.")));
        tokens.push((format!("alg {alg:?} without a dot"), unsigned.clone()));
        tokens.push((format!("alg {alg:?} with the signature"), format!("{unsigned}.{signature}")));
    }
    // HMAC under everything that is public.
    let point = [encode_point(&key, "x")?, encode_point(&key, "y")?].concat();
    let publics = [
        key.to_string().into_bytes(),
        jwks.body.clone(),
        [&[4], point.as_slice()].concat(),
        point,
        key["kid"].as_str().unwrap().as_bytes().to_vec(),
        Vec::new(),
        b"secret".to_vec(),
    ];
    for (alg, algorithm) in
        [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
    {
        let message = message(&with(&[("alg", json!(alg))]), &claims);
        for public in &publics {
            let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(public), algorithm)?;
            tokens.push((format!("{alg} under {} bytes", public.len()), format!("{message}.{signature}")));
        }
    }
    // Another algorithm's name, another key's name, no name, over a good signature.
    for alg in ["ES384", "RS256", "PS256", "EdDSA", "HS256", "es256"] {
        tokens.push((format!("alg {alg}"), heist.forger.sign(&with(&[("alg", json!(alg))]), &claims)?));
    }
    for kid in
        [json!("other"), json!(""), json!(null), json!("../../dev/null"), json!("' OR 1=1 --"), json!(1)]
    {
        tokens.push((format!("kid {kid}"), heist.forger.sign(&with(&[("kid", kid.clone())]), &claims)?));
    }
    for typ in ["JWT", "mfa+jwt", "", "at+JWT ", "application/at+jwt2"] {
        tokens.push((format!("typ {typ}"), heist.forger.sign(&with(&[("typ", json!(typ))]), &claims)?));
    }
    for name in ["alg", "typ", "kid"] {
        let mut header = header.clone();
        header.as_object_mut().unwrap().remove(name);
        tokens.push((format!("no {name}"), heist.forger.sign(&header, &claims)?));
    }
    tokens.push((
        "crit".to_owned(),
        heist.forger.sign(&with(&[("crit", json!(["exp"])), ("exp", json!(1))]), &claims)?,
    ));
    for (what, token) in tokens {
        assert!(!heist.takes(&token).await?, "{what}: {token}");
    }
    Ok(())
}

fn encode_point(key: &Value, name: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    let text = key[name].as_str().context("no coordinate")?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text)?)
}

#[tokio::test]
async fn f50_a_key_that_the_token_brings_along_is_not_looked_at() -> Result<()> {
    let heist = heist().await?;
    // The key of another deployment: a good key, published by its own owner.
    let other = Backend::start().await?;
    let theirs = Forger::of(&other)?;
    let jwk = other.actor().get("/.well-known/jwks.json").await?.json()["keys"][0].clone();
    let claims = heist.session.claims();
    let jku = format!("{}/.well-known/jwks.json", other.url());
    other.forget_calls().await?;
    for (what, extra) in [
        ("nothing", json!({})),
        ("jwk", json!({"jwk": jwk})),
        ("jku", json!({"jku": jku})),
        ("x5u", json!({"x5u": jku})),
        ("x5c", json!({"x5c": ["MIIB"]})),
    ] {
        for kid in [&theirs.kid, &heist.forger.kid] {
            let mut header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid});
            header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            assert!(!heist.takes(&theirs.sign(&header, &claims)?).await?, "{what}");
        }
    }
    assert!(
        other
            .logs()
            .await?
            .iter()
            .all(|line| line["line"]["route"] != "/.well-known/jwks.json" || line["line"]["requests"] == 1)
    );
    Ok(())
}

#[tokio::test]
async fn f51_a_signature_of_nothing_signs_nothing_cve_2022_21449() -> Result<()> {
    let heist = heist().await?;
    let message = message(&heist.forger.header(), &heist.session.claims());
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let one = [[0_u8; 31].as_slice(), &[1]].concat();
    let zeros = vec![0_u8; 32];
    for signature in [
        [zeros.clone(), zeros.clone()].concat(),
        [one.clone(), zeros.clone()].concat(),
        [zeros.clone(), one.clone()].concat(),
        [one.clone(), one].concat(),
        [order.to_vec(), order.to_vec()].concat(),
        vec![0xff; 64],
        vec![0; 63],
        vec![0; 65],
        vec![0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00],
        Vec::new(),
    ] {
        assert!(!heist.takes(&format!("{message}.{}", encode(&signature))).await?, "{signature:?}");
    }
    // And what is signed is all of it.
    let good = heist.session.access_token.clone();
    let parts: Vec<_> = good.split('.').collect();
    let mut claims = heist.session.claims();
    claims["aal"] = json!(2);
    let raised = encode(claims.to_string());
    for token in [
        format!("{}.{raised}.{}", parts[0], parts[2]),
        format!("{good}="),
        format!("{good}."),
        format!("{good}.{}", parts[2]),
        format!("x {good}"),
        good.replace('.', ".."),
        good[..good.len() - 4].to_owned(),
    ] {
        assert!(!heist.takes(&token).await?, "{token}");
    }
    Ok(())
}

#[tokio::test]
async fn f52_nobody_ends_another_s_session_or_touches_another_s_factor_cve_2025_71402() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let victim = backend.account_with_totp().await?;
    let mut theirs = backend.actor().begin_log_in(&victim).await?.verify_with_totp(&backend, &victim).await?;
    let own = backend.account_with_totp().await?;
    let thief = backend.actor().begin_log_in(&own).await?.verify_with_totp(&backend, &own).await?;

    let removed = thief.remove_factor(&victim.factor().id).await?;
    assert_eq!(removed.outcome(), outcome(404, "factor_not_found"));
    let code = victim.factor().code_at(backend.now());
    assert_eq!(
        thief.try_confirm(&victim.factor().id, &code).await?.outcome(),
        outcome(404, "factor_not_found")
    );
    let proof = json!({"factor_id": victim.factor().id, "code": code});
    assert_eq!(thief.try_reauthenticate(&proof).await?.outcome(), outcome(404, "factor_not_found"));
    let proof = json!({"factor_id": "recovery", "code": victim.recovery_codes[0]});
    assert_eq!(thief.try_reauthenticate(&proof).await?.outcome(), outcome(401, "invalid_code"));
    let pending = backend.actor().begin_log_in(&own).await?;
    let crossed = pending.try_verify(&victim.factor().id, &code).await?;
    assert_eq!(crossed.outcome(), outcome(404, "factor_not_found"));
    let listed = thief.list_factors().await?.expect(200)?;
    assert!(!listed.text().contains(&victim.factor().id));

    // A session's id is a name and no credential, wherever it is put.
    for name in [&theirs.session_id, &victim.user_id, &theirs.session_id.replace("ses_", "spr_")] {
        let body = json!({"refresh_token": name});
        let answer = thief.actor.post("/api/v1/auth/logout", &body).await?;
        assert!([401, 422].contains(&answer.status), "{name}");
        thief.actor.revoke(&client, name).await?.expect(200)?;
        let ask = thief.actor.ask("POST", "/api/v1/auth/logout").header("origin", APP_ORIGIN);
        let answer = ask.header("cookie", &format!("__Host-sallyport_refresh={name}")).send().await?;
        assert_eq!(answer.outcome(), outcome(401, "invalid_refresh_token"));
    }
    // Every byte of a refresh token is guarded.
    let forged = (0..theirs.refresh_token.len()).map(|index| {
        let mut bytes = theirs.refresh_token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let (forged, actor) = (String::from_utf8(bytes).unwrap(), backend.actor());
        async move { actor.post("/api/v1/auth/logout", &json!({"refresh_token": forged})).await }
    });
    for answer in try_join_all(forged).await? {
        assert!([401, 422].contains(&answer.status), "{}", answer.text());
    }
    thief.log_out("global").await?.expect(204)?;
    assert!(theirs.is_alive().await?);
    Ok(())
}

#[tokio::test]
async fn f53_a_revocation_that_failed_says_so_and_one_that_succeeded_holds_cve_2020_15223() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    for kind in ["refuse", "error_500", "throttle"] {
        backend.fault(json!({"kind": kind, "table": "sessions", "count": 1000})).await?;
        let revoked = session.actor.revoke(&client, &session.refresh_token).await?;
        assert_eq!(revoked.outcome(), outcome(503, "dependency_unavailable"), "{kind}");
        assert!(revoked.has_header("retry-after"));
        let logged_out = session.log_out("local").await?;
        assert_eq!(logged_out.outcome(), outcome(503, "dependency_unavailable"), "{kind}");
        backend.heal().await?;
        assert!(session.is_alive().await?, "{kind}: nothing was promised");
    }
    session.actor.revoke(&client, &session.refresh_token).await?.expect(200)?;
    assert!(!session.is_alive().await?, "on the very next call");
    Ok(())
}

#[tokio::test]
async fn f54_no_token_survives_what_ends_the_sessions_cve_2023_22492() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    for what in ["disable", "password", "revoke"] {
        let mut account = backend.account().await?;
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(backend.actor().log_in(&account).await?);
        }
        match what {
            "disable" => backend.disable(&account).await?,
            "password" => backend.set_password(&mut account, "another password").await?,
            _ => backend.revoke_sessions(&account).await?,
        }
        for session in &sessions {
            let refreshed = session.try_refresh().await?;
            assert_eq!(refreshed.outcome(), outcome(401, "invalid_refresh_token"), "{what}");
            assert_eq!(session.list_factors().await?.outcome(), outcome(401, "invalid_token"), "{what}");
            let introspected = backend.actor().introspect(&client, &session.access_token).await?;
            assert_eq!(introspected.json(), json!({"active": false}), "{what}");
        }
        // Those who verify offline accept it until it expires: the documented bound.
        let left = sessions[0].claims()["exp"].as_u64().unwrap() - backend.now();
        assert!(left <= 300, "{left}");
        if what == "disable" {
            backend.enable(&account).await?;
            let back = sessions[0].try_refresh().await?;
            assert_eq!(back.outcome(), outcome(401, "invalid_refresh_token"), "enabling revives nothing");
        }
        backend.actor().log_in(&account).await?;
    }
    Ok(())
}

#[tokio::test]
async fn f55_what_changes_credentials_needs_the_credentials_again_cve_2025_62425() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    let enrolment = session.enrol_totp("Phone").await?;
    backend.advance(601).await?;
    session.refresh().await?;
    let code = enrolment.factor.code_at(backend.now());
    for answer in [
        session.try_enrol_totp("Tablet").await?,
        session.try_confirm(&enrolment.factor.id, &code).await?,
        session.remove_factor(&enrolment.factor.id).await?,
        session.new_recovery_codes().await?,
        session.list_factors().await?,
    ] {
        assert_eq!(answer.outcome(), outcome(401, "reauthentication_required"));
    }
    // A token from before a step-up has not stepped up.
    let before = session.clone();
    session.reauthenticate(&json!({"password": account.password})).await?;
    session.list_factors().await?.expect(200)?;
    assert_eq!(before.list_factors().await?.outcome(), outcome(401, "reauthentication_required"));
    Ok(())
}

#[tokio::test]
async fn f56_two_users_in_one_client_never_cross_cve_2025_12390() -> Result<()> {
    let backend = Backend::start().await?;
    let (one, two) = (backend.account().await?, backend.account().await?);
    for client in [backend.actor(), backend.browser(APP_ORIGIN)] {
        let first = client.log_in(&one).await?;
        let second = client.log_in(&two).await?;
        let third = client.log_in(&one).await?;
        assert_eq!(first.claims()["sub"], one.user_id);
        assert_eq!(second.claims()["sub"], two.user_id);
        assert_eq!(third.claims()["sub"], one.user_id);
        let ids = [&first.session_id, &second.session_id, &third.session_id];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        let mut last = third.clone();
        last.refresh().await?;
        assert_eq!(last.claims()["sub"], one.user_id);
        assert_eq!(last.session_id, third.session_id);
    }
    Ok(())
}

#[tokio::test]
async fn f57_an_unknown_prefix_reaches_no_handler_cve_2026_123797() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    backend.forget_calls().await?;
    for prefix in ["/tenant", "/public", "/appid-x", "/%2e", "/;", "//", "/local", "/prod"] {
        for path in ["/api/v1/mfa/factors", "/oauth/introspect", "/api/v1/auth/logout"] {
            let request = format!(
                "POST {prefix}{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n",
                backend.host(),
                session.access_token
            );
            let answer = raw(backend.host(), request.as_bytes()).await?;
            assert_eq!(answer.outcome(), outcome(404, "not_found"), "{prefix}{path}");
        }
    }
    assert!(backend.calls().await?.is_empty(), "no handler has run");
    Ok(())
}
