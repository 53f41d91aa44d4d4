//! Events of a REST API.

use serde_json::{Value, json};

/// A request with a JSON body.
pub(crate) fn post(path: &str, bearer: Option<&str>, body: &Value) -> Value {
    event("POST", path, bearer, Some(body))
}

pub(crate) fn get(path: &str, bearer: Option<&str>) -> Value {
    event("GET", path, bearer, None)
}

/// As large as API Gateway's: headers of a browser, the whole request context.
fn event(method: &str, path: &str, bearer: Option<&str>, body: Option<&Value>) -> Value {
    let mut headers = json!({
        "accept": "application/json",
        "accept-encoding": "gzip, deflate, br",
        "accept-language": "en-GB,en;q=0.9",
        "content-type": "application/json",
        "host": "abcdefghij.execute-api.eu-central-1.amazonaws.com",
        "origin": "https://app.example.com",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "x-amzn-trace-id": "Root=1-69248100-9d2a4b6c8e7f112233445566",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    });
    if let (Some(bearer), Some(headers)) = (bearer, headers.as_object_mut()) {
        headers.insert("authorization".to_owned(), json!(format!("Bearer {bearer}")));
    }
    let many: serde_json::Map<_, _> = headers
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), json!([value])))
        .collect();
    json!({
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": many,
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": null,
        "stageVariables": null,
        "requestContext": {
            "resourceId": "abc123",
            "resourcePath": path,
            "httpMethod": method,
            "extendedRequestId": "AbCdEfGhIjKlMn=",
            "requestTime": "23/Nov/2026:20:15:00 +0000",
            "path": format!("/prod{path}"),
            "accountId": "000000000000",
            "protocol": "HTTP/1.1",
            "stage": "prod",
            "domainPrefix": "abcdefghij",
            "requestTimeEpoch": 1_795_464_900_000_u64,
            "requestId": "0f8b3c1e-9d2a-4b6c-8e7f-112233445566",
            "identity": {
                "cognitoIdentityPoolId": null,
                "accountId": null,
                "cognitoIdentityId": null,
                "caller": null,
                "sourceIp": "192.0.2.7",
                "principalOrgId": null,
                "accessKey": null,
                "cognitoAuthenticationType": null,
                "cognitoAuthenticationProvider": null,
                "userArn": null,
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "user": null,
            },
            "domainName": "abcdefghij.execute-api.eu-central-1.amazonaws.com",
            "apiId": "abcdefghij",
        },
        "body": body.map(Value::to_string),
        "isBase64Encoded": false,
    })
}

/// A text of an answer.
pub(crate) fn text(answer: &Value, field: &str) -> anyhow::Result<String> {
    let text = answer.get(field).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no {field} in {answer}"))
}
