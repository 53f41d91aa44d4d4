//! One adapter per feature of `sallyport-operations`, and what looks at items of every kind.

pub(crate) mod checks;
#[cfg(feature = "functions")]
pub(crate) mod functions;
pub(crate) mod gauge;
pub(crate) mod incidents;
#[cfg(feature = "logs")]
pub mod logs;
#[cfg(feature = "cloudwatch")]
pub(crate) mod metrics;
pub(crate) mod proofs;
pub(crate) mod recovery;
#[cfg(feature = "responder")]
pub mod responder;
pub(crate) mod retention;
#[cfg(feature = "smoke")]
pub(crate) mod smoke;
#[cfg(feature = "maintenance")]
pub(crate) mod topics;
pub(crate) mod validate;
