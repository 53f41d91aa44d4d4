//! Bodies are read strictly.

use crate::prelude::*;

const JSON: &str = "application/json";

async fn backend() -> Result<(Backend, Session)> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "100000")]).await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    Ok((backend, session))
}

/// The one field that an answer says is wrong, and how.
fn wrong(answer: &Answer) -> (String, String) {
    assert_eq!(answer.outcome(), outcome(422, "validation_failed"), "{}", answer.text());
    let errors = answer.field("errors");
    let error = &errors.as_array().unwrap()[0];
    (error["field"].as_str().unwrap().to_owned(), error["code"].as_str().unwrap().to_owned())
}

fn says(field: &str, code: &str) -> (String, String) {
    (field.to_owned(), code.to_owned())
}

#[tokio::test]
async fn unknown_fields_are_refused_and_named() -> Result<()> {
    let (_backend, session) = backend().await?;
    for route in JSON_ROUTES {
        for name in ["admin", "is_verified", "user_id", "__proto__", "Email", "scope "] {
            let mut body = route.body();
            body[name] = json!(true);
            let answer = route.post(&session, JSON, body.to_string().as_bytes()).await?;
            assert_eq!(wrong(&answer), says(name, "unknown"), "{}", route.path);
        }
    }
    Ok(())
}

#[tokio::test]
async fn missing_fields_are_refused_and_named() -> Result<()> {
    let (_backend, session) = backend().await?;
    for route in JSON_ROUTES {
        for (name, _, needed) in route.fields {
            let mut body = route.body();
            body.as_object_mut().unwrap().remove(*name);
            if *needed {
                let answer = route.post(&session, JSON, body.to_string().as_bytes()).await?;
                assert_eq!(wrong(&answer), says(name, "missing"), "{}", route.path);
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn wrong_types_are_refused_and_null_is_no_absent_field() -> Result<()> {
    let (_backend, session) = backend().await?;
    for route in JSON_ROUTES {
        for (name, example, _) in route.fields {
            for value in
                [json!(null), json!(true), json!(1), json!(1.5), json!([example]), json!({"x": example})]
            {
                let mut body = route.body();
                body[*name] = value.clone();
                let answer = route.post(&session, JSON, body.to_string().as_bytes()).await?;
                assert_eq!(wrong(&answer), says(name, "invalid"), "{} {value}", route.path);
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn values_of_the_wrong_form_are_refused_and_not_repeated() -> Result<()> {
    let (_backend, session) = backend().await?;
    for route in JSON_ROUTES {
        // A device token that is none is ignored; labels and passwords have no form.
        let free = ["label", "password", "device_token"];
        for (name, _, _) in route.fields.iter().filter(|(name, ..)| !free.contains(name)) {
            for value in
                ["", "0badc0de-marker", "\u{1f512}0badc0de-marker", "fac_", "spr_", "spr_+0badc0de-marker"]
            {
                let mut body = route.body();
                body[*name] = json!(value);
                let answer = route.post(&session, JSON, body.to_string().as_bytes()).await?;
                assert_eq!(wrong(&answer), says(name, "invalid"), "{} {value:?}", route.path);
                assert!(!answer.text().contains("0badc0de"), "{}", answer.text());
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_parsers_would_read_differently_is_malformed() -> Result<()> {
    let (_backend, session) = backend().await?;
    for route in JSON_ROUTES {
        let good = route.body().to_string();
        let inner = good.trim_start_matches('{').trim_end_matches('}');
        let mut bodies: Vec<Vec<u8>> = vec![
            b"{".to_vec(),
            b"}".to_vec(),
            b"[]".to_vec(),
            b"null".to_vec(),
            b"true".to_vec(),
            b"0".to_vec(),
            b"\"text\"".to_vec(),
            b" ".to_vec(),
            format!("[{good}]").into_bytes(),
            format!("{good}{good}").into_bytes(),
            format!("{good} x").into_bytes(),
            format!("\u{feff}{good}").into_bytes(),
            format!("{{{inner},}}").into_bytes(),
            format!("/* */{good}").into_bytes(),
            good.replace('"', "'").replace("{}", "{'}").into_bytes(),
            [good.as_bytes(), b"\0"].concat(),
            [b"\xff\xfe".as_slice(), good.as_bytes()].concat(),
            b"{\"unknown\":\"\xff\"}".to_vec(),
            "[".repeat(10_000).into_bytes(),
            "{\"a\":".repeat(3_000).into_bytes(),
        ];
        if let Some((name, example, _)) = route.fields.first() {
            bodies.push(format!("{{\"{name}\":\"{example}\",\"{name}\":\"{example}\"}}").into_bytes());
            bodies.push(
                format!("{{\"{name}\":\"{example}\",\"\\u{:04x}{}\":\"x\"}}", name.as_bytes()[0], &name[1..])
                    .into_bytes(),
            );
            bodies.push(format!("{{\"{name}\":\"\\ud800\"}}").into_bytes());
            bodies.push(format!("{{\"{name}\":\"a\nb\"}}").into_bytes());
            bodies.push([format!("{{\"{name}\":\"").as_bytes(), b"\xc3\x28\"}"].concat());
            bodies.push(format!("{{\"{name}\":NaN}}").into_bytes());
            bodies.push(format!("{{\"{name}\":1e999}}").into_bytes());
        }
        for body in bodies {
            let answer = route.post(&session, JSON, &body).await?;
            let shown = String::from_utf8_lossy(&body).chars().take(80).collect::<String>();
            // A nested unknown field is refused where it begins, before its depth is.
            let allowed = shown.starts_with("{\"a\":{") && answer.status == 422;
            assert!(
                allowed || answer.outcome() == outcome(400, "malformed_request"),
                "{} {shown:?}: {}",
                route.path,
                answer.text()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_json_in_utf_8_is_read_as_json() -> Result<()> {
    let (_backend, session) = backend().await?;
    for route in JSON_ROUTES {
        let body = route.body().to_string();
        for bad in [
            "",
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "application/json; charset=iso-8859-1",
            "application/jsonp",
            "application/json, text/plain",
            "multipart/form-data; boundary=x",
            "application/problem+json",
        ] {
            let answer = route.post(&session, bad, body.as_bytes()).await?;
            assert_eq!(answer.outcome(), outcome(415, "unsupported_media_type"), "{} {bad:?}", route.path);
        }
        for good in
            ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=\"UTF-8\""]
        {
            let answer = route.post(&session, good, body.as_bytes()).await?;
            assert_ne!(answer.status, 415, "{} {good:?}", route.path);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_body_may_be_left_out_where_every_field_is_optional() -> Result<()> {
    let (_backend, session) = backend().await?;
    for route in JSON_ROUTES {
        let ask = || {
            let ask = session.actor.ask("POST", route.path);
            if route.bearer { ask.bearer(&session.access_token) } else { ask }
        };
        let (without, empty) = (ask().send().await?, ask().json(&json!({})).send().await?);
        if route.fields.iter().any(|(_, _, needed)| *needed) {
            assert_eq!(without.outcome(), outcome(415, "unsupported_media_type"), "{}", route.path);
            let declared = ask().body(JSON, "").send().await?;
            assert_eq!(declared.outcome(), outcome(400, "malformed_request"), "{}", route.path);
        } else {
            assert_eq!(without.outcome(), empty.outcome(), "{}", route.path);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_body_has_sixteen_kibibytes_at_most() -> Result<()> {
    let (_backend, session) = backend().await?;
    for route in JSON_ROUTES {
        let body = route.body().to_string();
        let padded = |length: usize| format!("{body}{}", " ".repeat(length - body.len()));
        let fits = route.post(&session, JSON, padded(16 * 1024).as_bytes()).await?;
        assert_ne!(fits.status, 413, "{}", route.path);
        assert!(fits.status < 500);
        for length in [16 * 1024 + 1, 1024 * 1024, 11 * 1024 * 1024] {
            if length > 20_000 && route.path != "/api/v1/auth/login" {
                continue;
            }
            let refused = route.post(&session, JSON, padded(length).as_bytes()).await?;
            assert_eq!(refused.outcome(), outcome(413, "payload_too_large"), "{} {length}", route.path);
        }
    }
    Ok(())
}
