//! An answer as a function returns it to API Gateway.

use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use crate::inbound::Format;

/// The body goes out as the text that it is: the API declares no binary media types, so that API Gateway would hand on what was
/// encoded as base64 without decoding it.
pub(crate) fn returned(format: Format, response: Response<String>) -> Value {
    let (parts, body) = response.into_parts();
    let mut answer = Map::from_iter([
        ("statusCode".to_owned(), json!(parts.status.as_u16())),
        ("body".to_owned(), json!(body)),
        ("isBase64Encoded".to_owned(), json!(false)),
    ]);
    match format {
        Format::Rest => {
            answer.insert("multiValueHeaders".to_owned(), by_name(&parts.headers, |values| json!(values)));
        }
        Format::Http => {
            let mut headers = parts.headers;
            let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().map(text).collect();
            answer.insert("cookies".to_owned(), json!(cookies));
            headers.remove(header::SET_COOKIE);
            // One value a name, as HTTP joins them.
            answer.insert("headers".to_owned(), by_name(&headers, |values| json!(values.join(", "))));
        }
    }
    Value::Object(answer)
}

fn by_name(headers: &HeaderMap, value: fn(Vec<String>) -> Value) -> Value {
    let values = |name| headers.get_all(name).iter().map(text).collect();
    headers.keys().map(|name| (name.as_str().to_owned(), value(values(name)))).collect::<Map<_, _>>().into()
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
