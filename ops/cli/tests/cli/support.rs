//! A backend, an operator's shell, and a user who signs in.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use local::{Dependencies, Options};
use sallyport_testkit::{Watched, secrets};
use serde_json::{Value, json};

/// An operator's shell: no variable but these, no home but an empty one.
pub(crate) struct Shell {
    pub(crate) environment: BTreeMap<String, String>,
    home: tempfile::TempDir,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The answer of a command that ended with `code`.
    pub(crate) fn json(&self, code: i32) -> anyhow::Result<Value> {
        ensure!(self.code == code, "{self:?}");
        serde_json::from_str(&self.stdout).with_context(|| format!("{self:?}"))
    }

    /// Code and message of a command that failed with `code`, in JSON.
    pub(crate) fn error(&self, code: i32) -> anyhow::Result<(String, String)> {
        ensure!(self.code == code && self.stdout.is_empty(), "{self:?}");
        let error: Value = serde_json::from_str(&self.stderr).with_context(|| format!("{self:?}"))?;
        let text = |name: &str| {
            error["error"][name].as_str().map(str::to_owned).with_context(|| format!("{self:?}"))
        };
        Ok((text("code")?, text("message")?))
    }
}

impl Shell {
    pub(crate) fn new(environment: BTreeMap<String, String>) -> anyhow::Result<Self> {
        Ok(Self { environment, home: tempfile::tempdir()? })
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Runs a line, split at spaces.
    pub(crate) fn run(&self, line: &str) -> anyhow::Result<Run> {
        self.run_with(line, "")
    }

    pub(crate) fn run_with(&self, line: &str, stdin: &str) -> anyhow::Result<Run> {
        secrets::password(stdin.trim_end());
        self.run_with_bytes(line, stdin.as_bytes())
    }

    pub(crate) fn run_with_bytes(&self, line: &str, stdin: &[u8]) -> anyhow::Result<Run> {
        line.split(' ').for_each(secrets::address);
        let mut child = Command::new(env!("CARGO_BIN_EXE_sallyport"))
            .args(line.split(' ').filter(|word| !word.is_empty()))
            .env_clear()
            .envs(&self.environment)
            .env("HOME", self.home.path())
            .env("USER", "grace")
            .env("HOSTNAME", "desk")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // A command that fails early closes its end: that is its right.
        drop(child.stdin.take().context("stdin")?.write_all(stdin));
        let output = child.wait_with_output()?;
        let stdout = String::from_utf8(output.stdout)?;
        if let Ok(told) = serde_json::from_str(&stdout) {
            secrets::note(&told);
        }
        let stderr = String::from_utf8(output.stderr)?;
        Ok(Run { code: output.status.code().context("killed")?, stdout, stderr })
    }
}

/// Database and keyring alone; the keyring is empty.
pub(crate) struct Empty {
    pub(crate) shell: Shell,
    pub(crate) _running: Dependencies,
}

impl Empty {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let running = Dependencies::start(Options { quiet: true, ..Options::default() }).await?;
        let environment = running
            .exports()
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        Ok(Self { shell: Shell::new(environment)?, _running: running })
    }

    /// With keys in the keyring.
    pub(crate) async fn filled() -> anyhow::Result<Self> {
        let empty = Self::start().await?;
        empty.shell.run("keys init --json")?.json(0)?;
        Ok(empty)
    }
}

/// The whole backend.
pub(crate) struct World {
    pub(crate) shell: Shell,
    url: String,
    http: reqwest::Client,
    _running: Watched,
}

pub(crate) const PASSWORD: &str = "correct horse battery staple";

impl World {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let world = Self::empty().await?;
        world.shell.run("keys init --json")?.json(0)?;
        Ok(world)
    }

    /// As it is when nobody has set it up.
    pub(crate) async fn empty() -> anyhow::Result<Self> {
        Self::with(Options::default()).await
    }

    /// As `cargo run -p local` starts it: with the schedules of the template.
    pub(crate) async fn scheduled() -> anyhow::Result<Self> {
        let providers = [("metrics_token".to_owned(), "local-metrics-token".to_owned())].into();
        Self::with(Options { schedules: true, providers, ..Options::default() }).await
    }

    async fn with(options: Options) -> anyhow::Result<Self> {
        let running = Watched::start(Options { quiet: true, ..options }).await?;
        let shell = Shell::new(running.environment().clone())?;
        Ok(Self { shell, url: running.url().to_owned(), http: reqwest::Client::new(), _running: running })
    }

    /// Another shell, in which one variable differs.
    pub(crate) fn shell_with(&self, name: &str, value: &str) -> anyhow::Result<Shell> {
        Ok(Shell::new(self.shell.environment.clone())?.with(name, value))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many wide events of a route the backend has written.
    pub(crate) async fn lines_with(&self, route: &str) -> anyhow::Result<usize> {
        let answer = self.http.get(format!("{}/_local/logs", self.url)).send().await?;
        let body: Value = answer.json().await?;
        let lines = body["lines"].as_array().context("no lines")?;
        let is_of_route =
            |entry: &&Value| entry["line"]["route"] == route && entry["line"].get("_aws").is_some();
        Ok(lines.iter().filter(is_of_route).count())
    }

    /// With Ada, who has a password.
    pub(crate) async fn with_ada() -> anyhow::Result<Self> {
        let world = Self::start().await?;
        world.shell.run_with("user create ada@example.com --password-stdin --json", PASSWORD)?.json(0)?;
        Ok(world)
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        bearer: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        secrets::note(body);
        let mut request = self.http.post(format!("{}{path}", self.url)).json(body);
        if let Some(token) = bearer {
            secrets::token(token);
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let answer = response.json().await.unwrap_or(Value::Null);
        // The `code` of a problem is no code of anybody's.
        if status < 400 {
            secrets::note(&answer);
        }
        Ok((status, answer))
    }

    /// Status of a sign-in from another address of this machine, such as 127.66.0.7.
    pub(crate) async fn sign_in_from(
        &self,
        address: &str,
        email: &str,
        password: &str,
    ) -> anyhow::Result<u16> {
        self.sign_in_with(address, &json!({"email": email, "password": password})).await
    }

    /// As above, with a body of one's own.
    pub(crate) async fn sign_in_with(&self, address: &str, body: &Value) -> anyhow::Result<u16> {
        let address: std::net::IpAddr = address.parse()?;
        let http = reqwest::Client::builder().no_proxy().local_address(address).build()?;
        // From an address of IPv4 the name's other address cannot be reached.
        let url = format!("{}/api/v1/auth/login", self.url.replace("localhost", "127.0.0.1"));
        secrets::note(body);
        Ok(http.post(url).json(body).send().await?.status().as_u16())
    }

    /// Status of an answer.
    pub(crate) async fn get(&self, path: &str, bearer: &str) -> anyhow::Result<u16> {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(bearer);
        Ok(request.send().await?.status().as_u16())
    }

    /// Status and answer of a sign-in.
    pub(crate) async fn sign_in(&self, password: &str) -> anyhow::Result<(u16, Value)> {
        self.post("/api/v1/auth/login", None, &json!({"email": "ada@example.com", "password": password}))
            .await
    }

    /// Status of a refresh.
    pub(crate) async fn refresh(&self, tokens: &Value) -> anyhow::Result<u16> {
        let body = json!({"refresh_token": tokens["refresh_token"]});
        Ok(self.post("/api/v1/auth/refresh", None, &body).await?.0)
    }

    /// The items of the Audit table.
    pub(crate) async fn audit(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.http.get(format!("{}/_local/tables/Audit", self.url)).send().await?;
        let body: Value = answer.json().await?;
        body["items"].as_array().cloned().context("no items")
    }

    /// How many requests of this id the backend's log tells of: the log of a process is one, whichever test began it.
    pub(crate) async fn logged(&self, id: &str) -> anyhow::Result<usize> {
        let answer = self.http.get(format!("{}/_local/logs", self.url)).send().await?;
        let body: Value = answer.json().await?;
        let lines = body["lines"].as_array().context("no lines")?;
        let of_request = |line: &&Value| {
            let line = &line["line"];
            line["request_id"] == id && line["route"].is_string() && line.get("_aws").is_none()
        };
        Ok(lines.iter().filter(of_request).count())
    }

    /// Breaks calls to come.
    pub(crate) async fn fault(&self, rule: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.post("/_local/faults", None, rule).await?;
        ensure!((200..300).contains(&status), "{status} {answer}");
        Ok(())
    }
}
