//! One client process of the races. It takes orders on standard input, a line each, and answers each with a line.
//!
//! | order | answer |
//! |---|---|
//! | `{"warm": [URL], "connections": n}`: opens n connections to each | `{"ready": n}` |
//! | `{"aim": [shot]}`: prepares requests, see [`Shot`] | `{"ready": n}` |
//! | `"fire"`: sends all that were aimed, at once | `{"outcomes": [[outcome]]}`, a list per shot |
#![allow(clippy::indexing_slicing, reason = "a `Value` that is not there is null")]

use std::io::{BufRead as _, Write as _};

use anyhow::Context as _;
use futures_util::future::{join_all, try_join_all};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(untagged)]
enum Order {
    Warm { warm: Vec<String>, connections: usize },
    Aim { aim: Vec<Shot> },
    Fire(Fire),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fire {
    Fire,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Shot {
    method: String,
    url: String,
    #[serde(default)]
    bearer: Option<String>,
    body: Value,
    /// How many requests: this one, then refreshes with the token of the answer before, until one is refused.
    #[serde(default = "once")]
    chain: usize,
}

const fn once() -> usize {
    1
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = Client::builder().build()?;
    let mut aimed = Vec::new();
    let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    while let Some(line) = orders.recv().await {
        let answer = match serde_json::from_str(&line).with_context(|| line.clone())? {
            Order::Warm { warm, connections } => {
                for url in &warm {
                    let opened = (0..connections).map(|_| client.get(format!("{url}/health/live")).send());
                    try_join_all(opened).await?;
                }
                json!({"ready": connections})
            }
            Order::Aim { aim } => {
                aimed = aim;
                json!({"ready": aimed.len()})
            }
            Order::Fire(Fire::Fire) => {
                let shots = std::mem::take(&mut aimed);
                let running: Vec<_> =
                    shots.into_iter().map(|shot| tokio::spawn(fire(client.clone(), shot))).collect();
                let outcomes: Vec<_> =
                    join_all(running).await.into_iter().collect::<Result<_, _>>().context("a shot died")?;
                json!({"outcomes": outcomes})
            }
        };
        writeln!(std::io::stdout(), "{answer}")?;
    }
    Ok(())
}

async fn fire(client: Client, mut shot: Shot) -> Vec<Value> {
    let mut outcomes = Vec::new();
    for _ in 0..shot.chain.max(1) {
        let outcome = send(request(&client, &shot)).await;
        let next = outcome["body"]["refresh_token"].as_str().map(str::to_owned);
        outcomes.push(outcome);
        match next {
            Some(token) => {
                let base = shot.url.split("/api/").next().unwrap_or_default();
                let url = format!("{base}/api/v1/auth/refresh");
                let body = json!({"refresh_token": token});
                shot = Shot { method: "POST".to_owned(), url, bearer: None, body, ..shot };
            }
            None => break,
        }
    }
    outcomes
}

fn request(client: &Client, shot: &Shot) -> RequestBuilder {
    let method = shot.method.parse().unwrap_or_default();
    let request = client.request(method, &shot.url).json(&shot.body);
    match &shot.bearer {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

async fn send(request: RequestBuilder) -> Value {
    let answer = async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        anyhow::Ok((status, response.bytes().await?))
    };
    match answer.await {
        Ok((status, body)) => {
            json!({"status": status, "body": serde_json::from_slice::<Value>(&body).unwrap_or_default()})
        }
        Err(error) => json!({"status": 0, "body": {"code": format!("{error:#}")}}),
    }
}
