//! Public keys, discovery and the API's description.

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet},
};

use crate::prelude::*;

const JWKS: &str = "/.well-known/jwks.json";
/// RFC 8414, and where verifiers of OpenID Connect look for the same.
const METADATA: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

async fn jwks(backend: &Backend) -> Result<(Value, JwkSet)> {
    let answer = backend.actor().get(JWKS).await?.expect(200)?;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    Ok((answer.json(), serde_json::from_slice(&answer.body)?))
}

/// Verifies as docs/API.md tells clients to.
async fn verify(backend: &Backend, token: &str, algorithm: Algorithm) -> Result<Value> {
    let header = decode_header(token)?;
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(header.alg, algorithm);
    let (_, keys) = jwks(backend).await?;
    let key: &Jwk = keys.find(&header.kid.context("no kid")?).context("the kid is not published")?;
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[backend.issuer()]);
    validation.set_audience(&["sallyport"]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    Ok(decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation)?.claims)
}

#[tokio::test]
async fn a_client_verifies_access_tokens_with_the_published_keys() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    let claims = verify(&backend, &session.access_token, Algorithm::ES256).await?;
    assert_eq!(claims["sub"], account.user_id);
    let pending = {
        let account = backend.account_with_totp().await?;
        backend.actor().begin_log_in(&account).await?
    };
    assert_eq!(decode_header(&pending.mfa_token)?.typ.as_deref(), Some("mfa+jwt"));
    Ok(())
}

#[tokio::test]
async fn a_deployment_may_sign_with_rsa() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_SIGNING_ALGORITHM", "RS256")]).await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    verify(&backend, &session.access_token, Algorithm::RS256).await?;
    let (keys, _) = jwks(&backend).await?;
    assert_eq!((&keys["keys"][0]["kty"], &keys["keys"][0]["alg"]), (&json!("RSA"), &json!("RS256")));
    let modulus = keys["keys"][0]["n"].as_str().unwrap();
    assert_eq!(modulus.len(), 512, "3072 bits");
    Ok(())
}

#[tokio::test]
async fn the_published_keys_hold_nothing_private() -> Result<()> {
    let backend = Backend::start().await?;
    let (keys, _) = jwks(&backend).await?;
    for key in keys["keys"].as_array().unwrap() {
        let names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!(
            (&key["use"], &key["alg"], &key["crv"]),
            (&json!("sig"), &json!("ES256"), &json!("P-256"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn all_functions_sign_with_the_one_keyring() -> Result<()> {
    let backend = Backend::start().await?;
    let (keys, _) = jwks(&backend).await?;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    let account = backend.account_with_totp().await?;
    let mut session =
        backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    let by_mfa = decode_header(&session.access_token)?.kid;
    session.refresh().await?;
    let by_refresh = decode_header(&session.access_token)?.kid;
    session.reauthenticate(&json!({"password": account.password})).await?;
    let by_login = decode_header(&session.access_token)?.kid;
    assert_eq!([&by_mfa, &by_refresh], [&by_login, &by_login]);
    assert_eq!(keys["keys"][0]["kid"], by_login.unwrap());
    Ok(())
}

#[tokio::test]
async fn everything_that_discovery_says_is_true_and_nothing_is_said_of_what_is_not_there() -> Result<()> {
    let backend = Backend::start().await?;
    let answer = backend.actor().get(METADATA[0]).await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let said = answer.json();
    assert_eq!(backend.actor().get(METADATA[1]).await?.expect(200)?.json(), said);
    assert_eq!(said["issuer"], backend.issuer());
    let url = |name: &str| said[name].as_str().unwrap().strip_prefix(backend.issuer()).unwrap().to_owned();

    let keys = backend.actor().get(&url("jwks_uri")).await?.expect(200)?;
    assert!(keys.field("keys").is_array());
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let client = backend.client().await?;
    for name in ["introspection", "revocation"] {
        let methods = &said[format!("{name}_endpoint_auth_methods_supported")];
        assert_eq!(methods, &json!(["client_secret_basic", "client_secret_post"]));
        let ask = || backend.actor().ask("POST", &url(&format!("{name}_endpoint")));
        let token = ("token", "unknown");
        ask().basic(&client).form(&[token]).send().await?.expect(200)?;
        let posted = [token, ("client_id", client.id.as_str()), ("client_secret", client.secret.as_str())];
        ask().form(&posted).send().await?.expect(200)?;
    }
    let mut claims: Vec<_> = session.claims().as_object().unwrap().keys().cloned().collect();
    claims.sort();
    let mut supported: Vec<String> = serde_json::from_value(said["claims_supported"].clone())?;
    supported.sort();
    assert_eq!(supported, claims);
    assert_eq!(said["scopes_supported"], json!([session.claims()["scope"]]));
    // Whatever else stands there was not looked at above: it would be a claim that nobody holds.
    let looked_at = [
        "claims_supported",
        "introspection_endpoint",
        "introspection_endpoint_auth_methods_supported",
        "issuer",
        "jwks_uri",
        "revocation_endpoint",
        "revocation_endpoint_auth_methods_supported",
        "scopes_supported",
    ];
    let named: Vec<_> = said.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(named, looked_at);
    // RFC 8414 3.2: a list without elements is left out.
    assert!(said.as_object().unwrap().values().all(|value| value != &json!([])));
    Ok(())
}

#[tokio::test]
async fn the_served_description_is_the_file_with_the_issuer_as_its_server() -> Result<()> {
    let file: Value = serde_json::from_str(include_str!("../../functions/keys/openapi.json"))?;
    for issuer in [None, Some("https://id.example.com/prod"), Some("https://id.example.com/\"quoted\"")] {
        let settings: Vec<_> = issuer.into_iter().map(|issuer| ("SALLYPORT_ISSUER", issuer)).collect();
        let backend = Backend::with(&settings).await?;
        let answer = backend.actor().get("/openapi.json").await?.expect(200)?;
        assert_eq!(answer.header("content-type"), "application/json");
        let mut served = answer.json();
        let servers = served["servers"].as_array().unwrap().clone();
        assert_eq!(servers.len(), 1);
        assert_eq!(servers[0]["url"], issuer.unwrap_or(backend.issuer()));
        served["servers"] = file["servers"].clone();
        assert_eq!(served, file);
    }
    Ok(())
}

#[tokio::test]
async fn the_description_describes_every_route() -> Result<()> {
    let backend = Backend::start().await?;
    let paths = backend.actor().get("/openapi.json").await?.expect(200)?.field("paths");
    let mut described = Vec::new();
    for (path, operations) in paths.as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            if operations.get(method).is_some() {
                described.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    described.sort();
    let mut served: Vec<_> =
        local::routes()?.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    served.sort();
    assert_eq!(described, served);
    Ok(())
}

/// Tests are named as `path::name`.
#[test]
fn the_tests_that_the_documents_name_exist() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut named = 0;
    let documents =
        ["README.md", "CONTRIBUTING.md", "docs/SECURITY.md", "docs/ARCHITECTURE.md", "docs/COST.md"];
    let mut documents = documents.map(str::to_owned).to_vec();
    for decision in std::fs::read_dir(root.join("docs/decisions"))? {
        documents.push(format!("docs/decisions/{}", decision?.file_name().to_string_lossy()));
    }
    let map = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md"))?;
    for document in &documents {
        let decision = document.strip_prefix("docs/").filter(|path| path.starts_with("decisions/"));
        assert!(
            decision.is_none_or(|path| map.contains(&format!("]({path})"))),
            "{document} is not in the map"
        );
    }
    for document in &documents {
        let text = std::fs::read_to_string(root.join(document))?;
        for span in text.split('`').skip(1).step_by(2) {
            let Some((path, name)) = span.split_once("::") else { continue };
            let definition = match path.rsplit_once('.') {
                Some((_, "rs")) => format!("fn {name}("),
                Some((_, "py")) => format!("def {name}("),
                _ => continue,
            };
            let source = std::fs::read_to_string(root.join(path))
                .with_context(|| format!("{document} names {span}"))?;
            assert!(source.contains(&definition), "{document} names {span}");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");

    let table = std::fs::read_to_string(root.join("docs/SECURITY.md"))?;
    let (_, table) = table.split_once("## Promise and tests").context("the table of promises")?;
    for promise in 1..=10 {
        assert!(table.lines().any(|row| row.starts_with(&format!("| {promise} "))), "promise {promise}");
    }
    Ok(())
}
