//! The command where it does not stand alone: behind a proxy, behind a relay that signs for everybody, among profiles.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::support::{Empty, Shell};

/// Names that no resolver knows: whoever reaches them went by the proxy.
const BEHIND: &str = "services.behind-the-proxy.example";

/// TLS before the embedded services, by an authority that nobody knows.
struct Relay {
    port: u16,
    authority: PathBuf,
}

impl Relay {
    async fn start(services: &str, directory: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let signed = params.self_signed(&authority_key)?;
        let authority = directory.join("authority.pem");
        std::fs::write(&authority, signed.pem())?;
        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), BEHIND.to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &signed, &authority_key)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let services = services.to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, services) = (acceptor.clone(), services.clone());
                tokio::spawn(async move {
                    let (mut near, mut far) =
                        (acceptor.accept(stream).await?, TcpStream::connect(services).await?);
                    let head = head(&mut near).await?;
                    far.write_all(head.replace(BEHIND, "localhost").as_bytes()).await?;
                    copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Ok(Self { port, authority })
    }
}

/// A proxy that keeps the first line of what it was asked, and takes everything to one place.
struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(tls: u16, plain: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, plain) = (Arc::clone(&asked), plain.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, format!("127.0.0.1:{tls}"), plain.clone(), Arc::clone(&heard)));
            }
        });
        Ok(Self { url, asked })
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn carry(
    mut near: TcpStream,
    tls: String,
    plain: String,
    heard: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let head = head(&mut near).await?;
    let (first, rest) = head.split_once("\r\n").unwrap();
    heard.lock().unwrap().push(first.to_owned());
    if first.starts_with("CONNECT ") {
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        return join(&mut near, &mut TcpStream::connect(tls).await?).await;
    }
    // Absolute form, as proxies are asked; the service wants the path alone.
    let mut words = first.split(' ');
    let (method, url) = (words.next().unwrap(), words.next().unwrap());
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let mut far = TcpStream::connect(plain).await?;
    let rest = rest.replace(BEHIND, "localhost");
    far.write_all(format!("{method} /{path} HTTP/1.1\r\n{rest}").as_bytes()).await?;
    join(&mut near, &mut far).await
}

/// The first line and the headers. The services take this machine's names alone, so what stands before them puts one there.
async fn head(near: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn join<A, B>(near: &mut A, far: &mut B) -> std::io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    copy_bidirectional(near, far).await.map(drop)
}

struct Place {
    empty: Empty,
    services: String,
    directory: tempfile::TempDir,
    relay: Relay,
}

impl Place {
    async fn start() -> anyhow::Result<Self> {
        let empty = Empty::start().await?;
        let services = empty.shell.environment["AWS_ENDPOINT_URL"].trim_start_matches("http://").to_owned();
        let directory = tempfile::tempdir()?;
        let relay = Relay::start(&services, directory.path()).await?;
        Ok(Self { empty, services, directory, relay })
    }

    /// A shell that knows the tables and has credentials, and no address.
    fn shell(&self) -> anyhow::Result<Shell> {
        let mut environment = self.empty.shell.environment.clone();
        environment.retain(|name, _| !name.starts_with("AWS_ENDPOINT"));
        Ok(Shell::new(environment)?
            .with("AWS_ACCESS_KEY_ID", "local")
            .with("AWS_SECRET_ACCESS_KEY", "local")
            .with("AWS_REGION", "us-east-1"))
    }

    fn authority(&self) -> String {
        self.relay.authority.display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_trusted_where_the_variable_or_the_profile_names_them() -> anyhow::Result<()> {
    let place = Place::start().await?;
    let line = format!("client list --endpoint https://localhost:{} --json", place.relay.port);

    let (code, message) = place.shell()?.run(&line)?.error(1)?;
    assert_eq!(code, "unreachable");
    assert!(message.contains(&format!("https://localhost:{}", place.relay.port)), "{message}");
    assert!(message.contains("AWS_CA_BUNDLE"), "{message}");

    let by_variable = place.shell()?.with("AWS_CA_BUNDLE", &place.authority());
    assert_eq!(by_variable.run(&line)?.json(0)?["clients"], serde_json::json!([]));

    let config = place.write("config", &format!("[default]\nca_bundle = {}\n", place.authority()))?;
    let by_profile = place.shell()?.with("AWS_CONFIG_FILE", &config);
    by_profile.run(&line)?.json(0)?;
    // An empty variable is none; one that names something wins.
    place.shell()?.with("AWS_CONFIG_FILE", &config).with("AWS_CA_BUNDLE", "").run(&line)?.json(0)?;
    let other = place.write("other", &format!("[profile other]\nca_bundle = {}\n", place.authority()))?;
    place.shell()?.with("AWS_CONFIG_FILE", &other).run(&line)?.error(1)?;
    place.shell()?.with("AWS_CONFIG_FILE", &other).run(&format!("{line} --profile other"))?.json(0)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_none_are_refused_by_name() -> anyhow::Result<()> {
    let place = Place::start().await?;
    let nothing = place.write("nothing.pem", "no certificate at all\n")?;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = place.write("broken.pem", broken)?;
    for path in ["/nowhere/ca.pem", &nothing, &broken] {
        let shell = place.shell()?.with("AWS_CA_BUNDLE", path);
        let (code, message) = shell.run("client list --endpoint https://localhost:1 --json")?.error(2)?;
        assert_eq!(code, "ca_bundle_unusable");
        assert!(message.starts_with("AWS_CA_BUNDLE: "), "{message}");
    }
    let config = place.write("config", &format!("[default]\nca_bundle = {nothing}\n"))?;
    let shell = place.shell()?.with("AWS_CONFIG_FILE", &config);
    let (code, message) = shell.run("client list --endpoint https://localhost:1 --json")?.error(2)?;
    assert_eq!(code, "ca_bundle_unusable");
    assert!(message.starts_with("ca_bundle of the profile: "), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_through_the_proxy_that_the_variables_name_and_past_it_where_they_say_so()
-> anyhow::Result<()> {
    let place = Place::start().await?;
    let proxy = Proxy::start(place.relay.port, &place.services).await?;
    let tunnelled = format!("client list --endpoint https://{BEHIND}:443 --json");
    let plain = format!("client list --endpoint http://{BEHIND}:8080 --json");
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let shell = place.shell()?.with(name, &proxy.url).with("AWS_CA_BUNDLE", &place.authority());
        shell.run(&tunnelled)?.json(0)?;
        assert_eq!(proxy.asked().first(), Some(&format!("CONNECT {BEHIND}:443 HTTP/1.1")), "{name}");
        // The one of the other scheme is not meant, and who is excepted goes straight.
        shell.run(&plain)?.error(1)?;
        shell.with("NO_PROXY", &format!("localhost,{BEHIND}")).run(&tunnelled)?.error(1)?;
        assert_eq!(proxy.asked(), [""; 0], "{name}");
    }
    for name in ["HTTP_PROXY", "http_proxy"] {
        let shell = place.shell()?.with(name, &proxy.url);
        shell.run(&plain)?.json(0)?;
        let asked = proxy.asked();
        assert!(asked[0].starts_with(&format!("POST http://{BEHIND}:8080/")), "{asked:?}");
    }
    Ok(())
}

/// Whoever is told that AWS does not answer looks at AWS, and not at the proxy that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_answer_is_named_without_its_password() -> anyhow::Result<()> {
    let place = Place::start().await?;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let proxy = format!("http://grace:proxy-password@{gone}");
    let shell = place.shell()?.with("HTTPS_PROXY", &proxy).with("AWS_CA_BUNDLE", &place.authority());
    for line in [
        format!("client list --endpoint https://{BEHIND}:443 --json"),
        format!("deploy verify --url https://{BEHIND}:443"),
    ] {
        let run = shell.run(&line)?;
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(run.code != 0 && told.contains(&format!(" by the proxy http://{gone}")), "{line}: {told}");
        assert!(!told.contains("proxy-password"), "{line}: {told}");
        let past = shell.environment.clone();
        let past = Shell::new(past)?.with("NO_PROXY", BEHIND).run(&line)?;
        assert!(!format!("{past:?}").contains("by the proxy"), "{line}: {past:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_this_machine_is_reached_past_every_proxy() -> anyhow::Result<()> {
    let place = Place::start().await?;
    let proxy = Proxy::start(place.relay.port, &place.services).await?;
    let shell = place.shell()?.with("HTTP_PROXY", &proxy.url).with("HTTPS_PROXY", &proxy.url);
    shell.run(&format!("client list --endpoint http://{} --json", place.services))?.json(0)?;
    assert_eq!(proxy.asked(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_not_there_is_named_beside_those_that_are() -> anyhow::Result<()> {
    let place = Place::start().await?;
    let config =
        place.write("config", "[default]\nregion = us-east-1\n[profile work]\nregion = us-east-1\n")?;
    let shell = place.shell()?.with("AWS_CONFIG_FILE", &config);
    let (code, message) = shell.run("client list --profile nope --json")?.error(2)?;
    assert_eq!(code, "no_profile");
    assert!(
        message.contains("no AWS profile nope") && message.contains("there are: default, work"),
        "{message}"
    );
    let (code, _) = place.shell()?.with("AWS_PROFILE", "nope").run("client list --json")?.error(2)?;
    assert_eq!(code, "no_profile");
    let endpoint = format!("--endpoint http://{}", place.services);
    shell.run(&format!("client list --profile work {endpoint} --json"))?.json(0)?;
    // Nobody need have one of that name.
    place.shell()?.run(&format!("client list --profile default {endpoint} --json"))?.json(0)?;
    Ok(())
}
