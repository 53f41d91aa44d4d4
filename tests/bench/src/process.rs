//! Child processes: started, watched, ended.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

pub(crate) type Environment = BTreeMap<String, String>;

/// A process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Time on a processor by the name of the thread, in nanoseconds, exact whenever the process sleeps.
    pub(crate) fn threads(&self) -> BTreeMap<String, u64> {
        threads(self.id())
    }

    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.threads().values().sum())
    }

    /// Resident memory in MB.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024.0 / 1e6)
    }
}

pub(crate) fn own_cpu() -> Duration {
    Duration::from_nanos(threads(std::process::id()).values().sum())
}

fn threads(process: u32) -> BTreeMap<String, u64> {
    let mut times = BTreeMap::new();
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let name = read("comm").trim().to_owned();
        let time: u64 =
            read("schedstat").split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default();
        *times.entry(name).or_default() += time;
    }
    times
}

/// `local`, the whole backend or its dependencies alone.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) process: Process,
    /// Host and port of the API; empty for dependencies alone.
    pub(crate) api: String,
    /// The variables of the functions.
    pub(crate) environment: Environment,
}

impl Local {
    /// The database and the keyring alone.
    pub(crate) fn dependencies(binary: &Path, extra: &[(&str, &str)]) -> anyhow::Result<Self> {
        let extra = [extra, &UNLIMITED].concat();
        let (process, lines) = spawn(binary, &["deps", "--dynamodb-port", "0"], &extra)?;
        let mut environment = Environment::new();
        loop {
            let line = lines.recv_timeout(PATIENCE).context("local deps did not start")?;
            let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once('='))
            else {
                continue;
            };
            environment.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            // The last one.
            if name == "SALLYPORT_USERS_TABLE" {
                return Ok(Self { process, api: String::new(), environment });
            }
        }
    }

    /// The whole backend, without demo accounts and without limits for one address.
    pub(crate) fn backend(binary: &Path, latency: Duration, extra: &[(&str, &str)]) -> anyhow::Result<Self> {
        // The names of tables and secrets are the same for both.
        let mut environment = Self::dependencies(binary, extra)?.environment.clone();
        let latency = latency.as_millis().to_string();
        let arguments =
            ["--port", "0", "--dynamodb-port", "0", "--no-demo", "--quiet", "--latency", &latency];
        let (process, lines) = spawn(binary, &arguments, &[extra, &UNLIMITED].concat())?;
        loop {
            let line = lines.recv_timeout(PATIENCE).context("local did not start")?;
            if let Some(url) = line.strip_prefix("Database") {
                environment.insert("AWS_ENDPOINT_URL".to_owned(), url.trim().to_owned());
            }
            if let Some(url) = line.strip_prefix("listening on http://localhost:") {
                environment.insert("SALLYPORT_ISSUER".to_owned(), format!("http://localhost:{url}"));
                return Ok(Self { process, api: format!("127.0.0.1:{url}"), environment });
            }
        }
    }
}

/// All callers have one address.
const UNLIMITED: [(&str, &str); 2] =
    // And nothing in the background.
    [("SALLYPORT_ADDRESS_LIMIT", "100000"), ("SALLYPORT_NO_SCHEDULES", "true")];

const PATIENCE: Duration = Duration::from_secs(30);

fn spawn(
    binary: &Path,
    arguments: &[&str],
    extra: &[(&str, &str)],
) -> anyhow::Result<(Process, mpsc::Receiver<String>)> {
    let mut child = Command::new(binary)
        .args(arguments)
        .envs(extra.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let stdout = child.stdout.take().context("no stdout")?;
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Read to the end in any case, so that the process never waits.
            drop(lines.send(line));
        }
    });
    Ok((Process(child), received))
}

/// `bare-hash serve`: one hash a call.
#[derive(Debug)]
pub(crate) struct BareHash {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl BareHash {
    pub(crate) fn start(binary: &Path, engine: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(binary)
            .args(["serve", engine])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let input = child.stdin.take().context("no stdin")?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut bare = Self { process: Process(child), input, output };
        bare.hash()?;
        Ok(bare)
    }

    /// Computes one hash: time on a processor, and wall time.
    pub(crate) fn hash(&mut self) -> anyhow::Result<(Duration, Duration)> {
        let before = self.process.cpu();
        self.input.write_all(b"\n")?;
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("bare-hash ended");
        }
        settle();
        Ok((self.process.cpu().saturating_sub(before), Duration::from_nanos(line.trim().parse()?)))
    }
}

/// Hashes per second of so many threads.
pub(crate) fn bare_rate(binary: &Path, engine: &str, threads: usize, seconds: f64) -> anyhow::Result<f64> {
    let output = Command::new(binary)
        .args(["rate", engine, &threads.to_string(), &seconds.to_string()])
        .output()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Until whoever has just answered sleeps again: its time on the processor is exact only then.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(1));
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Wall time of something.
pub(crate) fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let outcome = action();
    (outcome, started.elapsed())
}
