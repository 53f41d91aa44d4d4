//! What the gateway calls: a function as API Gateway knows it.

use std::{future::Future, pin::Pin};

use http::Method;
use lambda_http::{Body, Request, Response};

/// The answer of a function, some time later.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>>;

/// A function with its routes.
pub(crate) trait Function: Send + Sync {
    fn name(&self) -> &'static str;

    /// Methods and paths, parameters in braces.
    fn routes(&self) -> Vec<(Method, &'static str)>;

    fn handle(&self, request: Request) -> Answer<'_>;
}
