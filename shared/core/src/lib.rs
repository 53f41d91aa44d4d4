//! The domain of Sallyport: models, rules, use cases and the ports they need.
//!
//! Nothing here knows AWS, HTTP, a clock or a source of randomness: clock and randomness are arguments, storage stands
//! behind narrow traits that `sallyport-aws` implements. Every feature is a module, and the same names stand in every layer.
//!
//! The modules stand below in the order of their levels. A module imports only from lower levels: `tests/run lint`
//! refuses an import that points up or sideways (`tests/levels.py`). `sallyport-operations` stands above all of them.

// Level 1: values, and what everything else is given.
pub mod address;
pub mod clock;
pub mod random;
pub mod secret;
pub mod web;

// Level 2: what all storage has in common.
pub mod ids;
pub mod store;

// Level 3: keys, and what a deployment stands on.
pub mod checks;
pub mod keyring;
pub mod providers;

// Level 4: who is who, and what is kept of what happened.
pub mod audit;
pub mod env;
pub mod messages;

// Level 5: accounts and clients.
pub mod accounts;
pub mod clients;

// Level 6: limits and tokens.
pub mod throttle;
pub mod tokens;

// Level 7: modes and blocks; sessions.
pub mod flags;
pub mod sessions;

// Level 8: the rules of a deployment, put together.
pub mod rules;

// Level 9: second factors.
pub mod mfa;

// Level 10: the ways in, and what an operator does to an account.
pub mod administration;
pub mod login;

#[cfg(test)]
mod testing;
