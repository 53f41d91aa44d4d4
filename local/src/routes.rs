//! The routes of all functions, for the test that holds them against the template and the OpenAPI document.

use std::sync::Arc;

use serde::Serialize;

use crate::{environment, functions, template::Template};

/// A route of a function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    pub path: String,
    pub method: String,
    pub function: &'static str,
}

/// All routes, by path and method.
///
/// # Errors
/// When a function cannot be built; nothing is started and nothing is called.
pub fn routes() -> anyhow::Result<Vec<Route>> {
    let template = Template::of_the_stack()?;
    let nowhere = "http://127.0.0.1:1";
    let environment = environment::of(&template, nowhere, nowhere, &environment::Environment::new());
    let sinks = functions::Sinks { quiet: true, ..functions::Sinks::default() };
    let mut routes: Vec<_> = functions::all(&environment, &Arc::default(), &sinks)?
        .handlers
        .iter()
        .flat_map(|function| {
            function.routes().into_iter().map(|(method, path)| Route {
                path: path.to_owned(),
                method: method.to_string(),
                function: function.name(),
            })
        })
        .collect();
    routes.sort();
    Ok(routes)
}
