//! Nobody can tell accounts apart by what a login answers.

use crate::prelude::*;

/// All of an answer but what differs between any two requests: ids, dates, and when the address's window ends.
pub(crate) fn face(answer: &Answer) -> String {
    let mut lines = vec![answer.status.to_string()];
    for (name, value) in &answer.headers {
        let value = value.to_str().unwrap_or("?");
        let shown = match name.as_str() {
            "x-request-id" | "x-amzn-requestid" => format!("{} characters", value.len()),
            "date" => "a date".to_owned(),
            "ratelimit" => value.split(";t=").next().unwrap_or_default().to_owned(),
            _ => value.to_owned(),
        };
        lines.push(format!("{name}: {shown}"));
    }
    lines.sort();
    let id = answer.header("x-request-id");
    lines.push(answer.text().replace(id, "the id"));
    lines.push(format!("{} bytes", answer.body.len()));
    lines.join("\n")
}

/// Changes the login record of an account past everything.
async fn change(backend: &Backend, account: &Account, expression: &str, values: Value) -> Result<()> {
    let mut request = json!({
        "TableName": backend.environment()["SALLYPORT_USERS_TABLE"],
        "Key": {"pk": {"S": format!("EMAIL#{}", account.email)}, "sk": {"S": "LOGIN"}},
        "UpdateExpression": expression,
        "ConditionExpression": "attribute_exists(password) AND attribute_exists(verified)",
    });
    if !values.is_null() {
        request["ExpressionAttributeValues"] = values;
    }
    backend.write_past_everything("UpdateItem", &request).await.map(drop)
}

async fn unverified(backend: &Backend) -> Result<Account> {
    let account = backend.account().await?;
    change(backend, &account, "SET verified = :no", json!({":no": {"BOOL": false}})).await?;
    Ok(account)
}

/// As one that signs in elsewhere only.
async fn without_a_password(backend: &Backend) -> Result<Account> {
    let account = backend.account().await?;
    change(backend, &account, "REMOVE password", Value::Null).await?;
    Ok(account)
}

/// As one that has not signed in since the parameters were raised. The hash is of argon2's own test vectors.
async fn with_a_weaker_hash(backend: &Backend) -> Result<Account> {
    const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let mut account = backend.account().await?;
    change(backend, &account, "SET password = :hash", json!({":hash": {"S": HASH}})).await?;
    "password".clone_into(&mut account.password);
    Ok(account)
}

#[tokio::test]
async fn c29_refused_logins_are_equal_to_the_byte_cve_2024_41952() -> Result<()> {
    let backend = Backend::start().await?;
    let known = backend.account().await?;
    let disabled = backend.account().await?;
    backend.disable(&disabled).await?;
    let unconfirmed = unverified(&backend).await?;
    let without_password = without_a_password(&backend).await?;
    let weaker = with_a_weaker_hash(&backend).await?;
    let weaker_disabled = with_a_weaker_hash(&backend).await?;
    backend.disable(&weaker_disabled).await?;
    let with_factor = backend.account_with_totp().await?;
    let signed_in = backend.account().await?;
    backend.actor().log_in(&signed_in).await?;
    let mut faces = Vec::new();
    for (what, email, password) in [
        ("unknown", "nobody01@example.com", "wrong"),
        ("a wrong password", &known.email, "wrong"),
        ("disabled, a wrong password", &disabled.email, "wrong"),
        ("disabled, the right password", &disabled.email, &disabled.password),
        ("unverified, the right password", &unconfirmed.email, &unconfirmed.password),
        ("without a password", &without_password.email, &without_password.password),
        ("a weaker hash, a wrong password", &weaker.email, "wrong"),
        ("a weaker hash, disabled, the right password", &weaker_disabled.email, &weaker_disabled.password),
        ("a second factor, a wrong password", &with_factor.email, "wrong"),
        ("signed in elsewhere, a wrong password", &signed_in.email, "wrong"),
        ("another unknown one", "somebody.else@subdomain.example.org", "another wrong password"),
    ] {
        let answer = backend.actor().try_log_in(email, password).await?;
        faces.push((what, face(&answer)));
    }
    let (_, first) = faces[0].clone();
    assert!(first.contains("401"), "{first}");
    for (what, face) in &faces {
        assert_eq!(face, &first, "{what}");
    }
    backend.actor().log_in(&weaker).await?;
    Ok(())
}

#[tokio::test]
async fn c29_locked_accounts_and_addresses_without_one_are_equal_to_the_byte() -> Result<()> {
    let backend = Backend::start().await?;
    let known = backend.account().await?;
    let disabled = backend.account().await?;
    backend.disable(&disabled).await?;
    let unconfirmed = unverified(&backend).await?;
    let without_password = without_a_password(&backend).await?;
    let weaker = with_a_weaker_hash(&backend).await?;
    let with_factor = backend.account_with_totp().await?;
    let mut faces = Vec::new();
    for (what, email, password) in [
        ("unknown", "nobody01@example.com", "wrong"),
        ("known, a wrong password", &known.email, "wrong"),
        ("known, the right password", &known.email, &known.password),
        ("disabled, the right password", &disabled.email, &disabled.password),
        ("unverified, the right password", &unconfirmed.email, &unconfirmed.password),
        ("without a password", &without_password.email, &without_password.password),
        ("a weaker hash, the right password", &weaker.email, &weaker.password),
        ("a second factor, the right password", &with_factor.email, &with_factor.password),
    ] {
        // For the second look at the same account the lock stands already.
        if !faces.iter().any(|(other, _): &(&str, String)| other.starts_with("known"))
            || !what.starts_with("known")
        {
            lock(&backend, email).await?;
        }
        let answer = backend.actor().try_log_in(email, password).await?;
        let wait: u64 = answer.header("retry-after").parse()?;
        assert!((25..=30).contains(&wait), "{what} {wait}");
        faces.push((what, face(&answer).replace(&wait.to_string(), "30")));
    }
    let (_, first) = faces[0].clone();
    assert!(first.contains("429"), "{first}");
    for (what, face) in &faces {
        assert_eq!(face, &first, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn known_and_unknown_addresses_leave_the_same_marks_in_the_database() -> Result<()> {
    let backend = Backend::start().await?;
    let known = backend.account().await?;
    let mut marks = Vec::new();
    for email in [known.email.as_str(), "nobody01@example.com"] {
        backend.forget_calls().await?;
        backend.actor().try_log_in(email, "wrong").await?.expect(401)?;
        let mut calls: Vec<_> = backend
            .calls()
            .await?
            .iter()
            .map(|call| format!("{} {} {}", call["operation"], call["tables"], call["status"]))
            .collect();
        calls.sort();
        marks.push(calls);
    }
    assert_eq!(marks[0], marks[1]);
    assert!(marks[0].len() >= 4, "{marks:?}");
    Ok(())
}
