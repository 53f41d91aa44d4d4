//! The real binary against the real backend, database and keyring embedded.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod accounts;
mod alarms;
mod clients;
mod config;
mod documentation;
mod events;
mod failures;
mod incidents;
mod keys;
mod logs;
mod migrations;
mod modes;
mod reviews;
mod runbooks;
mod stack;
mod support;
mod totp;
mod usage;
