//! What the gateway calls: a function as API Gateway knows it.

use std::{future::Future, pin::Pin};

use http::Method;
use serde_json::Value;

/// What a function returns, some time later, or the message of its error.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Value, String>> + Send + 'a>>;

/// A function with its routes.
pub(crate) trait Function: Send + Sync {
    fn name(&self) -> &'static str;

    /// Methods and paths, parameters in braces.
    fn routes(&self) -> Vec<(Method, &'static str)>;

    fn invoke(&self, event: Value) -> Answer<'_>;
}
