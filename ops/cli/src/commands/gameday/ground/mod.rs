//! What a game is played on.

mod emulator;
mod here;

use std::{net::IpAddr, time::Duration};

use sallyport_alarms::{Datum, Parameters};
use serde_json::Value;
use tokio::process::Command;

pub(super) use self::{emulator::Emulator, here::Here};
use super::games::Fault;
use crate::failure::Failure;

pub(super) const MINUTE_MS: u64 = 60_000;
/// After this a signing key is past its time: 90 days, and one more.
const PAST: Duration = Duration::from_secs(91 * 86_400);
/// After this everybody has a key that was published.
const PUBLISHED: Duration = Duration::from_secs(3 * 60 * 60);

/// Every function that answers callers and talks to the database or the keyring. The operator's own calls go through, as they
/// would from another machine.
const FUNCTIONS: [&str; 5] = ["login", "refresh", "mfa", "keys", "health"];

/// A backend with its clock, its faults, and what it measures. Minutes go by when they are ended, and not by waiting.
pub(super) trait Ground {
    /// Where callers call.
    fn url(&self) -> &str;

    /// What the stack is called, as its alarms are.
    fn deployment(&self) -> &str;

    /// What the alarms' template is deployed with.
    fn parameters(&self) -> Parameters;

    /// A caller, from an address of its own if one is given.
    ///
    /// # Errors
    /// No TLS.
    fn caller(&self, address: Option<IpAddr>) -> Result<reqwest::Client, Failure>;

    /// Takes note of an answer that a caller got.
    fn answered(&mut self, status: u16);

    /// Epoch milliseconds, by the clock that the alarms are evaluated by.
    ///
    /// # Errors
    /// The backend does not answer, as all below.
    async fn now(&self) -> Result<u64, Failure>;

    /// Goes to the next whole minute.
    async fn next_minute(&mut self) -> Result<(), Failure>;

    /// Lets the seconds pass within which functions see a mode or a block.
    async fn settle(&mut self) -> Result<(), Failure>;

    async fn inject(&mut self, fault: Fault) -> Result<(), Failure>;

    /// Ends the fault, as AWS, an attacker or time does.
    async fn lift(&mut self, fault: Fault) -> Result<(), Failure>;

    /// What was measured since it was asked last.
    async fn collect(&mut self) -> Result<Vec<Datum>, Failure>;

    /// Has a function do something, and returns what it makes of it.
    async fn invoke(&mut self, function: &str, event: &Value) -> Result<Value, Failure>;

    /// Epoch milliseconds of that moment by the clock of the functions.
    fn by_functions(&self, at: u64) -> u64;

    /// Has a command go to this backend.
    fn aim(&self, command: &mut Command);

    /// Leaves the backend as it was found. Whatever stands of a fault goes.
    async fn leave(&mut self) -> Result<(), Failure>;
}

fn http(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
    builder
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .map_err(|error| Failure::dependency("runtime", error.to_string()))
}
