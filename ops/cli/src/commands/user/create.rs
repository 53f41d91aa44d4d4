//! `sallyport user create`.

use std::fmt;

use sallyport_core::{
    accounts::{Email, LoginRecords as _, PasswordHasher},
    administration::{AdministrationError, NewAccount, create_account},
    secret::Secret,
};
use serde::{Serialize, Serializer};

use super::NewPassword;
use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::Answer,
};

#[derive(Serialize)]
struct Created {
    email: String,
    user_id: Option<String>,
    /// The one time that it is shown.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "expose")]
    password: Option<Secret<String>>,
    dry_run: bool,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn expose<S: Serializer>(secret: &Option<Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|secret| secret.expose().as_str()).serialize(serializer)
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(user) = &self.user_id else {
            return writeln!(f, "would create {}; nothing was changed", self.email);
        };
        writeln!(f, "created {} ({user})", self.email)?;
        if let Some(password) = &self.password {
            writeln!(f, "password, shown this once: {}", password.expose())?;
        }
        Ok(())
    }
}

/// # Errors
/// The address has an account; the keyring is empty; AWS.
pub(super) async fn run(
    target: &Target,
    email: &Email,
    password: &NewPassword,
    change: Change,
) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    // Before the password is asked for: nobody likes to type one for nothing.
    if deployment.store.login_record(email).await?.is_some() {
        return Err(exists(email));
    }
    if change.dry_run {
        deployment.keyring().await?;
        password.choose(deployment.random())?;
        let report = Created { email: email.to_string(), user_id: None, password: None, dry_run: true };
        return Answer::of(&report);
    }
    let made = make(&deployment, email, password).await?;
    Answer::of(&Created {
        email: email.to_string(),
        user_id: Some(made.user),
        password: made.generated,
        dry_run: false,
    })
}

/// An account that was made.
pub(in crate::commands) struct Made {
    pub(in crate::commands) user: String,
    /// The password, if nobody else knows it.
    pub(in crate::commands) generated: Option<Secret<String>>,
}

/// # Errors
/// As [`run`].
pub(in crate::commands) async fn make(
    deployment: &Deployment,
    email: &Email,
    password: &NewPassword,
) -> Result<Made, Failure> {
    let keyring = deployment.keyring().await?;
    let hasher = PasswordHasher::new(deployment.hash_parameters()?);
    let chosen = password.choose(deployment.random())?;
    let account = NewAccount { email: email.clone(), password: chosen.password };
    let env = deployment.env(&keyring);
    let user = create_account(&deployment.store, env, &hasher, account, &Deployment::origin()?).await;
    let user = user.map_err(|error| match error {
        AdministrationError::Exists => exists(email),
        other => other.into(),
    })?;
    Ok(Made { user: user.to_string(), generated: chosen.generated })
}

fn exists(email: &Email) -> Failure {
    Failure::conflict("account_exists", format!("there is an account with the address {email} already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(user_id: Option<&str>, password: Option<&str>) -> Created {
        Created {
            email: "ada@example.com".to_owned(),
            user_id: user_id.map(str::to_owned),
            password: password.map(|text| Secret::new(text.to_owned())),
            dry_run: user_id.is_none(),
        }
    }

    #[test]
    fn a_generated_password_is_shown_once_and_a_given_one_never() {
        insta::assert_snapshot!(created(Some("usr_1"), Some("abcdef-ghijkl")), @r"
        created ada@example.com (usr_1)
        password, shown this once: abcdef-ghijkl
        ");
        insta::assert_snapshot!(created(Some("usr_1"), None), @"created ada@example.com (usr_1)");
        insta::assert_snapshot!(created(None, None), @"would create ada@example.com; nothing was changed");
        insta::assert_json_snapshot!(created(Some("usr_1"), Some("abcdef")), @r#"
        {
          "email": "ada@example.com",
          "user_id": "usr_1",
          "password": "abcdef",
          "dry_run": false
        }
        "#);
    }
}
