//! Bodies: strict JSON, strict forms.

use http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::problem::{Code, FieldError, Problem};

/// Larger bodies are refused unread.
pub(crate) const MOST_BYTES: usize = 16 * 1024;

/// Reads a JSON object. Unknown fields, wrong types and duplicate keys are refused: the type says so with
/// `deny_unknown_fields`, the rest is serde's own.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    require_type(headers, "application/json")?;
    // serde reads an array as a struct whose fields stand in their order: not here.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::new(Code::MalformedRequest));
    }
    // serde does not look into the text of a field that it is about to refuse.
    let body = std::str::from_utf8(body).map_err(|_| Problem::new(Code::MalformedRequest))?;
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let parsed: T = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner())
    })?;
    deserializer.end().map_err(|_| Problem::new(Code::MalformedRequest))?;
    Ok(parsed)
}

/// Reads `application/x-www-form-urlencoded` (RFC 7009 and RFC 7662 2.1).
pub(crate) fn form<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    require_type(headers, "application/x-www-form-urlencoded")?;
    serde_urlencoded::from_bytes(body).map_err(|_| Problem::new(Code::MalformedRequest))
}

fn require_type(headers: &HeaderMap, expected: &str) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    // Two types are none: whoever reads the other one sees another body.
    let given = types.next().filter(|_| types.next().is_none());
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (essence, parameters) =
        given.split_once(';').map_or((given, ""), |(essence, rest)| (essence, rest.trim()));
    let charset = parameters.replace('"', "");
    let utf8 = charset.is_empty() || charset.eq_ignore_ascii_case("charset=utf-8");
    if essence.trim().eq_ignore_ascii_case(expected) && utf8 {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType))
    }
}

/// Says which field is wrong and how, in words of ours: serde's would repeat the value, which may be a password.
fn explain(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::new(Code::MalformedRequest);
    }
    // The path names the field. serde tells the kind, and which field is missing, in its message alone: the tests below hold
    // its words.
    let message = error.to_string();
    let (code, detail) = if message.starts_with("missing field") {
        ("missing", "This field is required.")
    } else if message.starts_with("unknown field") {
        ("unknown", "This field is not known here.")
    } else if path == "." || message.starts_with("duplicate field") {
        // The body itself is an array, a string, a number; or parsers would disagree about what it says.
        return Problem::new(Code::MalformedRequest);
    } else {
        ("invalid", "This field does not have the type or form that it should have.")
    };
    let missing = message.split('`').nth(1).filter(|_| code == "missing");
    let field: String = missing.unwrap_or(path).chars().take(64).collect();
    let mut problem = Problem::new(Code::ValidationFailed);
    problem.errors.push(FieldError { field, code, detail });
    problem
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it reads is of interest")]
    struct Sample {
        email: String,
        password: String,
        scope: Option<String>,
    }

    type Refusal = (Code, Vec<(String, &'static str)>);

    fn outcome(content_type: &str, body: &str) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(content_type) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        json::<Sample>(&headers, body.as_bytes()).map(drop).map_err(|problem| {
            (problem.code, problem.errors.into_iter().map(|error| (error.field, error.code)).collect())
        })
    }

    #[test]
    fn each_fault_of_a_body_is_named() {
        let one = |field: &str, code| Err((Code::ValidationFailed, vec![(field.to_owned(), code)]));
        let json = |body| outcome("application/json", body);
        assert_eq!(json(r#"{"email":"a","password":"b"}"#), Ok(()));
        assert_eq!(json(r#"{"email":"a"}"#), one("password", "missing"));
        assert_eq!(json(r#"{"email":"a","password":"b","admin":true}"#), one("admin", "unknown"));
        assert_eq!(json(r#"{"email":["a"],"password":"b"}"#), one("email", "invalid"));
        assert_eq!(json(r#"{"email":null,"password":"b"}"#), one("email", "invalid"));
        let twice = r#"{"email":"a","email":"c","password":"b"}"#;
        for body in [
            twice,
            "",
            "{",
            "[]",
            r#"["a","b"]"#,
            r#"[{"email":"a","password":"b"}]"#,
            "\"x\"",
            "1",
            "null",
            r#"{"email":"a","password":"b"} x"#,
            "{\"email\":\"\u{0}\"}",
        ] {
            assert_eq!(json(body), Err((Code::MalformedRequest, vec![])), "{body:?}");
        }
    }

    #[test]
    fn only_json_in_utf_8_is_json() {
        let body = r#"{"email":"a","password":"b"}"#;
        for good in
            ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""]
        {
            assert_eq!(outcome(good, body), Ok(()), "{good}");
        }
        for bad in ["", "text/plain", "application/jsonx", "application/json; charset=latin1"] {
            assert_eq!(outcome(bad, body), Err((Code::UnsupportedMediaType, vec![])), "{bad}");
        }
    }
}
