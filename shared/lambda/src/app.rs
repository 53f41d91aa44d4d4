//! A function as an application: its routes, and everything around a handler that no handler should repeat.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use sallyport_aws::{meter, system::is_cold_start};
use sallyport_core::{
    env::Env,
    flags::{Gate, Refusal},
    sessions::Caller,
    tokens::{Audience, TokenError},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    bearer::bearer_token,
    body,
    context::RequestContext,
    cookies,
    cors::{self, Readers},
    fields::RefreshTokenField,
    inbound::{Inbound, Invocation, NoRequest},
    outbound,
    platform::Platform,
    problem::{Code, Problem},
    reply::Reply,
    telemetry::{Answered, Facts},
};

/// A request on its way to a handler.
#[derive(Debug)]
pub struct Call {
    pub headers: HeaderMap,
    pub context: RequestContext,
    /// Counts for the wide event.
    pub facts: Facts,
    parameters: HashMap<String, String>,
    body: Vec<u8>,
    allowed_origin: Option<String>,
    /// Whether the refresh cookie is what the request stands or falls by.
    by_cookie: Arc<AtomicBool>,
}

/// A refresh token, and how it came.
pub struct Presented {
    pub token: String,
    pub by_cookie: bool,
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presented").field("by_cookie", &self.by_cookie).finish_non_exhaustive()
    }
}

impl Call {
    /// A part of the path.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map(String::as_str).unwrap_or_default()
    }

    /// # Errors
    /// 400, 415, 422.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        body::json(&self.headers, &self.body)
    }

    /// As [`Call::json`]; no body at all is an empty object.
    ///
    /// # Errors
    /// As [`Call::json`].
    pub fn optional_json<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// # Errors
    /// 400, 415.
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        body::form(&self.headers, &self.body)
    }

    /// Who calls, by the access token of the `Authorization` header.
    ///
    /// # Errors
    /// 401 `invalid_token`.
    pub fn caller(&self, env: Env<'_>, audience: &Audience) -> Result<Caller, Problem> {
        Caller::identify(env, audience, bearer_token(&self.headers)?).map_err(|error| {
            if error == TokenError::Forged {
                self.facts.suspicious();
            }
            Problem::invalid_token()
        })
    }

    /// A cookie. Browsers send cookies by themselves, so a request that uses one must come from a configured origin.
    ///
    /// # Errors
    /// 403 `origin_not_allowed`.
    pub fn cookie(&self, name: &str) -> Result<Option<String>, Problem> {
        match cookies::read(&self.headers, name) {
            Some(value) => {
                self.require_origin()?;
                Ok(Some(value))
            }
            None => Ok(None),
        }
    }

    /// The refresh token by which a request asks: that of the body, or the cookie. Where the cookie is refused, the answer
    /// takes it back: no script can, and the browser would send it for ever.
    ///
    /// # Errors
    /// 403 `origin_not_allowed`, where it would be the cookie.
    pub fn refresh_token(&self, in_body: Option<&RefreshTokenField>) -> Result<Option<Presented>, Problem> {
        if let Some(token) = in_body {
            return Ok(Some(Presented { token: token.0.clone(), by_cookie: false }));
        }
        if cookies::is_sent(&self.headers, cookies::REFRESH_COOKIE) {
            self.require_origin()?;
            self.by_cookie.store(true, Ordering::Relaxed);
        }
        let cookie = self.cookie(cookies::REFRESH_COOKIE)?;
        Ok(cookie.map(|token| Presented { token, by_cookie: true }))
    }

    /// # Errors
    /// 403 `origin_not_allowed`.
    pub fn require_origin(&self) -> Result<(), Problem> {
        self.allowed_origin.as_ref().map(drop).ok_or_else(|| Problem::new(Code::OriginNotAllowed))
    }
}

impl Reply {
    /// Sets a cookie that carries a token.
    #[must_use]
    pub fn cookie(self, name: &str, value: &str, max_age: Duration) -> Self {
        match cookies::write(name, value, max_age) {
            Some(cookie) => self.append(header::SET_COOKIE, cookie),
            None => self,
        }
    }
}

/// What goes with a request to its handler.
struct Asked {
    context: RequestContext,
    origin: Option<String>,
    facts: Facts,
    by_cookie: Arc<AtomicBool>,
}

type Answering = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;
type Handler = Box<dyn Fn(Call) -> Answering + Send + Sync>;

struct Path {
    pattern: &'static str,
    methods: Vec<(Method, Handler)>,
    /// Whether every page may read it.
    public: bool,
    /// The gateway has no such path: only another function of the deployment comes by here.
    internal: bool,
}

impl Path {
    fn allow(&self) -> String {
        let methods: Vec<_> = self.methods.iter().map(|(method, _)| method.clone()).collect();
        cors::allow_list(&methods)
    }

    fn handler(&self, method: &Method) -> Option<&Handler> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.methods.iter().find(|(own, _)| own == method).map(|(_, handler)| handler)
    }
}

/// A request is answered within this time, come what may: a function has ten seconds, and one that is killed at their end
/// answers nothing and leaves no line. Calls that are slow one after the other could take longer.
const DEADLINE: Duration = Duration::from_secs(8);

/// Attempts of a call that fit into [`DEADLINE`]. Where attempts may take longer than in Lambda, requests may too.
const ATTEMPTS: u32 = 11;

/// The routes contradict one another. It is the code's own fault, and the function must not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("{pattern} cannot be a route: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("{method} {pattern} is declared twice")]
    Twice { method: Method, pattern: String },
    #[error("{pattern} is no route")]
    Unknown { pattern: String },
}

/// The routes of a function.
pub struct App {
    name: &'static str,
    platform: Platform,
    paths: Vec<Path>,
    router: matchit::Router<usize>,
    deadline: Duration,
    gate: Option<Gate>,
    /// The first contradiction among the routes.
    fault: Option<RouteError>,
}

impl App {
    pub fn new(name: &'static str, platform: &Platform) -> Self {
        Self {
            name,
            platform: platform.clone(),
            paths: Vec::new(),
            router: matchit::Router::new(),
            deadline: DEADLINE.max(platform.config().call_timeout() * ATTEMPTS),
            gate: None,
            fault: None,
        }
    }

    /// Whether every route that was declared answers. [`crate::serve`] asks before the first event.
    ///
    /// # Errors
    /// [`RouteError`], the first there is.
    pub fn check(&self) -> Result<(), RouteError> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// Another deadline than that of a function in Lambda.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Puts modes and blocks before every route. An application without a gate, such as health, reads no flags and answers
    /// whatever is set.
    #[must_use]
    pub fn gated(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Adds a route. A pattern that does not parse or collides with another is kept for [`App::check`].
    #[must_use]
    pub fn route<S, F>(
        mut self,
        method: Method,
        pattern: &'static str,
        state: &Arc<S>,
        handler: fn(Arc<S>, Call) -> F,
    ) -> Self
    where
        S: Send + Sync + 'static,
        F: Future<Output = Result<Reply, Problem>> + Send + 'static,
    {
        let state = Arc::clone(state);
        let handler: Handler = Box::new(move |call| Box::pin(handler(Arc::clone(&state), call)));
        match self.paths.iter_mut().find(|path| path.pattern == pattern) {
            Some(path) if path.methods.iter().any(|(known, _)| *known == method) => {
                self.fault.get_or_insert(RouteError::Twice { method, pattern: pattern.to_owned() });
            }
            Some(path) => path.methods.push((method, handler)),
            None => match self.router.insert(pattern, self.paths.len()) {
                Ok(()) => {
                    let methods = vec![(method, handler)];
                    self.paths.push(Path { pattern, methods, public: false, internal: false });
                }
                Err(error) => {
                    let (pattern, reason) = (pattern.to_owned(), error.to_string());
                    self.fault.get_or_insert(RouteError::Pattern { pattern, reason });
                }
            },
        }
        self
    }

    fn path_mut(&mut self, pattern: &str) -> Option<&mut Path> {
        let path = self.paths.iter_mut().find(|path| path.pattern == pattern);
        if path.is_none() {
            self.fault.get_or_insert(RouteError::Unknown { pattern: pattern.to_owned() });
        }
        path
    }

    /// Lets the scripts of every page read what is answered at these paths, without cookies: it is everybody's.
    #[must_use]
    pub fn public(mut self, patterns: &[&str]) -> Self {
        for pattern in patterns {
            if let Some(path) = self.path_mut(pattern) {
                path.public = true;
            }
        }
        self
    }

    /// Keeps a path from the gateway: it is none of [`App::routes`], and answers other functions of the deployment alone, which
    /// invoke this one.
    #[must_use]
    pub fn internal(mut self, pattern: &str) -> Self {
        if let Some(path) = self.path_mut(pattern) {
            path.internal = true;
        }
        self
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Methods and patterns, as the template, the watch routes and the OpenAPI document must have them.
    pub fn routes(&self) -> Vec<(Method, &'static str)> {
        self.paths
            .iter()
            .filter(|path| !path.internal)
            .flat_map(|path| path.methods.iter().map(|(method, _)| (method.clone(), path.pattern)))
            .collect()
    }

    /// Answers an event of API Gateway, as Lambda calls a function and takes what it returns.
    ///
    /// # Errors
    /// [`NoRequest`].
    pub async fn invoke(&self, event: Value, invocation: Invocation) -> Result<Value, NoRequest> {
        let request = Inbound::read(event, invocation)?;
        let format = request.format;
        Ok(outbound::returned(format, self.handle(request).await))
    }

    /// Answers a request: always, and never with more than the caller should know.
    pub async fn handle(&self, request: Inbound) -> Response<String> {
        #[expect(clippy::disallowed_methods, reason = "a duration is measured, no rule depends on it")]
        let started = Instant::now();
        let at = self.platform.clock().now();
        let method = request.method.clone();
        let context = RequestContext::of(&request);
        let origin =
            cors::allowed(&request.headers, &self.platform.config().allowed_origins).map(str::to_owned);
        let facts = Facts::default();
        let by_cookie = Arc::new(AtomicBool::new(false));

        let (route, public, internal) = self
            .find(&request)
            .map_or(("unmatched", false, false), |(path, _)| (path.pattern, path.public, path.internal));
        let readers = match origin.as_deref() {
            _ if public => Readers::All,
            Some(origin) => Readers::Page(origin),
            None => Readers::None,
        };
        let refused_origin = cors::refused(&request.headers, readers);
        let asked = Asked {
            context: context.clone(),
            origin: origin.clone(),
            facts: facts.clone(),
            by_cookie: Arc::clone(&by_cookie),
        };
        let dispatched = self.dispatch(request, asked, readers);
        let (outcome, usage) = meter::metered(tokio::time::timeout(self.deadline, dispatched)).await;
        let outcome = outcome.unwrap_or_else(|_elapsed| {
            let message = format!("no answer within {:?}", self.deadline);
            Err(Problem::new(Code::DependencyUnavailable).operator(message))
        });
        let code = outcome.as_ref().err().map(|problem| problem.code.as_str());
        let fault = outcome.as_ref().err().and_then(|problem| problem.operator_message().map(str::to_owned));
        let dead_cookie = by_cookie.load(Ordering::Relaxed)
            && outcome.as_ref().is_err_and(|problem| problem.code.status() == StatusCode::UNAUTHORIZED);
        let outcome =
            outcome.map_err(|problem| if dead_cookie { problem.without_refresh_cookie() } else { problem });
        let mut response = outcome.map_or_else(
            |problem| problem.into_response(&self.platform.config().docs_url, &context.origin.request_id),
            Reply::into_response,
        );
        if method == Method::HEAD {
            response.body_mut().clear();
        }
        secure(response.headers_mut(), &context.origin.request_id);
        cors::expose(response.headers_mut(), readers);

        let answered = Answered {
            function: self.name,
            deployment: &self.platform.config().deployment,
            method: &method,
            route,
            status: response.status(),
            code,
            fault: fault.as_deref(),
            request_id: &context.origin.request_id,
            trace_id: context.trace_id.as_deref(),
            address: &context.origin.address.to_string(),
            refused_origin: refused_origin.as_deref(),
            at,
            duration: started.elapsed(),
            usage,
            cold_start: is_cold_start(),
            is_probe: context.is_probe,
            facts: &facts,
        };
        // What functions ask one another is no request of a caller: no figure and no alarm is about it.
        if internal {
            answered.log();
        } else {
            answered.report(self.platform.sink());
        }
        response
    }

    async fn dispatch(&self, request: Inbound, asked: Asked, readers: Readers<'_>) -> Result<Reply, Problem> {
        let Asked { mut context, origin, facts, by_cookie } = asked;
        let Some((path, parameters)) = self.find(&request) else {
            return Err(Problem::new(Code::NotFound));
        };
        if request.method == Method::OPTIONS {
            let headers = &self.platform.config().allowed_headers;
            return Ok(cors::preflight(&path.allow(), readers, headers));
        }
        let Some(handler) = path.handler(&request.method) else {
            let problem = Problem::new(Code::MethodNotAllowed);
            return Err(match HeaderValue::from_str(&path.allow()) {
                Ok(allow) => problem.header(header::ALLOW, allow),
                Err(_) => problem,
            });
        };
        if let Some(gate) = &self.gate {
            self.admit(gate, &mut context, &facts).await?;
        }
        if request.malformed {
            return Err(Problem::new(Code::MalformedRequest));
        }
        let Inbound { headers, body, .. } = request;
        if body.len() > body::MOST_BYTES {
            return Err(Problem::new(Code::PayloadTooLarge));
        }
        let call = Call { headers, context, facts, parameters, body, allowed_origin: origin, by_cookie };
        handler(call).await
    }

    /// The route of a request. The gateway says which one it found, whatever path the API is mounted under; where it does not
    /// say it, or matched a pattern of somebody else's, the path decides, without the stage that an HTTP API puts before it.
    fn find(&self, request: &Inbound) -> Option<(&Path, HashMap<String, String>)> {
        let by_path = |path: &str| {
            let matched = self.router.at(path).ok()?;
            let parameters = matched.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            Some((self.paths.get(*matched.value)?, parameters.collect()))
        };
        let found = by_path(&request.path);
        let resource = request.resource.as_deref();
        let named = self.paths.iter().find(|path| resource == Some(path.pattern));
        match (named, found) {
            (Some(named), Some((path, parameters))) if path.pattern == named.pattern => {
                Some((path, parameters))
            }
            (Some(named), _) => Some((named, request.parameters.clone())),
            (None, Some(found)) => Some(found),
            (None, None) => {
                let rest = request.path.strip_prefix('/')?.strip_prefix(request.stage.as_deref()?)?;
                by_path(rest)
            }
        }
    }

    /// Lets a request through to its handler, or refuses it before anything of its body is looked at.
    async fn admit(&self, gate: &Gate, context: &mut RequestContext, facts: &Facts) -> Result<(), Problem> {
        context.flags = self.platform.flags().await?;
        let now = self.platform.clock().now();
        context.flags.admit(gate, context.origin.address, now).map_err(|refusal| match refusal {
            Refusal::Blocked => Problem::new(Code::Blocked),
            Refusal::Maintenance { retry_after } => {
                facts.count("maintenance_refusals", 1);
                Problem::new(Code::Maintenance).retry_after(retry_after)
            }
            Refusal::Down { component, retry_after } => Problem::new(Code::DependencyUnavailable)
                .retry_after(retry_after)
                .operator(format!("{} is known to be down (sallyport mode status)", component.as_str())),
        })
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name)
            .field("routes", &self.routes())
            .finish_non_exhaustive()
    }
}

/// Headers of every answer (ASVS 3.4).
fn secure(headers: &mut HeaderMap, request_id: &str) {
    headers.insert(
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=63072000; includeSubDomains"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A page may have a policy of its own, for its style.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", request_id);
    }
}
