//! Somebody on this machine who is called over HTTP: a webhook's receiver, a topic.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A call that came in.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    /// The value of a header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Answers every call alike, until it is told otherwise.
#[derive(Debug)]
pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    answer: Arc<Mutex<String>>,
}

impl Receiver {
    /// Listens on a free port, and takes everything.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let answer = Arc::new(Mutex::new(String::new()));
        let (calls, told) = (Arc::clone(&received), Arc::clone(&answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&calls), Arc::clone(&told)));
            }
        });
        let receiver = Self { url, received, answer };
        receiver.answer("202 Accepted", "", "");
        Ok(receiver)
    }

    /// Answers so from now on; `headers` are whole lines.
    pub fn answer(&self, status: &str, headers: &str, body: &str) {
        *self.answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
    }

    /// The calls since the last look.
    pub fn calls(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().unwrap())
    }
}

async fn serve(mut stream: TcpStream, calls: Arc<Mutex<Vec<Received>>>, told: Arc<Mutex<String>>) {
    let mut bytes = Vec::new();
    let received = loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap_or_default();
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&chunk[..read]);
        if let Some(received) = parse(&String::from_utf8_lossy(&bytes)) {
            break received;
        }
    };
    calls.lock().unwrap().push(received);
    let answer = told.lock().unwrap().clone();
    drop(stream.write_all(answer.as_bytes()).await);
}

/// A whole request, once it is whole.
fn parse(text: &str) -> Option<Received> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let received = Received { path, headers, body: body.to_owned() };
    let length: usize = received.header("content-length").parse().unwrap_or_default();
    (body.len() >= length).then_some(received)
}
