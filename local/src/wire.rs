//! HTTP/1.1 messages as bytes: as much as it takes to stand between an SDK and a server without changing what they
//! say, and to break a connection at any chosen moment, which an HTTP library would not let us.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// DynamoDB takes requests of 16 MiB.
const MAX_BODY: usize = 17 * 1024 * 1024;
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;

/// A request or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The first line without its line end.
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// An answer with a JSON body.
    pub(crate) fn reply(status: &str, content_type: &str, request_id: &str, body: Vec<u8>) -> Self {
        Self {
            start: format!("HTTP/1.1 {status}"),
            headers: vec![
                ("content-type".to_owned(), content_type.to_owned()),
                ("x-amzn-requestid".to_owned(), request_id.to_owned()),
                ("content-length".to_owned(), body.len().to_string()),
            ],
            body,
        }
    }

    /// The first header of that name; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.start.split(' ').nth(1)?.parse().ok()
    }

    /// Whether no further message follows on this connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Replaces the body and states its length.
    pub(crate) fn set_body(&mut self, body: Vec<u8>) {
        let length = body.len().to_string();
        match self.headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            Some((_, value)) => *value = length,
            None => self.headers.push(("content-length".to_owned(), length)),
        }
        self.body = body;
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024 + self.body.len());
        bytes.extend_from_slice(self.start.as_bytes());
        for (name, value) in &self.headers {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// One end of a connection, with what was read beyond the last message.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::with_capacity(4096) })
    }

    /// The next message, or none when the peer has closed between messages. Cancelling it loses nothing: what was
    /// read stays in the connection.
    ///
    /// # Errors
    /// When the connection breaks within a message, and for what is not a message of known length.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Message>> {
        let head = loop {
            if let Some(head) = Head::parse(&self.unread)? {
                break head;
            }
            if self.fill().await? == 0 {
                return if self.unread.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        };
        let end = head.length + head.body_length;
        while self.unread.len() < end {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.unread.split_off(end);
        let body = self.unread.split_off(head.length);
        self.unread = rest;
        Ok(Some(Message { start: head.start, headers: head.headers, body }))
    }

    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn write(&mut self, message: &Message) -> io::Result<()> {
        self.stream.write_all(&message.to_bytes()).await
    }

    /// Ends the connection the hard way: the peer sees a reset, not an orderly end.
    pub(crate) fn reset(self) {
        // Without the option the peer sees an orderly close, which is as good a lost reply.
        drop(self.stream.set_zero_linger());
        drop(self.stream);
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.unread.reserve(4096);
        self.stream.read_buf(&mut self.unread).await
    }
}

struct Head {
    start: String,
    headers: Vec<(String, String)>,
    length: usize,
    body_length: usize,
}

impl Head {
    /// The head at the front of `bytes`, or none when it is not complete yet.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(line_end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
            return if bytes.len() > MAX_HEAD { Err(invalid("the first line has no end")) } else { Ok(None) };
        };
        let (line, rest) = bytes.split_at(line_end);
        let rest = rest.get(2..).unwrap_or_default();
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let (head_length, headers) = match httparse::parse_headers(rest, &mut headers) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(invalid("the headers have no end")),
            Err(error) => return Err(invalid(&error.to_string())),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: Vec<_> = headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect();
        let mut body_length = 0;
        for (name, value) in &headers {
            if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(invalid("chunked bodies are not understood: send content-length"));
            }
            if name.eq_ignore_ascii_case("content-length") {
                body_length = value.trim().parse().map_err(|_| invalid("content-length is not a number"))?;
            }
        }
        if body_length > MAX_BODY {
            return Err(invalid("the body is too long"));
        }
        Ok(Some(Self { start: text(line), headers, length: line_end + 2 + head_length, body_length }))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Connection::new(listener.accept().await.unwrap().0).unwrap())
    }

    #[tokio::test]
    async fn two_requests_in_one_segment_are_two_messages() {
        let (mut client, mut connection) = pair().await;
        client
            .write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}POST / HTTP/1.1\r\nA: b\r\n\r\n")
            .await
            .unwrap();
        let first = connection.read().await.unwrap().unwrap();
        assert_eq!((first.start.as_str(), first.body.as_slice()), ("POST / HTTP/1.1", b"{}".as_slice()));
        let second = connection.read().await.unwrap().unwrap();
        assert_eq!((second.header("a"), second.body.len()), (Some("b"), 0));
        drop(client);
        assert_eq!(connection.read().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_request_in_pieces_is_one_message() {
        let (mut client, mut connection) = pair().await;
        let message = Message::reply("200 OK", "application/x-amz-json-1.0", "id", b"{\"a\":1}".to_vec());
        let bytes = message.to_bytes();
        tokio::spawn(async move {
            for byte in bytes {
                client.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        });
        let read = connection.read().await.unwrap().unwrap();
        assert_eq!(read, message);
        assert_eq!(read.status(), Some(200));
    }

    #[tokio::test]
    async fn half_a_message_and_a_chunked_one_are_errors() {
        let (mut client, mut connection) = pair().await;
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\n{}").await.unwrap();
        drop(client);
        assert_eq!(connection.read().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

        let (mut client, mut connection) = pair().await;
        client.write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        assert_eq!(connection.read().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
