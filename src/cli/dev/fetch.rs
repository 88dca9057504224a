//! One GET from a node of this machine.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long one answer may take: a node that is starting answers at once or not at all.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest answer: the status of a few dozen nodes, generously.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// Asks the node at `address` for `path`.
pub(super) async fn fetch(address: SocketAddr, path: &str) -> Result<Answer, String> {
    let answer = tokio::time::timeout(FETCH_TIMEOUT, exchange(address, path)).await;
    answer.map_err(|_| format!("no answer within {FETCH_TIMEOUT:?}"))?.map_err(|error| error.to_string())
}

async fn exchange(address: SocketAddr, path: &str) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await?.to_bytes();
        Ok(Answer { status, body })
    };
    // The connection ends when the answer is in and its sender gone; if it broke, the answer says so.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}
