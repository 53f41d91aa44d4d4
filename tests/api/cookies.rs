//! Delivery by cookie.

use crate::prelude::*;

const REFRESH: &str = "__Host-sallyport_refresh";
const DEVICE: &str = "__Host-sallyport_device";
const FORBIDDEN: (u16, &str) = (403, "origin_not_allowed");

fn refused(answer: &Answer) -> bool {
    answer.outcome() == outcome(FORBIDDEN.0, FORBIDDEN.1) && answer.cookies().is_empty()
}

#[tokio::test]
async fn tokens_that_scripts_need_not_see_come_as_cookies_that_scripts_cannot_see() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let browser = backend.browser(APP_ORIGIN);
    let answer = browser.try_log_in(&account.email, &account.password).await?.expect(200)?;
    let names: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        names,
        ["access_token", "expires_in", "refresh_expires_in", "session_id", "status", "token_type"]
    );
    let cookies = answer.cookies();
    assert_eq!(cookies.len(), 2);
    for ((name, value, attributes), (expected, prefix, age)) in
        cookies.iter().zip([(REFRESH, "spr_", 14 * 86_400), (DEVICE, "spd_", 180 * 86_400)])
    {
        assert_eq!(name, expected);
        assert!(value.starts_with(prefix));
        let mut attributes: Vec<_> = attributes.split("; ").collect();
        attributes.sort_unstable();
        let given: u64 = attributes.remove(1).trim_start_matches("Max-Age=").parse()?;
        assert!((age - 10..=age).contains(&given), "{name} {given}");
        assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_browser_refreshes_reauthenticates_and_logs_out_by_its_cookies() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let browser = backend.browser(APP_ORIGIN);
    let mut session = browser.log_in(&account).await?;
    let first = browser.cookie(REFRESH).unwrap();
    let answer = session.try_refresh().await?.expect(200)?;
    assert_eq!((answer.field("refresh_token"), answer.field("device_token")), (Value::Null, Value::Null));
    let second = browser.cookie(REFRESH).unwrap();
    assert_ne!(first, second);
    session = Session::of(&browser, &answer)?;
    session.reauthenticate(&json!({"password": account.password})).await?;
    assert!(session.refresh_token.is_empty());
    let third = browser.cookie(REFRESH).unwrap();
    assert_ne!(second, third);

    let answer = browser.ask("POST", "/api/v1/auth/logout").send().await?.expect(204)?;
    let (name, value, attributes) = answer.cookies().remove(0);
    assert_eq!((name.as_str(), value.as_str()), (REFRESH, ""));
    for attribute in ["Max-Age=0", "Secure", "HttpOnly", "Path=/", "SameSite=Strict"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    assert!(browser.cookie(DEVICE).is_some(), "the device stays known");
    let gone = backend.actor().try_refresh(&third).await?;
    assert_eq!(gone.outcome(), outcome(401, "invalid_refresh_token"));
    Ok(())
}

/// A script that has the access token, and even one that has the password, does not get what `HttpOnly` keeps from it.
#[tokio::test]
async fn a_session_of_cookies_answers_by_cookie_however_it_is_asked() -> Result<()> {
    let backend = Backend::start().await?;
    let browser = backend.browser(APP_ORIGIN);
    let account = backend.account_with_totp().await?;
    let pending = browser.begin_log_in(&account).await?;
    let session = pending.verify_with_recovery_code(&account.recovery_codes[0]).await?;
    let script = backend.actor();
    let by_cookie = |answer: &Answer| {
        let names: Vec<_> = answer.cookies().into_iter().map(|(name, ..)| name).collect();
        answer.field("refresh_token").is_null()
            && answer.field("device_token").is_null()
            && !answer.text().contains("spr_")
            && names.first().is_some_and(|name| name == REFRESH)
    };
    let code = backend.code(account.factor()).await?;
    let mut access_token = session.access_token;
    for proof in [
        json!({"password": account.password}),
        json!({"factor_id": account.factor().id, "code": code}),
        json!({"factor_id": "recovery", "code": account.recovery_codes[1]}),
    ] {
        let ask = script.ask("POST", "/api/v1/auth/reauthenticate").bearer(&access_token).json(&proof);
        let answer = ask.send().await?.expect(200)?;
        assert!(by_cookie(&answer), "{proof}: {}", answer.text());
        access_token = answer.string("access_token")?;
        let (_, refresh_token, _) = answer.cookies().remove(0);
        browser.set_cookie(REFRESH, &refresh_token);
    }
    // Not even to whoever has the token already: twice the same token within the grace, and its successor.
    let refresh_token = browser.cookie(REFRESH).unwrap();
    for again in ["rotated", "repeated"] {
        let answer = script.try_refresh(&refresh_token).await?.expect(200)?;
        assert!(by_cookie(&answer), "{again}: {}", answer.text());
    }
    Ok(())
}

/// The cookie of one session does not decide of another.
#[tokio::test]
async fn a_session_in_the_body_stays_there_beside_the_cookie_of_another() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let browser = backend.browser(APP_ORIGIN);
    browser.log_in(&account).await?;
    let in_jar = browser.cookie(REFRESH).unwrap();
    let other = backend.actor().log_in(&account).await?;
    let ask = browser.ask("POST", "/api/v1/auth/reauthenticate").bearer(&other.access_token);
    let answer = ask.json(&json!({"password": account.password})).send().await?.expect(200)?;
    assert!(answer.field("refresh_token").is_string() && answer.cookies().is_empty(), "{}", answer.text());
    assert_eq!(browser.cookie(REFRESH).unwrap(), in_jar);
    Ok(())
}

/// Whether the answer takes the refresh cookie back, and nothing else.
fn takes_back(answer: &Answer) -> bool {
    let cookies = answer.cookies();
    cookies.len() == 1
        && cookies.iter().all(|(name, value, attributes)| {
            name == REFRESH
                && value.is_empty()
                && attributes.contains("Max-Age=0")
                && attributes.contains("Path=/")
        })
}

#[tokio::test]
async fn a_dead_refresh_cookie_is_taken_back_by_whoever_refuses_it() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let spent = {
        let browser = backend.browser(APP_ORIGIN);
        let session = browser.log_in(&account).await?;
        let spent = browser.cookie(REFRESH).unwrap();
        session.try_refresh().await?.expect(200)?;
        backend.advance(60).await?;
        spent
    };
    let other = Backend::start().await?;
    let foreign = other.browser(APP_ORIGIN);
    foreign.log_in(&other.account().await?).await?;
    let foreign = foreign.cookie(REFRESH).unwrap();
    for (what, dead) in [
        ("empty", String::new()),
        ("nonsense", "undefined".to_owned()),
        ("of another deployment", foreign.clone()),
        ("damaged", format!("{spent}AA")),
        ("twice", format!("{spent}; {REFRESH}={foreign}")),
        ("used again", spent.clone()),
        ("of an ended session", spent.clone()),
    ] {
        let cookie = format!("{REFRESH}={dead}");
        let ask = |path: &str| backend.actor().ask("POST", path).header("cookie", &cookie);
        // Not to a page that may not use it: that page could log people out.
        for path in ["/api/v1/auth/refresh", "/api/v1/auth/logout"] {
            let elsewhere = ask(path).header("origin", "https://evil.example.com").send().await?;
            assert!(refused(&elsewhere), "{what} {path}");
        }
        let answer = ask("/api/v1/auth/refresh").header("origin", APP_ORIGIN).send().await?.expect(401)?;
        assert!(takes_back(&answer), "refresh, {what}: {:?}", answer.cookies());
        let answer = ask("/api/v1/auth/logout").header("origin", APP_ORIGIN).send().await?;
        assert!([204, 401].contains(&answer.status), "logout, {what}: {}", answer.status);
        assert!(takes_back(&answer), "logout, {what}: {:?}", answer.cookies());
    }
    Ok(())
}

#[tokio::test]
async fn a_cookie_goes_with_its_session_and_stays_with_another() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let browser = backend.browser(APP_ORIGIN);
    let ended = browser.log_in(&account).await?;
    let other = backend.browser(APP_ORIGIN);
    let live = other.log_in(&account).await?;
    live.log_out("others").await?.expect(204)?;
    let proof = json!({"password": account.password});
    let ask = |cookie: Option<String>| {
        let ask = backend.actor().ask("POST", "/api/v1/auth/reauthenticate").header("origin", APP_ORIGIN);
        let ask = ask.header("cookie", &format!("{REFRESH}={}", cookie.unwrap_or_default()));
        ask.bearer(&ended.access_token).json(&proof)
    };
    let answer = ask(browser.cookie(REFRESH)).send().await?.expect(401)?;
    assert!(takes_back(&answer), "{:?}", answer.cookies());
    let answer = ask(other.cookie(REFRESH)).send().await?.expect(401)?;
    assert!(answer.cookies().is_empty(), "the cookie of the live session stays");
    // A refusal that is not about the cookie leaves it alone.
    let body = json!({"refresh_token": "spr_AAAA"});
    for path in ["/api/v1/auth/refresh", "/api/v1/auth/logout"] {
        let answer = other.post(path, &body).await?.expect(401)?;
        assert!(answer.cookies().is_empty(), "{path}");
    }
    backend.fault(json!({"kind": "refuse"})).await?;
    let answer = other.ask("POST", "/api/v1/auth/refresh").send().await?.expect(503)?;
    assert!(answer.cookies().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_text_that_is_no_device_token_is_ignored_in_the_body_as_in_the_cookie() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    for text in ["", "undefined", "null", "spd_", "spd_AAAA", "spr_AAAA", "\u{1f512}", &"x".repeat(5000)] {
        let body = json!({"email": account.email, "password": account.password, "device_token": text});
        let answer = backend.actor().post("/api/v1/auth/login", &body).await?.expect(200)?;
        let body = json!({"refresh_token": answer.field("refresh_token"), "device_token": text});
        backend.actor().post("/api/v1/auth/refresh", &body).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_device_cookie_makes_the_browser_a_known_device() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let browser = backend.browser(APP_ORIGIN);
    browser.log_in(&account).await?;
    lock(&backend, &account.email).await?;
    backend.browser(APP_ORIGIN).try_log_in(&account.email, &account.password).await?.expect(429)?;
    browser.log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn a_second_factor_delivers_as_the_login_asked() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let browser = backend.browser(APP_ORIGIN);
    let pending = browser.begin_log_in(&account).await?;
    let body =
        json!({"mfa_token": pending.mfa_token, "factor_id": "recovery", "code": account.recovery_codes[0]});
    for origin in ["https://evil.example.com", "null"] {
        let elsewhere = backend.browser(origin).post("/api/v1/auth/mfa/verify", &body).await?;
        assert!(refused(&elsewhere), "{origin}: {}", elsewhere.text());
    }
    let nowhere = backend.actor().post("/api/v1/auth/mfa/verify", &body).await?;
    assert!(refused(&nowhere));
    let answer = browser.post("/api/v1/auth/mfa/verify", &body).await?.expect(200)?;
    assert_eq!((answer.field("refresh_token"), answer.field("device_token")), (Value::Null, Value::Null));
    let names: Vec<_> = answer.cookies().into_iter().map(|(name, _, _)| name).collect();
    assert_eq!(names, [REFRESH, DEVICE]);
    Ok(())
}

#[tokio::test]
async fn a_request_that_uses_a_cookie_needs_an_allowed_origin() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let browser = backend.browser(APP_ORIGIN);
    let session = browser.log_in(&account).await?;
    let cookie = format!("{REFRESH}={}", browser.cookie(REFRESH).unwrap());
    let login = json!({"email": account.email, "password": account.password, "token_delivery": "cookie"});
    for origin in [
        None,
        Some("null"),
        Some("https://evil.example.com"),
        Some("http://app.example.com"),
        Some("https://app.example.com:8443"),
        Some("https://app.example.com.evil.example"),
        Some("https://app.example.com/"),
        Some("https://APP.example.com"),
    ] {
        let ask = |path: &str| {
            let ask = backend.actor().ask("POST", path).header("cookie", &cookie);
            if let Some(origin) = origin { ask.header("origin", origin) } else { ask }
        };
        let proof = json!({"password": account.password});
        for (what, ask) in [
            ("login", ask("/api/v1/auth/login").json(&login)),
            ("refresh", ask("/api/v1/auth/refresh")),
            ("logout", ask("/api/v1/auth/logout").json(&json!({"scope": "global"}))),
            ("reauthenticate", ask("/api/v1/auth/reauthenticate").bearer(&session.access_token).json(&proof)),
        ] {
            let answer = ask.send().await?;
            assert!(refused(&answer), "{what} from {origin:?}: {} {}", answer.status, answer.text());
        }
    }
    session.try_refresh().await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_token_in_the_body_goes_before_the_cookie() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let browser = backend.browser(APP_ORIGIN);
    browser.log_in(&account).await?;
    let in_jar = browser.cookie(REFRESH).unwrap();
    let other = backend.actor().log_in(&account).await?;
    let answer = browser.try_refresh(&other.refresh_token).await?.expect(200)?;
    assert_eq!(answer.field("session_id"), other.session_id);
    assert!(answer.field("refresh_token").is_string() && answer.cookies().is_empty());
    assert_eq!(browser.cookie(REFRESH).unwrap(), in_jar);
    // Not looked at: from a foreign page the same request with a body passes, since it uses no cookie.
    let foreign = backend.browser("https://evil.example.com");
    foreign.set_cookie(REFRESH, &in_jar);
    foreign.try_refresh(answer.field("refresh_token").as_str().unwrap()).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn cookies_on_several_lines_are_read_like_those_on_one() -> Result<()> {
    let backend = Backend::start().await?;
    let browser = backend.browser(APP_ORIGIN);
    browser.log_in(&backend.account().await?).await?;
    let ask = backend.actor().ask("POST", "/api/v1/auth/refresh").header("origin", APP_ORIGIN);
    let ask = ask.header("cookie", "theme=dark; name=J%C3%BCrgen");
    let ask = ask.header("cookie", &format!("{REFRESH}={}", browser.cookie(REFRESH).unwrap()));
    let answer = ask.send().await?.expect(200)?;
    assert_eq!(answer.cookies()[0].0, REFRESH);
    Ok(())
}

#[tokio::test]
async fn two_cookies_of_one_name_are_none() -> Result<()> {
    let backend = Backend::start().await?;
    let browser = backend.browser(APP_ORIGIN);
    browser.log_in(&backend.account().await?).await?;
    let mine = browser.cookie(REFRESH).unwrap();
    for cookie in
        [format!("{REFRESH}={mine}; {REFRESH}=spr_AAAA"), format!("{REFRESH}=spr_AAAA; {REFRESH}={mine}")]
    {
        let ask = backend.actor().ask("POST", "/api/v1/auth/refresh");
        let answer = ask.header("origin", APP_ORIGIN).header("cookie", &cookie).send().await?;
        assert_eq!(answer.outcome(), outcome(401, "invalid_refresh_token"));
    }
    Ok(())
}

#[tokio::test]
async fn a_login_by_body_sets_no_cookie() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    for delivery in [None, Some("body")] {
        let mut body = json!({"email": account.email, "password": account.password});
        if let Some(delivery) = delivery {
            body["token_delivery"] = json!(delivery);
        }
        let answer = backend.actor().post("/api/v1/auth/login", &body).await?.expect(200)?;
        assert!(answer.cookies().is_empty());
    }
    Ok(())
}
