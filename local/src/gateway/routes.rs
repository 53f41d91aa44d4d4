//! Which function answers a path.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use http::Method;
use percent_encoding::percent_decode_str;

use super::function::Function;

/// Where a request goes.
pub(crate) struct Found<'a> {
    pub(crate) function: &'a Arc<dyn Function>,
    /// The path as it was declared, such as `/api/v1/mfa/factors/{id}`.
    pub(crate) resource: &'static str,
    /// Decoded.
    pub(crate) parameters: BTreeMap<String, String>,
}

/// The methods of a path.
type Methods = Vec<(Method, Arc<dyn Function>)>;

struct Resource {
    path: &'static str,
    methods: Methods,
}

/// The routes of all functions.
pub(crate) struct Routes(matchit::Router<Resource>);

impl Routes {
    /// # Errors
    /// When two functions claim the same method of a path, or a path is none.
    pub(crate) fn of(functions: &[Arc<dyn Function>]) -> anyhow::Result<Self> {
        let mut resources: BTreeMap<&'static str, Methods> = BTreeMap::new();
        for function in functions {
            for (method, path) in function.routes() {
                let methods = resources.entry(path).or_default();
                if let Some((_, other)) = methods.iter().find(|(taken, _)| *taken == method) {
                    anyhow::bail!("{method} {path} is claimed by {} and {}", other.name(), function.name());
                }
                methods.push((method, Arc::clone(function)));
            }
        }
        let mut router = matchit::Router::new();
        for (path, methods) in resources {
            router.insert(path, Resource { path, methods }).with_context(|| format!("route {path}"))?;
        }
        Ok(Self(router))
    }

    /// The function of the route. A method that the path does not have goes to the function that owns the path, which
    /// knows the methods that it has.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<Found<'_>> {
        let found = self.0.at(path).ok()?;
        let Resource { path: resource, methods } = found.value;
        let (_, function) =
            methods.iter().find(|(declared, _)| declared == method).or_else(|| methods.first())?;
        let parameters = found
            .params
            .iter()
            .map(|(name, value)| {
                (name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned())
            })
            .collect();
        Some(Found { function, resource, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::function::Answer;

    struct Stub(&'static str, Vec<(Method, &'static str)>);

    impl Function for Stub {
        fn name(&self) -> &'static str {
            self.0
        }

        fn routes(&self) -> Vec<(Method, &'static str)> {
            self.1.clone()
        }

        fn invoke(&self, _: serde_json::Value) -> Answer<'_> {
            Box::pin(async { Err("a stub".to_owned()) })
        }
    }

    fn routes() -> Routes {
        let stub = |name, routes| -> Arc<dyn Function> { Arc::new(Stub(name, routes)) };
        Routes::of(&[
            stub("login", vec![(Method::POST, "/auth/login")]),
            stub("mfa", vec![(Method::GET, "/factors"), (Method::DELETE, "/factors/{id}")]),
        ])
        .unwrap()
    }

    fn found(method: &Method, path: &str) -> Option<(&'static str, &'static str, BTreeMap<String, String>)> {
        routes().find(method, path).map(|f| (f.function.name(), f.resource, f.parameters))
    }

    #[test]
    fn a_path_leads_to_its_function() {
        assert_eq!(found(&Method::POST, "/auth/login"), Some(("login", "/auth/login", BTreeMap::new())));
        let id = BTreeMap::from([("id".to_owned(), "fac_a/b".to_owned())]);
        assert_eq!(found(&Method::DELETE, "/factors/fac_a%2Fb"), Some(("mfa", "/factors/{id}", id)));
    }

    #[test]
    fn a_wrong_method_leads_to_the_owner_of_the_path() {
        assert_eq!(found(&Method::GET, "/auth/login").unwrap().0, "login");
        assert_eq!(found(&Method::OPTIONS, "/factors/x").unwrap().0, "mfa");
    }

    #[test]
    fn an_unknown_path_leads_nowhere() {
        for path in
            ["/", "/auth", "/auth/login/", "/auth/login/x", "/factors/a/b", "//auth/login", "/AUTH/login"]
        {
            assert_eq!(found(&Method::POST, path), None, "{path}");
        }
    }

    #[test]
    fn one_route_of_two_functions_is_refused() {
        let one: Arc<dyn Function> = Arc::new(Stub("one", vec![(Method::GET, "/x")]));
        let two: Arc<dyn Function> = Arc::new(Stub("two", vec![(Method::GET, "/x")]));
        let refused = Routes::of(&[one, two]).err().unwrap();
        assert_eq!(refused.to_string(), "GET /x is claimed by one and two");
    }
}
