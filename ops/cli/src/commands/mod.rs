//! The commands, a module per group.

mod alarms;
mod backup;
mod block;
pub(crate) mod calibrate;
mod check;
mod client;
mod completions;
mod config;
mod deploy;
mod doctor;
mod explain;
mod gameday;
mod incident;
mod keys;
mod logs;
mod migrate;
mod mode;
mod reset;
mod restore;
mod retention;
mod review;
mod runbook;
mod sessions;
mod setup;
mod sources;
mod totp;
pub(crate) mod user;

use clap::Subcommand;

use crate::{cli::Invocation, failure::Failure, output::Answer};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Accounts: create, look at, lock out, let in.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Services that may introspect and revoke tokens.
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// The keyring: signing keys, token keys, password pepper.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// The configuration of a deployment.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Set a new deployment up: keyring, item formats, first account, who is told of incidents. May be repeated.
    Setup(setup::SetupCommand),
    /// Look a live deployment over: every finding comes with its fix. Changes nothing.
    Doctor(doctor::DoctorCommand),
    /// A deployment before, after, and back.
    #[command(subcommand)]
    Deploy(deploy::DeployCommand),
    /// Game days: break a backend on this machine, and see who notices.
    #[command(subcommand)]
    Gameday(gameday::GamedayCommand),
    /// Modes: emergency, maintenance, degraded.
    #[command(subcommand)]
    Mode(mode::ModeCommand),
    /// Blocks: addresses, prefixes and accounts that are shut out.
    #[command(subcommand)]
    Block(block::BlockCommand),
    /// Passwords that others may know.
    #[command(subcommand)]
    Reset(reset::ResetCommand),
    /// Why something was refused, from state and events, with the page to read.
    #[command(subcommand)]
    Explain(explain::ExplainCommand),
    /// Incidents: who has them, how they go, how they ended.
    #[command(subcommand)]
    Incident(incident::IncidentCommand),
    /// Measure password hashing here, and advise parameters and memory size.
    Calibrate(calibrate::CalibrateCommand),
    /// Alarms: which fire, whether they reach anybody, what they did.
    #[command(subcommand)]
    Alarms(alarms::AlarmsCommand),
    /// Backups of the tables that cannot be rebuilt.
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Proof that the backups restore.
    #[command(subcommand)]
    Restore(restore::RestoreCommand),
    /// How long things are kept.
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// Sessions of everybody.
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// What the functions have logged: errors, security events, one request.
    #[command(subcommand)]
    Logs(logs::LogsCommand),
    /// Addresses, accounts and error codes that lead, by the logs.
    #[command(subcommand)]
    Top(logs::TopCommand),
    /// Item formats: what is applied, and whether the data reads.
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Tasks of the day, the week or the month, with the deployment's figures. Changes nothing.
    #[command(subcommand)]
    Review(review::ReviewCommand),
    /// Runbooks: a page per alarm and procedure, to read and to run.
    #[command(subcommand)]
    Runbook(runbook::RunbookCommand),
    /// One-time codes.
    #[command(subcommand)]
    Totp(totp::TotpCommand),
    /// Print a completion script.
    Completions(completions::CompletionsCommand),
}

/// # Errors
/// What the command failed with.
pub(crate) async fn run(invocation: Invocation) -> Result<Answer, Failure> {
    let Invocation { target, format, command } = invocation;
    match command {
        Command::User(command) => command.run(&target).await,
        Command::Client(command) => command.run(&target).await,
        Command::Keys(command) => command.run(&target).await,
        Command::Config(command) => command.run(&target).await,
        Command::Setup(command) => command.run(&target).await,
        Command::Doctor(command) => command.run(&target).await,
        Command::Deploy(command) => command.run(&target, format).await,
        Command::Gameday(command) => command.run(&target, format).await,
        Command::Mode(command) => command.run(&target).await,
        Command::Block(command) => command.run(&target).await,
        Command::Reset(command) => command.run(&target, format).await,
        Command::Explain(command) => command.run(&target, format).await,
        Command::Incident(command) => command.run(&target).await,
        Command::Calibrate(command) => command.run(),
        Command::Alarms(command) => command.run(&target, format).await,
        Command::Backup(command) => command.run(&target).await,
        Command::Restore(command) => command.run(&target, format).await,
        Command::Retention(command) => command.run(&target, format).await,
        Command::Sessions(command) => command.run(&target, format).await,
        Command::Logs(command) => command.run(&target).await,
        Command::Top(command) => command.run(&target).await,
        Command::Migrate(command) => command.run(&target, format).await,
        Command::Review(command) => command.run(&target).await,
        Command::Runbook(command) => command.run(&target, format).await,
        Command::Totp(command) => command.run(&target).await,
        Command::Completions(command) => command.run(),
    }
}
