//! The whole backend in one process, for development and for the suites: the functions' own handlers behind a small
//! API Gateway, DynamoDB and Secrets Manager embedded and spoken to by the real SDK over loopback.
//!
//! ```text
//! caller ──HTTP──▶ gateway ──REST event──▶ functions ──SDK──▶ proxy ──▶ database, secrets
//!                     └── /_local: console                     └── records, delays, breaks calls
//! ```

mod backend;
mod clock;
mod console;
mod database;
mod demo;
mod dependencies;
mod environment;
mod functions;
mod gateway;
mod guard;
mod hook;
mod identifier;
mod lambda;
mod loopback;
mod metrics;
mod options;
mod owner;
mod proxy;
mod published;
mod routes;
mod runtime;
mod schedules;
mod secrets;
mod services;
mod stop;
mod stream;
mod template;
mod totp;
mod wire;

pub use backend::{Backend, LogLines};
pub use dependencies::Dependencies;
pub use environment::{Environment, OVERRIDABLE, exports_for};
pub use options::Options;
pub use routes::{Route, routes};
