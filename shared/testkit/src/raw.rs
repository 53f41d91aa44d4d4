//! Requests that no client library would send.

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::answer::Answer;

/// Sends bytes as they stand (add `Connection: close`) and reads the answer to the end of the connection.
///
/// # Errors
/// When the connection breaks, when the answer is no HTTP.
pub async fn raw(host: &str, request: &[u8]) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("no answer")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').context("no header")?;
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value.trim())?);
    }
    let body = dechunked(&headers, bytes.split_off(end + 4))?;
    Ok(Answer { status, headers, body })
}

fn dechunked(headers: &HeaderMap, body: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    if headers.get("transfer-encoding").is_none_or(|value| value != "chunked") {
        return Ok(body);
    }
    let mut whole = Vec::new();
    let mut rest = &body[..];
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").context("no chunk")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end])?, 16)?;
        if length == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 2 + length + 2..];
    }
}
