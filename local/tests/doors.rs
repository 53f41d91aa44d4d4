//! Every port of the local backend, asked by everybody who can reach it: this machine's programs, its own pages, others' pages.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic, and should say where"
)]

use local::{Backend, Options};
use reqwest::{Client, Method, StatusCode};

/// A kind of endpoint: how it is asked, and whether the function's own rules decide about pages.
struct Family {
    name: &'static str,
    method: Method,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

const fn family(
    name: &'static str,
    method: Method,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Family {
    Family { name, method, path, headers, body }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
const SIGNED: (&str, &str) = (
    "authorization",
    "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=b",
);
const DATE: (&str, &str) = ("x-amz-date", "20260101T000000Z");

/// The API: as in the cloud the functions decide which pages may read their answers.
fn of_the_api() -> Vec<Family> {
    vec![
        family("health", Method::GET, "/health/live", &[], ""),
        family("keys", Method::GET, "/.well-known/jwks.json", &[], ""),
        family("login", Method::POST, "/api/v1/auth/login", JSON, "{}"),
        family("introspection", Method::POST, "/oauth/introspect", FORM, "token=x"),
        family("a simple post", Method::POST, "/api/v1/auth/login", &[("content-type", "text/plain")], "{}"),
        family(
            "preflight",
            Method::OPTIONS,
            "/api/v1/auth/login",
            &[("access-control-request-method", "POST")],
            "",
        ),
        family("nowhere", Method::GET, "/nowhere", &[], ""),
    ]
}

/// What no page of another server may ask.
fn of_the_console() -> Vec<Family> {
    let names = [
        "outbox",
        "tables/Users",
        "logs",
        "access",
        "clock",
        "calls",
        "faults",
        "keyring/faults",
        "metrics",
        "functions/faults",
        "deployments",
    ];
    let paths = names.map(|name| &*Box::leak(format!("/_local/{name}").into_boxed_str()));
    let mut families = Vec::from(paths.map(|path| family("console", Method::GET, path, &[], "")));
    families.extend([
        family("console", Method::POST, "/_local/invoke/keys", JSON, "{\"rawPath\":\"/\"}"),
        family("console", Method::POST, "/_local/rotate", &[], "{\"steps\":[]}"),
        family("console", Method::POST, "/_local/clock", JSON, "{\"advance_seconds\":0}"),
        family("console", Method::DELETE, "/_local/faults", &[], ""),
    ]);
    families
}

fn of_the_services() -> Vec<Family> {
    const DYNAMODB: &[(&str, &str)] = &[
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "DynamoDB_20120810.Scan"),
        SIGNED,
        DATE,
    ];
    const SECRETS: &[(&str, &str)] =
        &[("content-type", "text/plain"), ("x-amz-target", "secretsmanager.GetSecretValue")];
    const CODEDEPLOY: &[(&str, &str)] =
        &[("x-amz-target", "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus")];
    const FUNCTION: &str = "/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:sallyport-local-keys:1/invocations";
    vec![
        family("database", Method::POST, "/", DYNAMODB, "{\"TableName\":\"sallyport-local-users\"}"),
        family("secrets", Method::POST, "/", SECRETS, "{\"SecretId\":\"sallyport-local-keyring\"}"),
        family("topics", Method::POST, "/", FORM, "Action=ListSubscriptionsByTopic&TopicArn=x"),
        family(
            "invocations",
            Method::POST,
            FUNCTION,
            &[("content-type", "text/plain")],
            "{\"rawPath\":\"/\"}",
        ),
        family("deployments", Method::POST, "/", CODEDEPLOY, "{}"),
        family(
            "preflight",
            Method::OPTIONS,
            "/",
            &[("access-control-request-method", "POST"), ("access-control-request-headers", "x-amz-target")],
            "",
        ),
        family("liveness", Method::GET, "/", &[], ""),
    ]
}

async fn ask(
    client: &Client,
    base: &str,
    family: &Family,
    host: Option<&str>,
    page: &[(&str, &str)],
) -> (StatusCode, Option<String>, String) {
    let mut request =
        client.request(family.method.clone(), format!("{base}{}", family.path)).body(family.body);
    for (name, value) in family.headers.iter().chain(page) {
        request = request.header(*name, *value);
    }
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let answer = request.send().await.unwrap();
    let readable_by =
        answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
    (answer.status(), readable_by, answer.text().await.unwrap())
}

fn quiet() -> Options {
    Options { quiet: true, ..Options::default() }
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_answers_this_machine_and_no_page_of_another_site() {
    let backend = Backend::start(quiet()).await.unwrap();
    let client = Client::new();
    let (api, services) = (port(backend.url()), port(backend.dynamodb_url()));
    let console = (api, of_the_console(), false);
    for (port, families, pages_are_the_functions) in
        [(api, of_the_api(), true), console, (services, of_the_services(), false)]
    {
        let base = format!("http://127.0.0.1:{port}");
        for family in families {
            let name = format!("{} {} {}", family.name, family.method, family.path);
            let own = format!("http://localhost:{port}");
            let (status, ..) = ask(&client, &base, &family, None, &[]).await;
            assert_ne!(status, StatusCode::FORBIDDEN, "{name}: a program of this machine");
            for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
                let (status, ..) = ask(&client, &base, &family, Some(&host), &[("origin", &own)]).await;
                assert_ne!(status, StatusCode::FORBIDDEN, "{name}: an own page");
            }
            // DNS rebinding: the page's own name leads here, and the browser takes it for the page's own server.
            let rebound = format!("rebound.example:{port}");
            for page in [vec![], vec![("origin", format!("http://{rebound}"))]] {
                let page: Vec<_> = page.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let (status, readable_by, body) = ask(&client, &base, &family, Some(&rebound), &page).await;
                assert_eq!(
                    (status, readable_by),
                    (StatusCode::FORBIDDEN, None),
                    "{name}: rebound {page:?} {body}"
                );
            }
            for origin in [
                "https://evil.example",
                "null",
                "http://localhost:5173",
                "http://127.0.0.1:1",
                &format!("http://evil.example:{port}"),
            ] {
                let (status, readable_by, body) =
                    ask(&client, &base, &family, None, &[("origin", origin)]).await;
                assert_ne!(readable_by.as_deref(), Some(origin), "{name}: {origin}");
                if pages_are_the_functions {
                    // Nothing that a page sends without asking first does anything.
                    assert!(
                        family.method == Method::GET
                            || !status.is_success()
                            || family.method == Method::OPTIONS,
                        "{name}: {origin} {body}"
                    );
                } else {
                    assert_eq!(
                        (status, readable_by),
                        (StatusCode::FORBIDDEN, None),
                        "{name}: {origin} {body}"
                    );
                }
            }
            if !pages_are_the_functions {
                for site in ["cross-site", "same-site"] {
                    let (status, ..) = ask(&client, &base, &family, None, &[("sec-fetch-site", site)]).await;
                    assert_eq!(
                        status,
                        StatusCode::FORBIDDEN,
                        "{name}: an image or a script of a {site} page"
                    );
                }
            }
        }
    }
}

/// What this process listens on, as the system tells it.
#[cfg(target_os = "linux")]
fn listeners() -> Vec<std::net::SocketAddr> {
    use std::{
        fs,
        net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    };

    let own: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for (file, six) in [("/proc/self/net/tcp", false), ("/proc/self/net/tcp6", true)] {
        for line in fs::read_to_string(file).unwrap_or_default().lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            // 0A is LISTEN.
            if fields[3] != "0A" || !own.iter().any(|inode| inode == fields[9]) {
                continue;
            }
            let (address, port) = fields[1].split_once(':').unwrap();
            let port = u16::from_str_radix(port, 16).unwrap();
            let words: Vec<u8> = (0..address.len() / 8)
                .flat_map(|word| {
                    u32::from_str_radix(&address[word * 8..word * 8 + 8], 16).unwrap().to_ne_bytes()
                })
                .collect();
            found.push(if six {
                SocketAddr::from((Ipv6Addr::from(<[u8; 16]>::try_from(words).unwrap()), port))
            } else {
                SocketAddr::from((Ipv4Addr::from(<[u8; 4]>::try_from(words).unwrap()), port))
            });
        }
    }
    found
}

/// The embedded database lets every page read its answers. Nothing in front of it helps whoever finds its own port.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_listens_where_a_page_would_look_but_the_ports_that_are_told() {
    let backend = Backend::start(quiet()).await.unwrap();
    let told = [port(backend.url()), port(backend.dynamodb_url())];
    let listeners = listeners();
    if listeners.is_empty() {
        eprintln!("this system does not tell what a process listens on: not checked");
        return;
    }
    assert!(listeners.len() > 4, "{listeners:?}");
    for listener in listeners {
        assert!(listener.ip().is_loopback(), "{listener}");
        let known = ["127.0.0.1", "::1"].iter().any(|address| listener.ip().to_string() == *address);
        assert_eq!(known, told.contains(&listener.port()), "{listener}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_addresses_of_loopback_answer_at_the_same_port() {
    let backend = Backend::start(quiet()).await.unwrap();
    let mut hosts = vec!["127.0.0.1"];
    match std::net::TcpListener::bind("[::1]:0") {
        Ok(_) => hosts.push("[::1]"),
        Err(error) => eprintln!("there is no IPv6 here ({error}): only 127.0.0.1 was asked"),
    }
    for host in hosts {
        let live = format!("http://{host}:{}/health/live", port(backend.url()));
        assert_eq!(reqwest::get(live).await.unwrap().status(), 200, "{host}");
        let services = format!("http://{host}:{}/", port(backend.dynamodb_url()));
        assert_eq!(reqwest::get(services).await.unwrap().status(), 200, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_has_one_owner_and_its_files_are_for_that_user_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    // As a release before left it.
    std::fs::write(data.join("dynamodb.sqlite"), "").unwrap();
    let options = || Options { data: Some(data.clone()), demo: true, ..quiet() };
    let first = Backend::start(options()).await.unwrap();
    for _ in 0..2 {
        let refused = Backend::start(options()).await.unwrap_err().to_string();
        assert!(refused.contains("is in use by another local backend"), "{refused}");
        let refused = local::Dependencies::start(options()).await.unwrap_err().to_string();
        assert!(refused.contains("is in use by another local backend"), "{refused}");
    }
    #[cfg(unix)]
    for entry in std::fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions()) & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
    let live = format!("{}/health/live", first.url());
    assert_eq!(reqwest::get(live).await.unwrap().status(), 200);
    first.stop().await;
    Backend::start(options()).await.unwrap().stop().await;
}
