//! `POST /oauth/introspect` (RFC 7662) and `POST /oauth/revoke` (RFC 7009)

use crate::prelude::*;

use base64::{Engine as _, engine::general_purpose::STANDARD};

fn basic(id: &str, secret: &str) -> String {
    STANDARD.encode(format!("{id}:{secret}"))
}

/// Every character but letters and digits encoded, as oauth4webapi does.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// RFC 6749 2.3.1, 3.2 and 3.2.1; RFC 7617 2.
#[tokio::test]
async fn a_client_authenticates_in_every_spelling_that_the_protocol_has() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let other = backend.client().await?;
    let (id, secret) = (client.id.as_str(), client.secret.as_str());
    let every_byte: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let plain = basic(id, secret);
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let ask = |header: String, form: &[(&str, &str)]| {
            backend.actor().ask("POST", path).header("authorization", &header).form(form)
        };
        let token = ("token", "x");
        for (what, header, further) in [
            ("plain", format!("Basic {plain}"), vec![]),
            ("form-encoded", format!("Basic {}", basic(&encoded(id), &encoded(secret))), vec![]),
            ("every byte encoded", format!("Basic {}", basic(id, &every_byte)), vec![]),
            ("a scheme in lower case", format!("basic {plain}"), vec![]),
            ("a scheme in capitals", format!("BASIC {plain}"), vec![]),
            ("two spaces", format!("Basic  {plain}"), vec![]),
            ("its own id beside", format!("Basic {plain}"), vec![("client_id", id)]),
            ("an empty id beside", format!("Basic {plain}"), vec![("client_id", "")]),
            (
                "an empty secret beside",
                format!("Basic {plain}"),
                vec![("client_id", id), ("client_secret", "")],
            ),
            ("an empty hint", format!("Basic {plain}"), vec![("token_type_hint", "")]),
            ("a token and an empty one", format!("Basic {plain}"), vec![("token", "")]),
            (
                "a foreign parameter twice",
                format!("Basic {plain}"),
                vec![("resource", "a"), ("resource", "b")],
            ),
        ] {
            let form = [vec![token], further].concat();
            let answer = ask(header, &form).send().await?;
            assert_eq!(answer.status, 200, "{path}, {what}: {}", answer.text());
        }
        for (what, header, further, expected) in [
            ("another id", &plain, vec![("client_id", other.id.as_str())], (400, "invalid_request")),
            (
                "the id encoded twice",
                &plain,
                vec![("client_id", &*encoded(&encoded(id)))],
                (400, "invalid_request"),
            ),
            ("the secret again", &plain, vec![("client_secret", secret)], (400, "invalid_request")),
            (
                "a second way",
                &plain,
                vec![("client_id", id), ("client_secret", secret)],
                (400, "invalid_request"),
            ),
            ("another's secret", &basic(id, &other.secret), vec![], (401, "invalid_client")),
            ("encoded twice", &basic(id, &encoded(&encoded(secret))), vec![], (401, "invalid_client")),
            ("half an escape", &basic(id, &format!("{secret}%")), vec![], (401, "invalid_client")),
            ("no UTF-8", &basic(id, &format!("{secret}%ff")), vec![], (401, "invalid_client")),
            ("a space", &basic(id, &format!("{secret}+")), vec![], (401, "invalid_client")),
            ("capitals", &basic(&id.to_uppercase(), secret), vec![], (401, "invalid_client")),
        ] {
            let form = [vec![token], further].concat();
            let answer = ask(format!("Basic {header}"), &form).send().await?;
            assert_eq!(answer.outcome(), outcome(expected.0, expected.1), "{path}, {what}");
        }
        let posted = [("client_id", id), ("client_secret", secret)];
        for (form, expected) in [
            (vec![token, ("token_type_hint", ""), ("client_assertion", "")], 200),
            (vec![token, ("client_id", "")], 200),
            (vec![("token", "")], 400),
            (vec![token, ("client_secret", secret)], 400),
        ] {
            let form = [form, posted.to_vec()].concat();
            let answer = backend.actor().ask("POST", path).form(&form).send().await?;
            assert_eq!(answer.status, expected, "{path} {form:?}: {}", answer.text());
        }
    }
    Ok(())
}

/// RFC 6749 3.2: the parameters are those that the OpenAPI document names, so that a new one is tried too.
#[tokio::test]
async fn no_parameter_may_stand_twice() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let document = backend.actor().get("/openapi.json").await?.expect(200)?.json();
    let values = json!({
        "token": "x", "token_type_hint": "refresh_token", "client_id": client.id, "client_secret": client.secret,
    });
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let form =
            &document["paths"][path]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"];
        let name =
            form["schema"]["$ref"].as_str().context("no schema")?.rsplit('/').next().unwrap_or_default();
        let parameters =
            document["components"]["schemas"][name]["properties"].as_object().context("no form")?;
        let once: Vec<_> = parameters
            .keys()
            .map(|name| Ok((name.as_str(), values[name].as_str().with_context(|| name.clone())?)))
            .collect::<Result<_>>()?;
        let ask = |form: &[(&str, &str)]| backend.actor().ask("POST", path).form(form).send();
        ask(&once).await?.expect(200)?;
        for (name, value) in &once {
            for again in [*value, "another"] {
                let form = [once.clone(), vec![(*name, again)]].concat();
                let answer = ask(&form).await?;
                assert_eq!(answer.outcome(), outcome(400, "invalid_request"), "{path}: {name} {again}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_access_token_is_introspected_with_its_claims() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let answer = backend.actor().introspect(&client, &session.access_token).await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let mut introspected = answer.json();
    assert_eq!(introspected["active"], true);
    assert_eq!(introspected["token_type"], "Bearer");
    for added in ["active", "token_type"] {
        introspected.as_object_mut().unwrap().remove(added);
    }
    assert_eq!(introspected, session.claims(), "the same claims, and no other (such as a username)");
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_is_introspected_while_it_is_the_current_one() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let service = backend.actor();
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let spent = session.refresh_token.clone();
    let answer = service.introspect(&client, &spent).await?.expect(200)?.json();
    assert_eq!((&answer["active"], &answer["token_type"]), (&json!(true), &json!("refresh_token")));
    assert_eq!(answer["sid"], session.session_id);
    let lifetime = answer["exp"].as_u64().unwrap() - backend.now();
    assert!((14 * 86_400 - 10..=14 * 86_400).contains(&lifetime), "{lifetime}");
    session.refresh().await?;
    assert_eq!(service.introspect(&client, &spent).await?.json(), json!({"active": false}));
    assert_eq!(service.introspect(&client, &session.refresh_token).await?.field("active"), true);
    Ok(())
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_it_is_inactive_and_no_more_is_said() -> Result<()> {
    let backend = Backend::start().await?;
    let other = Backend::start().await?;
    let client = backend.client().await?;
    let service = backend.actor();
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let ended = backend.actor().log_in(&backend.account().await?).await?;
    ended.log_out("local").await?.expect(204)?;
    let foreign = other.actor().log_in(&other.account().await?).await?;
    let known = backend.actor();
    let expired = known.log_in(&backend.account().await?).await?;
    backend.advance(301).await?;
    for (what, token) in [
        ("nonsense", "nonsense"),
        ("an ended session's access token", &ended.access_token),
        ("an ended session's refresh token", &ended.refresh_token),
        ("a foreign access token", &foreign.access_token),
        ("a foreign refresh token", &foreign.refresh_token),
        ("an expired access token", &expired.access_token),
        ("an MFA token", &pending.mfa_token),
        ("a device token", &known.device_token().unwrap()),
        ("a long text", &"x".repeat(10_000)),
        ("text beyond ASCII", "\u{1f512}\u{0}"),
    ] {
        let answer = service.introspect(&client, token).await?;
        assert_eq!((answer.status, answer.json()), (200, json!({"active": false})), "{what}");
    }
    assert_eq!(service.introspect(&client, &expired.refresh_token).await?.field("active"), true);
    Ok(())
}

#[tokio::test]
async fn introspection_knows_at_once_when_a_session_has_ended() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let service = backend.actor();
    for end in ["logout", "revoke", "disable", "password", "operator"] {
        let mut account = backend.account().await?;
        let session = backend.actor().log_in(&account).await?;
        assert_eq!(service.introspect(&client, &session.access_token).await?.field("active"), true);
        match end {
            "logout" => drop(session.log_out("local").await?.expect(204)?),
            "revoke" => drop(service.revoke(&client, &session.refresh_token).await?.expect(200)?),
            "disable" => backend.disable(&account).await?,
            "password" => backend.set_password(&mut account, "another password").await?,
            _ => backend.revoke_sessions(&account).await?,
        }
        let after = service.introspect(&client, &session.access_token).await?;
        assert_eq!(after.json(), json!({"active": false}), "{end}");
        assert_eq!(session.try_refresh().await?.outcome(), outcome(401, "invalid_refresh_token"), "{end}");
    }
    Ok(())
}

#[tokio::test]
async fn introspection_knows_when_a_session_s_time_is_over() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let service = backend.actor();
    let account = backend.account().await?;
    let idle = backend.actor().log_in(&account).await?;
    let mut used = backend.actor().log_in(&account).await?;
    for _ in 0..6 {
        backend.advance_days(13).await?;
        used.refresh().await?;
    }
    assert_eq!(service.introspect(&client, &idle.refresh_token).await?.json(), json!({"active": false}));
    backend.advance_days(11).await?;
    used.refresh().await?;
    // Idle for a day only, and the ninety days are over.
    backend.advance_days(1).await?;
    assert_eq!(service.introspect(&client, &used.refresh_token).await?.json(), json!({"active": false}));
    Ok(())
}

#[tokio::test]
async fn a_revocation_ends_the_session_of_either_token_and_is_silent_about_others() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let service = backend.actor();
    let account = backend.account().await?;
    let mut by_access = backend.actor().log_in(&account).await?;
    let mut by_refresh = backend.actor().log_in(&account).await?;
    let mut left = backend.actor().log_in(&account).await?;
    for token in [&by_access.access_token, &by_refresh.refresh_token, "unknown", "spr_AAAA"] {
        let answer = service.revoke(&client, token).await?.expect(200)?;
        assert!(answer.body.is_empty());
    }
    assert!(!by_access.is_alive().await?);
    assert!(!by_refresh.is_alive().await?);
    assert!(left.is_alive().await?);
    service.revoke(&client, &by_refresh.refresh_token).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_hint_is_no_more_than_a_hint() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    for hint in ["refresh_token", "access_token", "something_else"] {
        let form =
            [("token", session.access_token.as_str()), ("token_type_hint", hint), ("extra", "ignored")];
        let answer =
            backend.actor().ask("POST", "/oauth/introspect").basic(&client).form(&form).send().await?;
        assert_eq!(answer.field("active"), true, "{hint}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_authenticates_in_one_of_two_ways() -> Result<()> {
    let backend = Backend::start().await?;
    let client = backend.client().await?;
    let other = backend.client().await?;
    let wrong = ServiceClient { id: client.id.clone(), secret: other.secret.clone() };
    let unknown = ServiceClient { id: "nobody".to_owned(), ..client.clone() };
    let (id, secret) = (client.id.as_str(), client.secret.as_str());
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let ask = || backend.actor().ask("POST", path);
        let token = ("token", "x");
        ask().basic(&client).form(&[token]).send().await?.expect(200)?;
        ask().form(&[token, ("client_id", id), ("client_secret", secret)]).send().await?.expect(200)?;

        let mut refused = vec![
            ("none", ask().form(&[token])),
            ("a wrong secret", ask().basic(&wrong).form(&[token])),
            ("an unknown client", ask().basic(&unknown).form(&[token])),
            ("an id alone", ask().form(&[token, ("client_id", id)])),
            ("a wrong secret in the form", ask().form(&[token, ("client_id", id), ("client_secret", "x")])),
            ("a bearer token", ask().bearer("x").form(&[token])),
        ];
        for header in ["Basic", "Basic ", "Basic !", "Basic AA==", "Basic YQ==", "Digest a"] {
            refused.push((header, ask().header("authorization", header).form(&[token])));
        }
        for (what, ask) in refused {
            let answer = ask.send().await?;
            assert_eq!(answer.outcome(), outcome(401, "invalid_client"), "{path}: {what}");
            assert!(answer.header("www-authenticate").starts_with("Basic"), "{what}");
            assert!(answer.field("error_description").is_string(), "{what}");
            assert_eq!(answer.header("cache-control"), "no-store");
        }
        for (what, ask) in [
            ("two ways", ask().basic(&client).form(&[token, ("client_id", id), ("client_secret", secret)])),
            ("two secrets", ask().basic(&client).form(&[token, ("client_secret", secret)])),
            ("no token", ask().basic(&client).form(&[("token_type_hint", "access_token")])),
            ("an empty token", ask().basic(&client).form(&[("token", "")])),
            ("a token twice", ask().basic(&client).form(&[token, token])),
            ("an empty body", ask().basic(&client).body("application/x-www-form-urlencoded", "")),
        ] {
            let answer = ask.send().await?;
            assert_eq!(answer.outcome(), outcome(400, "invalid_request"), "{path}: {what}");
        }
        let json = ask().basic(&client).json(&json!({"token": "x"})).send().await?;
        assert_eq!(json.outcome(), outcome(415, "unsupported_media_type"));
        let large = "token=".to_owned() + &"x".repeat(16 * 1024);
        let large = ask().basic(&client).body("application/x-www-form-urlencoded", large).send().await?;
        assert_eq!(large.outcome(), outcome(413, "payload_too_large"));
    }
    Ok(())
}
