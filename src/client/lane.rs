//! One connection for a load generator: bytes out, an answer in, and nothing between them that costs.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most headers of an answer; a node sends about a dozen.
const MAX_HEADERS: usize = 64;

/// Read at once: the answer to a request for one small value fits.
const READ_BYTES: usize = 16 << 10;

/// Longest answer: as [`super::MAX_ANSWER_BYTES`], for the same reason.
const MAX_ANSWER_BYTES: usize = super::MAX_ANSWER_BYTES;

/// One HTTP/1.1 connection that carries one request at a time. Unlike [`super::Client`] it has no pool,
/// no time-out and no notion of a key: a benchmark's own cost must not be what is measured.
#[derive(Debug)]
pub struct Lane {
    stream: TcpStream,
    input: Vec<u8>,
    /// The node has said that it closes: no further request fits.
    closing: bool,
}

/// An answer, as long as the next request has not been sent.
#[derive(Debug)]
pub struct LaneAnswer<'a> {
    /// The status.
    pub status: u16,
    /// The context token.
    pub context: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What an answer's head says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    context: Option<Range<usize>>,
    body: Range<usize>,
    closes: bool,
}

impl Lane {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> io::Result<Lane> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Lane { stream, input: Vec::with_capacity(READ_BYTES), closing: false })
    }

    /// Can another request be sent?
    pub fn is_open(&self) -> bool {
        !self.closing
    }

    /// Sends a request as it stands and reads the whole answer. After an error, or if it is dropped before it
    /// ends, the connection is of no more use.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<LaneAnswer<'_>> {
        self.closing = true;
        self.input.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            self.fill().await?;
            if let Some(head) = parse(&self.input)? {
                break head;
            }
        };
        while self.input.len() < head.body.end {
            self.fill().await?;
        }
        self.closing = head.closes;
        let context = head.context.and_then(|range| std::str::from_utf8(self.input.get(range)?).ok());
        let body = self.input.get(head.body).unwrap_or_default();
        Ok(LaneAnswer { status: head.status, context, body })
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ if self.input.len() > MAX_ANSWER_BYTES => Err(not_http("an answer beyond all bounds")),
            _ => Ok(()),
        }
    }
}

/// Reads the head of an answer, once all of it is there.
fn parse(input: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let at = match response.parse(input).map_err(|error| not_http(&error.to_string()))? {
        httparse::Status::Complete(at) => at,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or_default();
    let mut head = Head { status, context: None, body: at..at, closes: false };
    let mut length = (status == 204 || status == 304).then_some(0);
    for header in response.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse::<usize>().ok());
        } else if header.name.eq_ignore_ascii_case("dunlin-context") {
            let start = (header.value.as_ptr() as usize).saturating_sub(input.as_ptr() as usize);
            head.context = Some(start..start + header.value.len());
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let length = length.ok_or_else(|| not_http("an answer without a length"))?;
    head.body.end = at.saturating_add(length);
    Ok(Some(head))
}

fn not_http(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_head_is_read_once_all_of_it_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\nDunlin-Context: abc\r\nContent-Length: 3\r\n\r\nxyz";
        for cut in 0..answer.len() - 3 {
            assert_eq!(parse(&answer[..cut]).unwrap(), None, "{cut}");
        }
        let head = parse(answer).unwrap().unwrap();
        assert_eq!(&answer[head.context.unwrap()], b"abc");
        assert_eq!((head.status, &answer[head.body], head.closes), (200, &b"xyz"[..], false));
        let closing = parse(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap().unwrap();
        assert!(closing.closes && closing.body.is_empty());
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "its end would be unknown");
        assert!(parse(b"SSH-2.0\r\n").is_err());
    }

    #[test]
    fn answers_in_pieces_are_put_together_and_a_broken_one_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let node = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4];
            for pieces in [&["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 4\r\n\r\nab", "cd"][..], &["HTTP/1.1 2"][..]] {
                stream.read_exact(&mut request).unwrap();
                pieces.iter().for_each(|piece| stream.write_all(piece.as_bytes()).unwrap());
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut lane = Lane::connect(address).await.unwrap();
            let answer = lane.exchange(b"GET ").await.unwrap();
            assert_eq!((answer.status, answer.body), (200, &b"abcd"[..]));
            assert!(lane.is_open());
            assert!(lane.exchange(b"GET ").await.is_err());
            assert!(!lane.is_open());
        });
        node.join().unwrap();
    }
}
