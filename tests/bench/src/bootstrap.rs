//! A shipped bootstrap, run as Lambda runs it: a runtime API that hands out events and takes answers.
//!
//! The API is blocking sockets and one thread a connection: what it adds to a measurement is two context switches.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process::{Environment, Process, settle};

/// What the function did.
enum Seen {
    /// It asks for an event.
    Poll { at: Instant, answer: Sender<Vec<u8>> },
    /// The event has been written.
    Given { at: Instant },
    /// The answer has been read.
    Answered { at: Instant, body: Vec<u8> },
}

/// A function that waits for an event.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    pub(crate) process: Process,
    seen: Receiver<Seen>,
    poll: Sender<Vec<u8>>,
    /// From exec to the first poll.
    pub(crate) first_poll: Duration,
    /// Time on a processor until the first poll.
    pub(crate) first_poll_cpu: Duration,
}

/// An event that was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) body: Value,
    /// From the event to the answer.
    pub(crate) wall: Duration,
    /// Time on a processor of all threads, up to the next poll.
    pub(crate) cpu: Duration,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Bootstrap {
    /// Starts a binary and waits for its first poll.
    pub(crate) fn start(binary: &Path, environment: &Environment) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (saw, seen) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let saw = saw.clone();
                // A connection that breaks is a function that ended: its owner notices.
                std::thread::spawn(move || drop(serve(&stream, &saw)));
            }
        });
        let name = binary.file_name().and_then(|name| name.to_str()).unwrap_or("function").to_owned();
        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", &address)
            .env("AWS_LAMBDA_FUNCTION_NAME", &name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
            .stdout(Stdio::null());
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let process = Process(child);
        let Seen::Poll { at, answer } = seen.recv_timeout(PATIENCE).context("no poll")? else {
            bail!("an answer before the first event");
        };
        settle();
        let first_poll_cpu = process.cpu();
        Ok(Self { process, seen, poll: answer, first_poll: at.duration_since(started), first_poll_cpu })
    }

    /// Gives an event and waits for the answer and the next poll.
    pub(crate) fn invoke(&mut self, event: &Value) -> anyhow::Result<Answer> {
        let before = self.process.cpu();
        self.poll.send(event.to_string().into_bytes())?;
        let (mut given, mut answered) = (None, None);
        loop {
            match self.seen.recv_timeout(PATIENCE).context("no answer")? {
                Seen::Given { at } => given = Some(at),
                Seen::Answered { at, body } => answered = Some((at, body)),
                Seen::Poll { answer, .. } => {
                    self.poll = answer;
                    break;
                }
            }
        }
        settle();
        let cpu = self.process.cpu().saturating_sub(before);
        let (given, (answered, body)) = given.zip(answered).context("a poll without an answer")?;
        let answer: Value = serde_json::from_slice(&body)?;
        let text = answer.get("body").and_then(Value::as_str).unwrap_or_default();
        Ok(Answer {
            status: answer.get("statusCode").and_then(Value::as_u64).unwrap_or_default(),
            body: serde_json::from_str(text).unwrap_or(Value::Null),
            wall: answered.duration_since(given),
            cpu,
        })
    }

    /// As [`Bootstrap::invoke`], of an event that must be answered with that status.
    pub(crate) fn expect(&mut self, event: &Value, status: u64) -> anyhow::Result<Answer> {
        let answer = self.invoke(event)?;
        if answer.status != status {
            bail!("{} instead of {status}: {}", answer.status, answer.body);
        }
        Ok(answer)
    }
}

fn serve(stream: &TcpStream, saw: &Sender<Seen>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let is_poll = line.starts_with("GET ");
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if header.starts_with("transfer-encoding:") {
                bail!("a chunked answer");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let at = Instant::now();
        if is_poll {
            let (answer, answered) = mpsc::channel();
            saw.send(Seen::Poll { at, answer })?;
            let event: Vec<u8> = answered.recv()?;
            let mut reply = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
                 lambda-runtime-deadline-ms: 99999999999999\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:bench\r\n\
                 lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0\r\n\r\n",
                event.len()
            )
            .into_bytes();
            reply.extend_from_slice(&event);
            let at = Instant::now();
            writer.write_all(&reply)?;
            saw.send(Seen::Given { at })?;
        } else {
            saw.send(Seen::Answered { at, body })?;
            writer.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
        }
    }
}
