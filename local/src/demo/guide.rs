//! What a person is shown: accounts, and commands that work when pasted.

use serde_json::json;

use super::{MFA_ACCOUNT, PLAIN_ACCOUNT, keepsake::Keepsake};

/// The text for a backend at `api`.
pub(super) fn text(api: &str, keepsake: &Keepsake) -> String {
    let login = |email| quote(&json!({"email": email, "password": keepsake.password}).to_string());
    let mut guide = format!(
        r#"
Accounts, both with the password {password}

  {PLAIN_ACCOUNT} signs in with the password alone:

SIGNED_IN=$(curl -s {api}/api/v1/auth/login -H 'content-type: application/json' -d {login})
echo "$SIGNED_IN"

  its refresh token gives the next one, and signs out:

REFRESHED=$(curl -s {api}/api/v1/auth/refresh -H 'content-type: application/json' -d "{{\"refresh_token\":\"$(echo "$SIGNED_IN" | {take_refresh})\"}}")
echo "$REFRESHED"
curl -i {api}/api/v1/auth/logout -H 'content-type: application/json' -d "{{\"refresh_token\":\"$(echo "$REFRESHED" | {take_refresh})\"}}"
"#,
        password = keepsake.password,
        login = login(PLAIN_ACCOUNT),
        take_refresh = take("refresh_token"),
    );
    if let Some(factor) = &keepsake.factor {
        guide.push_str(&format!(
            r#"
  {MFA_ACCOUNT} has an authenticator app with the secret {secret}
  {uri}
  and the recovery codes {codes}

MFA_TOKEN=$(curl -s {api}/api/v1/auth/login -H 'content-type: application/json' -d {login} | {take_token})
curl -s {api}/api/v1/auth/mfa/verify -H 'content-type: application/json' -d "{{\"mfa_token\":\"$MFA_TOKEN\",\"factor_id\":\"{id}\",\"code\":\"$(curl -s '{api}/_local/totp?secret={secret}')\"}}"
"#,
            secret = factor.secret,
            uri = factor.otpauth_uri,
            codes = factor.recovery_codes.join(" "),
            login = login(MFA_ACCOUNT),
            take_token = take("mfa_token"),
            id = factor.id,
        ));
    }
    guide
}

/// The command that takes a text out of JSON, without a tool that is not on every machine.
fn take(field: &str) -> String {
    format!(r#"sed -n 's/.*"{field}":"\([^"]*\)".*/\1/p'"#)
}

/// For a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_with_quotes_survives_the_shell() {
        let keepsake = Keepsake { password: r#"it's "so""#.to_owned(), factor: None };
        let guide = text("http://localhost:1", &keepsake);
        assert!(
            guide.contains(r#"-d '{"email":"test@example.com","password":"it'\''s \"so\""}'"#),
            "{guide}"
        );
        assert!(!guide.contains("mfa@example.com"));
    }
}
