use axum::Router;
use http::Method;
use serde_json::json;

use super::*;
use crate::{loopback, stop};

/// Answers with what it was given.
struct Mirror;

impl Function for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn routes(&self) -> Vec<(Method, &'static str)> {
        vec![(Method::POST, "/mirror"), (Method::GET, "/break"), (Method::GET, "/cookies")]
    }

    fn invoke(&self, event: Value) -> Answer<'_> {
        Box::pin(async move {
            let method = json!([event["httpMethod"]]);
            Ok(match event["path"].as_str().unwrap() {
                "/break" => panic!("on purpose"),
                "/cookies" => json!({
                    "statusCode": 200, "multiValueHeaders": {"x-method": method, "set-cookie": ["a=1", "b=2"]},
                    "body": "/w==", "isBase64Encoded": true,
                }),
                _ => json!({
                    "statusCode": 200,
                    "headers": {"x-echo": event["headers"]["x-request-id"]},
                    "multiValueHeaders": {"x-method": method},
                    "body": event["body"], "isBase64Encoded": false,
                }),
            })
        })
    }
}

async fn serve() -> (String, stop::Stopper) {
    let listener = loopback::listen(loopback::ADDRESS, 0, "").await.unwrap();
    let address = listener.local_addr().unwrap();
    let functions: [Arc<dyn Function>; 1] = [Arc::new(Mirror)];
    let gateway = Gateway {
        routes: Routes::of(&functions).unwrap(),
        refusals: Refusals::of_the_stack("https://docs.example", &[]).unwrap(),
        clock: Arc::default(),
        lambda: Arc::default(),
        port: address.port(),
        access: Access::of_the_stack(Arc::default()).unwrap(),
        answers: None,
    };
    let router = Router::new().fallback(answer).with_state(Arc::new(gateway));
    let (stopper, stop) = stop::channel();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move {
        axum::serve(listener, service).with_graceful_shutdown(async move { stop.requested().await }).await
    });
    (format!("http://{address}"), stopper)
}

#[tokio::test]
async fn body_and_headers_go_there_and_back() {
    let (url, _stopper) = serve().await;
    let client = reqwest::Client::new();
    // A body that is not text goes to the function as base64, and what the function returns comes back as it returned it.
    for (body, back) in [(b"{\"a\":1}".to_vec(), "{\"a\":1}"), (vec![0xff, 0x00, 0x80], "/wCA")] {
        let request = client.post(format!("{url}/mirror")).header("x-request-id", "mine").body(body.clone());
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-echo"]),
            (200, &HeaderValue::from_static("mine"))
        );
        assert_eq!(response.text().await.unwrap(), back);
    }
}

#[tokio::test]
async fn a_header_with_two_values_stays_two() {
    let (url, _stopper) = serve().await;
    let response = reqwest::get(format!("{url}/cookies")).await.unwrap();
    assert_eq!(response.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    // The API declares no binary media types, so that nothing decodes base64.
    assert_eq!(response.text().await.unwrap(), "/w==");
}

#[tokio::test]
async fn an_unknown_route_and_a_known_one_with_a_wrong_method() {
    let (url, _stopper) = serve().await;
    let response = reqwest::get(format!("{url}/nowhere")).await.unwrap();
    assert_eq!(response.status(), 404);
    let id = response.headers()["x-amzn-requestid"].to_str().unwrap().to_owned();
    let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!((body["code"].as_str(), body["request_id"].as_str()), (Some("not_found"), Some(id.as_str())));
    let response = reqwest::Client::new().put(format!("{url}/cookies")).send().await.unwrap();
    assert_eq!(response.headers()["x-method"], "PUT");
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_and_one_at_the_limit_passes() {
    let (url, _stopper) = serve().await;
    let client = reqwest::Client::new();
    let post = |length: usize| {
        client.post(format!("{url}/mirror")).header("x-request-id", "x").body(vec![b'a'; length]).send()
    };
    assert_eq!(post(MAX_BODY).await.unwrap().status(), 200);
    assert_eq!(post(MAX_BODY + 1).await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_function_that_breaks_is_an_error_of_the_gateway() {
    let (url, _stopper) = serve().await;
    let response = reqwest::get(format!("{url}/break")).await.unwrap();
    assert_eq!(response.status(), 502);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}
