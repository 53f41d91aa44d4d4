//! D. Proxy headers, parameters, steps, kinds of tokens.

use crate::prelude::*;

const FORWARDING: [&str; 12] = [
    "x-forwarded-for",
    "x-real-ip",
    "forwarded",
    "true-client-ip",
    "cf-connecting-ip",
    "cloudfront-viewer-address",
    "x-client-ip",
    "x-cluster-client-ip",
    "fastly-client-ip",
    "x-originating-ip",
    "x-remote-addr",
    "x-envoy-external-address",
];

#[tokio::test]
async fn d35_no_header_changes_what_the_service_says_it_is_cve_2023_49097() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let body = json!({"email": account.email, "password": account.password});
    for (name, value) in [
        ("x-forwarded-host", "evil.example"),
        ("x-host", "evil.example"),
        ("x-forwarded-server", "evil.example"),
        ("x-original-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=gopher"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-port", "666"),
        ("x-forwarded-prefix", "/evil.example"),
    ] {
        let discovery = backend
            .actor()
            .ask("GET", "/.well-known/openid-configuration")
            .header(name, value)
            .send()
            .await?;
        assert_eq!(discovery.field("issuer"), backend.issuer(), "{name}");
        for word in ["evil.example", "gopher", "666"] {
            assert!(!discovery.text().contains(word), "{name}: {}", discovery.text());
        }
        let actor = backend.actor();
        let login = actor
            .ask("POST", "/api/v1/auth/login")
            .header(name, value)
            .json(&body)
            .send()
            .await?
            .expect(200)?;
        assert_eq!(Session::of(&actor, &login)?.claims()["iss"], backend.issuer(), "{name}");
    }
    Ok(())
}

/// The local gateway lets no other `Host` in, so the functions are handed the event that a gateway would send.
#[tokio::test]
async fn no_host_changes_what_the_service_says_it_is() -> Result<()> {
    let backend = Backend::start().await?;
    for host in ["evil.example", "a:99999", "a:b", "a b", "xn--a.example", "[::1", ""] {
        for proto in ["https", "http, https", "gopher"] {
            let path = "/.well-known/openid-configuration";
            let event = json!({
                "resource": path, "path": path, "httpMethod": "GET", "body": null, "isBase64Encoded": false,
                "headers": {"Host": host, "X-Forwarded-Proto": proto},
                "multiValueHeaders": {"Host": [host, host], "X-Forwarded-Proto": [proto]},
                "requestContext": {"resourcePath": path, "httpMethod": "GET", "identity": {"sourceIp": "198.51.100.7"}},
            });
            let answer = backend.console("POST", "invoke/keys", Some(event)).await?.expect(200)?;
            let returned = answer.field("result").clone();
            assert_eq!(returned["statusCode"], 200, "{host:?} {proto:?} {returned}");
            let body: Value = serde_json::from_str(returned["body"].as_str().unwrap_or_default())?;
            assert_eq!(body["issuer"], backend.issuer(), "{host:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn d36_what_does_not_read_as_an_address_is_as_good_as_nothing_cve_2024_47070() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let long = "1.2.3.4, ".repeat(600);
    for value in ["", "garbage", "::1", "256.256.256.256", "1.2.3.4, unknown", "127.0.0.1", "'", "\"", &long]
    {
        for name in FORWARDING {
            let ask = |password: &str| {
                let body = json!({"email": account.email, "password": password});
                backend.actor().ask("POST", "/api/v1/auth/login").header(name, value).json(&body)
            };
            let wrong = ask("wrong").send().await?;
            assert_eq!(wrong.outcome(), outcome(401, "invalid_credentials"), "{name}: {value}");
            ask(&account.password).send().await?.expect(200)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn d37_a_forwarded_address_buys_no_new_budget_cve_2026_111934() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "10")]).await?;
    let actor = backend.actor();
    let mut refused = 0;
    for number in 0..40 {
        let mut ask = actor.ask("POST", "/api/v1/auth/login");
        let address = format!("203.0.113.{number}");
        for name in FORWARDING {
            let value = if name == "forwarded" { format!("for={address}") } else { address.clone() };
            ask = ask.header(name, &value);
        }
        let body = json!({"email": format!("nobody{number}@example.com"), "password": "wrong"});
        let answer = ask.json(&body).send().await?;
        refused += usize::from(answer.outcome() == outcome(429, "rate_limited"));
    }
    // A window may have ended in between; two windows hold twenty requests.
    assert!(refused >= 20, "{refused} of 40 were refused");
    let events = backend.items("Audit").await?;
    let mut attempts = events.iter().filter(|event| event["kind"] == "login.refused");
    assert!(attempts.all(|event| event["address"] == actor.address().to_string()), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn d38_many_addresses_have_one_budget_for_one_account_ghsa_c55g_q6f4_5qxr() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut checked = 0;
    for _ in 0..20 {
        let answer = backend.actor().try_log_in(&account.email, "wrong").await?;
        checked += usize::from(answer.status == 401);
    }
    assert_eq!(checked, 5);
    Ok(())
}

#[tokio::test]
async fn d40_one_address_is_one_text_cve_2023_7028() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let (email, password) = (account.email.as_str(), account.password.as_str());
    let actor = backend.actor();
    for addresses in [
        json!([email]),
        json!([email, "evil@evil.example"]),
        json!({"0": email}),
        json!(format!("{email},evil@evil.example")),
        json!(format!("{email};evil@evil.example")),
        json!(format!("{email} evil@evil.example")),
        json!(format!("{email}\nevil@evil.example")),
        json!(format!("{email}\r\nBcc: evil@evil.example")),
        json!(format!("<{email}>")),
        json!(format!("Ada <{email}>")),
        json!(format!("{email}%00")),
    ] {
        let answer =
            actor.post("/api/v1/auth/login", &json!({"email": addresses, "password": password})).await?;
        assert_eq!(answer.outcome(), outcome(422, "validation_failed"), "{addresses}");
    }
    for body in [
        format!("{{\"email\":\"evil@evil.example\",\"email\":\"{email}\",\"password\":\"{password}\"}}"),
        format!("{{\"email\":\"{email}\",\"password\":\"{password}\",\"email\":\"evil@evil.example\"}}"),
    ] {
        let answer = actor.ask("POST", "/api/v1/auth/login").body("application/json", body).send().await?;
        assert_eq!(answer.outcome(), outcome(400, "malformed_request"));
    }
    Ok(())
}

#[tokio::test]
async fn d41_no_later_step_goes_without_the_earlier_ones_cve_2026_18963() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let plain = backend.account().await?;
    let session = backend.actor().log_in(&plain).await?;
    let id = account.factor().id.as_str();
    // A code without a password.
    let tokens = ["eyJhbGciOiJub25lIn0.e30.AA".to_owned(), session.access_token.clone()];
    for token in tokens {
        let body = json!({"mfa_token": token, "factor_id": "recovery", "code": account.recovery_codes[0]});
        let answer = backend.actor().post("/api/v1/auth/mfa/verify", &body).await?;
        assert_eq!(answer.outcome(), outcome(401, "invalid_mfa_token"));
    }
    // A confirmation without an enrolment, of somebody else's factor as well.
    for id in ["fac_AAAAAAAAAAAAAAAAAAAAAA", id] {
        let answer = session.try_confirm(id, "123456").await?;
        assert_eq!(answer.outcome(), outcome(404, "factor_not_found"));
    }
    // Recovery codes without a factor, an unconfirmed factor as proof or at sign-in.
    assert_eq!(session.new_recovery_codes().await?.outcome(), outcome(404, "factor_not_found"));
    let enrolment = session.enrol_totp("Phone").await?;
    let proof = json!({"factor_id": enrolment.factor.id, "code": enrolment.factor.code_at(backend.now())});
    assert_eq!(session.try_reauthenticate(&proof).await?.outcome(), outcome(404, "factor_not_found"));
    let proof = json!({"factor_id": "recovery", "code": account.recovery_codes[0]});
    assert_eq!(session.try_reauthenticate(&proof).await?.outcome(), outcome(404, "factor_not_found"));
    // A refresh of a session that waits for its factor: there is no such token.
    let pending = backend.actor().begin_log_in(&account).await?;
    let answer = pending.actor.try_refresh(&pending.mfa_token).await?;
    assert_eq!(answer.outcome(), outcome(422, "validation_failed"));
    Ok(())
}

#[tokio::test]
async fn d42_a_token_of_one_kind_is_none_of_another_cve_2026_4325() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let session = pending.verify_with_totp(&backend, &account).await?;
    let waiting = backend.actor().begin_log_in(&account).await?;
    let device = session.actor.device_token().unwrap();
    let refresh_as_device = session.refresh_token.replace("spr_", "spd_");
    let device_as_refresh = device.replace("spd_", "spr_");
    let tokens = [
        ("access", session.access_token.clone()),
        ("refresh", session.refresh_token.clone()),
        ("device", device),
        ("mfa", waiting.mfa_token.clone()),
        ("refresh dressed as device", refresh_as_device),
        ("device dressed as refresh", device_as_refresh),
        ("client secret", client.secret.clone()),
        ("recovery code", account.recovery_codes[0].clone()),
    ];
    for (kind, token) in &tokens {
        let actor = backend.actor();
        let refused = |answer: &Answer| answer.status == 401 || answer.status == 422;
        if *kind != "access" {
            let answer = actor.ask("GET", "/api/v1/mfa/factors").bearer(token).send().await?;
            assert_eq!(answer.outcome(), outcome(401, "invalid_token"), "{kind} as access token");
        }
        if *kind != "refresh" {
            let answer = actor.try_refresh(token).await?;
            assert!(refused(&answer), "{kind} as refresh token: {}", answer.text());
            let body = json!({"refresh_token": token});
            let answer = actor.post("/api/v1/auth/logout", &body).await?;
            assert!(refused(&answer), "{kind} as refresh token at logout");
            let cookie = format!("__Host-sallyport_refresh={token}");
            let ask = actor.ask("POST", "/api/v1/auth/refresh").header("origin", APP_ORIGIN);
            let answer = ask.header("cookie", &cookie).send().await?;
            assert_eq!(answer.outcome(), outcome(401, "invalid_refresh_token"), "{kind} as refresh cookie");
        }
        if *kind != "mfa" {
            let body =
                json!({"mfa_token": token, "factor_id": "recovery", "code": account.recovery_codes[1]});
            let answer = actor.post("/api/v1/auth/mfa/verify", &body).await?;
            assert!(refused(&answer), "{kind} as MFA token: {}", answer.text());
        }
        if !["access", "refresh"].contains(kind) {
            assert_eq!(actor.introspect(&client, token).await?.json(), json!({"active": false}), "{kind}");
        }
    }
    // A refresh token dressed as a device token makes nobody known.
    lock(&backend, &account.email).await?;
    for (kind, token) in tokens.iter().filter(|(_, token)| token.starts_with("spd_")) {
        if *kind == "device" {
            continue;
        }
        let body = json!({"email": account.email, "password": account.password, "device_token": token});
        backend.actor().post("/api/v1/auth/login", &body).await?.expect(429)?;
    }
    session.try_refresh().await?.expect(200)?;
    Ok(())
}
