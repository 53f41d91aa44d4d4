//! `sallyport user`.

mod change;
mod create;
pub(crate) mod events;
mod password;
pub(crate) mod pools;
mod show;
mod typed;

use clap::Subcommand;
use sallyport_core::accounts::{Email, LoginRecord, Status};

use self::password::GivenPassword;
pub(super) use self::{create::make as create, password::NewPassword};
use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::Answer,
};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Create an account. Its address counts as confirmed.
    Create {
        /// Address to sign in with.
        email: Email,
        #[command(flatten)]
        password: NewPassword,
        #[command(flatten)]
        change: Change,
    },
    /// Show an account: status, factors, sessions, lockouts, recent security events.
    Show {
        /// Address of the account.
        email: Email,
        /// Security events to show, newest first.
        #[arg(long, value_name = "N", default_value_t = 10)]
        events: u8,
    },
    /// Refuse sign-in, and end all sessions.
    Disable {
        /// Address of the account.
        email: Email,
        #[command(flatten)]
        change: Change,
    },
    /// Allow sign-in again.
    Enable {
        /// Address of the account.
        email: Email,
        #[command(flatten)]
        change: Change,
    },
    /// Forget failed attempts: locks of the account, its known devices and its factors.
    Unlock {
        /// Address of the account.
        email: Email,
        #[command(flatten)]
        change: Change,
    },
    /// Set a password, and end all sessions.
    SetPassword {
        /// Address of the account.
        email: Email,
        #[command(flatten)]
        password: GivenPassword,
        #[command(flatten)]
        change: Change,
    },
    /// Remove all second factors and the recovery codes, and end all sessions: for an owner who has lost them.
    ResetMfa {
        /// Address of the account.
        email: Email,
        #[command(flatten)]
        change: Change,
    },
    /// End all sessions, and every sign-in that is under way.
    RevokeSessions {
        /// Address of the account.
        email: Email,
        #[command(flatten)]
        change: Change,
    },
}

impl UserCommand {
    /// # Errors
    /// No such account; one exists already; AWS.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::Create { email, password, change } => create::run(target, &email, &password, change).await,
            Self::Show { email, events } => show::run(target, &email, events).await,
            Self::Disable { email, change } => {
                change::set_status(target, &email, Status::Disabled, change).await
            }
            Self::Enable { email, change } => {
                change::set_status(target, &email, Status::Active, change).await
            }
            Self::Unlock { email, change } => change::unlock(target, &email, change).await,
            Self::SetPassword { email, password, change } => {
                change::set_password(target, &email, &password, change).await
            }
            Self::ResetMfa { email, change } => change::reset_mfa(target, &email, change).await,
            Self::RevokeSessions { email, change } => change::revoke_sessions(target, &email, change).await,
        }
    }
}

/// Whether the address has an account.
pub(super) async fn exists(deployment: &Deployment, email: &Email) -> Result<bool, Failure> {
    use sallyport_core::accounts::LoginRecords as _;
    Ok(deployment.store.login_record(email).await?.is_some())
}

/// The account, or the line that says that there is none.
pub(crate) async fn find(deployment: &Deployment, email: &Email) -> Result<LoginRecord, Failure> {
    use sallyport_core::accounts::LoginRecords as _;
    let record = deployment.store.login_record(email).await?;
    record.ok_or_else(|| {
        Failure::not_found("account_not_found", format!("there is no account with the address {email}"))
    })
}
