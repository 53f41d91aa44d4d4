//! What API Gateway answers itself, as `template.yaml` words it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode},
};
use sallyport_core::web::WebOrigin;
use yaml_rust2::{Yaml, YamlLoader};

const TEMPLATE: &str = include_str!("../../../template.yaml");

/// Why the gateway answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    UnknownRoute,
    Malformed,
    TooLarge,
    /// The function broke.
    Broken,
    /// Lambda refused the call.
    Throttled,
    /// The function did not answer in time.
    TimedOut,
}

impl Refusal {
    /// The response type of the template, and the status that API Gateway gives it unless the template says otherwise.
    pub(super) const fn response_type(self) -> (&'static str, StatusCode) {
        match self {
            Self::UnknownRoute => ("MISSING_AUTHENTICATION_TOKEN", StatusCode::FORBIDDEN),
            Self::Malformed => ("DEFAULT_4XX", StatusCode::BAD_REQUEST),
            Self::TooLarge => ("REQUEST_TOO_LARGE", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Broken => ("DEFAULT_5XX", StatusCode::BAD_GATEWAY),
            Self::Throttled => ("DEFAULT_5XX", StatusCode::INTERNAL_SERVER_ERROR),
            Self::TimedOut => ("INTEGRATION_TIMEOUT", StatusCode::GATEWAY_TIMEOUT),
        }
    }
}

/// The template's gateway responses.
#[derive(Debug)]
pub(crate) struct Refusals(BTreeMap<Refusal, Wording>);

#[derive(Debug)]
struct Wording {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Refusals {
    /// Reads the template as deployed with these parameters: `docs_url` is the base of the error pages, `origins` are those
    /// that are allowed.
    ///
    /// # Errors
    /// When a response that is needed here is missing or misshapen.
    pub(crate) fn of_the_stack(docs_url: &str, origins: &[WebOrigin]) -> anyhow::Result<Self> {
        let documents = YamlLoader::load_from_str(TEMPLATE).context("template.yaml")?;
        let document = documents.first().context("template.yaml is empty")?;
        let origins: Vec<_> = origins.iter().map(|origin| origin.as_str().to_owned()).collect();
        let responses = &document["Resources"]["Api"]["Properties"]["GatewayResponses"];
        let all = [
            Refusal::UnknownRoute,
            Refusal::Malformed,
            Refusal::TooLarge,
            Refusal::Broken,
            Refusal::Throttled,
            Refusal::TimedOut,
        ];
        let read = |refusal: Refusal| {
            let (name, status) = refusal.response_type();
            let wording = wording(&responses[name], status, docs_url, &origins);
            Ok((refusal, wording.with_context(|| format!("template.yaml, gateway response {name}"))?))
        };
        Ok(Self(all.into_iter().map(read).collect::<anyhow::Result<_>>()?))
    }

    /// The status that CloudWatch counts it by. "API Gateway counts modified gateway response status codes as 4XXError errors": a
    /// fault whose status the template changed would be nobody's.
    pub(super) fn counted_as(&self, refusal: Refusal) -> u16 {
        let (_, default) = refusal.response_type();
        let is_modified = self.0.get(&refusal).is_some_and(|wording| wording.status != default);
        if is_modified { StatusCode::BAD_REQUEST.as_u16() } else { default.as_u16() }
    }

    pub(crate) fn response(&self, refusal: Refusal, request_id: &str) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let Some(wording) = self.0.get(&refusal) else { return response };
        *response.status_mut() = wording.status;
        for (name, expression) in &wording.headers {
            let value = match expression.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
                Some(literal) => literal,
                None => request_id,
            };
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        *response.body_mut() = Body::from(wording.body.replace("$context.requestId", request_id));
        response
    }
}

fn wording(
    response: &Yaml,
    status: StatusCode,
    docs_url: &str,
    origins: &[String],
) -> anyhow::Result<Wording> {
    let body = response["ResponseTemplates"]["application/json"].as_str().context("has no body")?;
    let headers = response["ResponseParameters"]["Headers"].as_hash().context("has no headers")?;
    let headers = headers.iter().filter_map(|(name, value)| header(name, value, origins).transpose());
    let status = match response["StatusCode"].as_i64() {
        Some(code) => StatusCode::from_u16(u16::try_from(code)?)?,
        None => status,
    };
    Ok(Wording {
        status,
        headers: headers.collect::<anyhow::Result<_>>()?,
        body: body.replace("${DocsUrl}", docs_url),
    })
}

/// A header with the expression of its value, or none where the parameters leave it out.
fn header(name: &Yaml, value: &Yaml, origins: &[String]) -> anyhow::Result<Option<(HeaderName, String)>> {
    let name: HeaderName = name.as_str().context("a header has no name")?.parse()?;
    let mut value = value;
    // `!If [CONDITION, THEN, ELSE]`: the reader drops the tag and keeps the list.
    while let Some(choice) = value.as_vec() {
        let [condition, then, otherwise] = choice.as_slice() else {
            anyhow::bail!("header {name}: no choice of two");
        };
        let holds = match condition.as_str() {
            Some("HasOrigins") => !origins.is_empty(),
            Some("OneOrigin") => origins.len() == 1,
            other => anyhow::bail!("header {name}: condition {other:?}"),
        };
        value = if holds { then } else { otherwise };
    }
    let value = value.as_str().with_context(|| format!("header {name} has no value"))?;
    if value == "AWS::NoValue" {
        return Ok(None);
    }
    // The two forms that are understood here.
    anyhow::ensure!(value.starts_with('\'') || value == "context.requestId", "header {name}: {value}");
    Ok(Some((name, value.replace("${AllowedOrigins}", &origins.join(",")))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_route_is_the_templates_not_found() {
        let refusals = Refusals::of_the_stack("https://docs.example", &[]).unwrap();
        let response = refusals.response(Refusal::UnknownRoute, "the-id");
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["x-request-id"], "the-id");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "https://docs.example/not_found.md");
        assert_eq!((&body["code"], &body["status"]), (&"not_found".into(), &404.into()));
        assert_eq!(body["request_id"], "the-id");
    }

    #[test]
    fn every_refusal_has_the_status_of_its_kind() {
        let refusals = Refusals::of_the_stack("", &[]).unwrap();
        let status = |refusal| refusals.response(refusal, "id").status().as_u16();
        assert_eq!(status(Refusal::Malformed), 400);
        assert_eq!(status(Refusal::TooLarge), 413);
        assert_eq!(status(Refusal::Broken), 502);
        assert_eq!(status(Refusal::Throttled), 500);
        assert_eq!(status(Refusal::TimedOut), 504);
    }

    #[test]
    fn a_page_reads_a_refusal_where_its_origin_is_allowed() {
        let given = |origins: &[&str]| {
            let origins: Vec<WebOrigin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
            let response = Refusals::of_the_stack("", &origins).unwrap().response(Refusal::TimedOut, "id");
            let header =
                |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header("vary").as_deref(), Some("Origin"));
            assert_eq!(header("retry-after").as_deref(), Some("1"));
            (
                header("access-control-allow-origin"),
                header("access-control-allow-credentials"),
                header("access-control-expose-headers").is_some_and(|names| names.contains("Retry-After")),
            )
        };
        let one = Some("https://one.example".to_owned());
        assert_eq!(given(&[]), (None, None, false));
        assert_eq!(given(&["https://one.example"]), (one, Some("true".to_owned()), true));
        assert_eq!(
            given(&["https://one.example", "https://two.example"]),
            (Some("*".to_owned()), None, true)
        );
    }
}
