//! What black-box suites are written with: the whole backend in the test's own process, and actors whose methods are the
//! user's verbs.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use sallyport_testkit::Backend;
//!
//! let backend = Backend::start().await?;
//! let account = backend.account().await?;
//! let mut session = backend.actor().log_in(&account).await?;
//! session.refresh().await?;
//! backend.advance_days(15).await?;
//! assert_eq!(session.try_refresh().await?.code(), "invalid_refresh_token");
//! # Ok(()) }
//! ```
//!
//! A backend that ends looks for the secrets of its actors in its logs, and fails the test that finds one.
//!
//! Time passes by [`Backend::advance`], never by sleeping. An actor has an address of its own, so that limits of one do
//! not meet another.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "suites are written with it: what fails here fails a test, and should say where"
)]

mod account;
mod actor;
mod answer;
mod backend;
mod operator;
mod raw;
mod receiver;
pub mod secrets;
mod session;
mod watched;

pub use account::{Account, Factor, ServiceClient};
pub use actor::{Actor, Ask};
pub use answer::Answer;
pub use backend::{APP_ORIGIN, Backend};
pub use raw::raw;
pub use receiver::{Received, Receiver};
pub use session::{Enrolment, Pending, Session};
pub use watched::Watched;
