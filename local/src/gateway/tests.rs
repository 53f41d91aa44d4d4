use axum::Router;
use http::Method;

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

    fn handle(&self, request: lambda_http::Request) -> Answer<'_> {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let response = lambda_http::Response::builder().header("x-method", request.method().as_str());
            match path.as_str() {
                "/local/break" => panic!("on purpose"),
                "/local/cookies" => response
                    .header("set-cookie", "a=1")
                    .header("set-cookie", "b=2")
                    .body(lambda_http::Body::Binary(vec![0xff])),
                _ => response
                    .header("x-echo", request.headers()["x-request-id"].clone())
                    .body(request.into_body()),
            }
            .unwrap()
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
    for body in [b"{\"a\":1}".to_vec(), vec![0xff, 0x00, 0x80]] {
        let request = client.post(format!("{url}/mirror")).header("x-request-id", "mine").body(body.clone());
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-echo"]),
            (200, &HeaderValue::from_static("mine"))
        );
        assert_eq!(response.bytes().await.unwrap(), body);
    }
}

#[tokio::test]
async fn a_header_with_two_values_stays_two() {
    let (url, _stopper) = serve().await;
    let response = reqwest::get(format!("{url}/cookies")).await.unwrap();
    assert_eq!(response.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(response.bytes().await.unwrap(), vec![0xff]);
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
