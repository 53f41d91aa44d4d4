//! Naughty strings in every place where a caller may put a string: no 5xx, no value repeated.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::prelude::*;

const AT_ONCE: usize = 6;

/// The Big List of Naughty Strings (MIT).
fn strings() -> Result<Vec<String>> {
    let strings: Vec<String> =
        serde_json::from_str(include_str!("../../shared/core/testdata/blns.json")).context("blns.json")?;
    assert_eq!(strings.len(), 515);
    Ok(strings)
}

async fn backend() -> Result<(Backend, Session)> {
    let variables = [("SALLYPORT_ADDRESS_LIMIT", "100000"), ("SALLYPORT_PASSWORD_MEMORY_KIB", "7168")];
    let backend = Backend::with(&variables).await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    Ok((backend, session))
}

fn check(what: &str, string: &str, answer: &Answer) {
    assert!(answer.status < 500, "{what} {string:?}: {} {}", answer.status, answer.text());
    if answer.status >= 400 {
        assert!(!answer.code().is_empty(), "{what} {string:?}: {}", answer.text());
        let echoed = string.chars().count() >= 12 && answer.text().contains(string);
        assert!(!echoed, "{what} repeats {string:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn naughty_strings_in_every_field_of_every_body_break_nothing() -> Result<()> {
    let (backend, session) = backend().await?;
    let strings = strings()?;
    let mut cases = Vec::new();
    for route in &JSON_ROUTES {
        for (field, _, _) in route.fields {
            for (number, string) in strings.iter().enumerate() {
                let mut body = route.body();
                body[*field] = json!(string);
                if *field == "password" && route.path.ends_with("login") {
                    // Each to an account of its own: a locked one would not look at the password.
                    body["email"] = json!(format!("nobody{number}@example.com"));
                }
                cases.push((route, *field, string, body.to_string()));
            }
        }
    }
    let total = cases.len();
    assert!(total > 8_000, "{total}");
    let session = &session;
    stream::iter(cases)
        .map(|(route, field, string, body)| async move {
            let mut answer = route.post(session, "application/json", body.as_bytes()).await?;
            // A machine that is busy with other things may be too slow for the database's timeouts, as the answer says;
            // a string that breaks something breaks it again.
            for _ in 0..2 {
                if answer.code() == "dependency_unavailable" {
                    answer = route.post(session, "application/json", body.as_bytes()).await?;
                }
            }
            check(&format!("{} {field}", route.path), string, &answer);
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    backend.actor().get("/health/ready").await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn naughty_strings_as_names_of_fields_in_forms_paths_and_headers_break_nothing() -> Result<()> {
    let (backend, session) = backend().await?;
    let client = backend.client().await?;
    let (backend, session, client) = (&backend, &session, &client);
    stream::iter(strings()?)
        .map(|string| async move {
            let text = string.as_str();
            let actor = &session.actor;
            let mut body = json!({"email": "nobody@example.com", "password": "x"});
            body[text] = json!(1);
            let named = actor.post("/api/v1/auth/login", &body).await?;
            assert!(named.status < 500, "a name {text:?}: {}", named.text());

            for path in ["/oauth/introspect", "/oauth/revoke"] {
                let ask = || actor.ask("POST", path);
                check("token", text, &ask().basic(client).form(&[("token", text)]).send().await?);
                let hint = [("token", "x"), ("token_type_hint", text), (text, text)];
                check("hint", text, &ask().basic(client).form(&hint).send().await?);
                let posted = [("token", "x"), ("client_id", text), ("client_secret", text)];
                check("client", text, &ask().form(&posted).send().await?);
                let named = ServiceClient { id: text.to_owned(), secret: text.to_owned() };
                check("basic", text, &ask().basic(&named).form(&[("token", "x")]).send().await?);
                let raw = ask().basic(client).body("application/x-www-form-urlencoded", text).send().await?;
                check("form", text, &raw);
            }
            let mut url = reqwest::Url::parse(backend.url())?;
            url.path_segments_mut().unwrap().extend(["api", "v1", "mfa", "factors", text]);
            check("path", text, &session.ask("DELETE", url.path()).send().await?);
            url.set_path("/health/live");
            url.query_pairs_mut().append_pair(text, text);
            let query = url.query().unwrap_or_default();
            check("query", text, &actor.get(&format!("/health/live?{query}")).await?);

            // What no header can hold is not sent.
            if reqwest::header::HeaderValue::from_str(text).is_ok() {
                for name in [
                    "authorization",
                    "user-agent",
                    "origin",
                    "cookie",
                    "x-forwarded-for",
                    "accept",
                    "x-amzn-trace-id",
                ] {
                    let ask = actor.ask("GET", "/api/v1/mfa/factors").header(name, text);
                    check(name, text, &ask.send().await?);
                }
                let ask = actor
                    .ask("GET", "/api/v1/mfa/factors")
                    .header("authorization", &format!("Bearer {text}"));
                check("bearer", text, &ask.send().await?);
                let ask =
                    actor.ask("POST", "/oauth/revoke").header("authorization", &format!("Basic {text}"));
                check("basic", text, &ask.form(&[("token", "x")]).send().await?);
                let ask = actor.ask("POST", "/api/v1/auth/login").body(text, "{}");
                check("content type", text, &ask.send().await?);
                let cookie = format!("__Host-sallyport_refresh={text}");
                let ask = actor.ask("POST", "/api/v1/auth/refresh").header("cookie", &cookie);
                check("cookie", text, &ask.header("origin", APP_ORIGIN).send().await?);
            }
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    backend.actor().get("/health/ready").await?.expect(200)?;
    Ok(())
}
