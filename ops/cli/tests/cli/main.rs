//! The real binary against the real backend, database and keyring embedded.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod accounts;
mod alarms;
mod clients;
mod completions;
mod config;
mod deploys;
mod doctor;
mod documentation;
mod dry_run;
mod events;
mod explanations;
mod failures;
mod faults;
mod fresh;
mod gamedays;
mod incidents;
mod keys;
mod logs;
mod migrations;
mod modes;
mod recovery;
mod releases;
mod reviews;
mod runbooks;
mod setup;
mod stack;
mod steering;
mod support;
mod surroundings;
mod terminals;
mod totp;
mod usage;
