//! Listening, and what a connection may use up.

use super::patient::Patient;
use super::state::{HttpState, MAX_HEADER_BYTES, MAX_HEADERS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// How long open requests may go on after the shutdown. Longer than the default time-out of a request.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Pause after a failed accept (out of descriptors, as a rule): connections close meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Read buffer of a connection. Not below the head's limit.
const BUFFER_BYTES: usize = 64 << 10;

/// What a connection beyond the limit is told. It costs no task and no parsing.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 169\r\n\r\n\
    {\"type\":\"urn:dunlin:problem:overloaded\",\"title\":\"The node sheds load\",\"status\":503,\
    \"detail\":\"too many connections\",\"code\":\"overloaded\",\"in_doubt\":false,\"retryable\":true}";

/// Serves clients on `listener` until `shutdown` resolves; then open requests are finished, for a
/// while. Runs on the runtime that calls it, a current-thread one as a rule.
pub async fn serve(listener: TcpListener, state: Arc<HttpState>, shutdown: impl Future<Output = ()>) {
    serve_shared(listener, state, Vec::new(), shutdown).await;
}

/// The same with the connections dealt out in turn to this thread and to `others`, each of which runs [`serve_dealt`].
/// A listening socket for each thread (`SO_REUSEPORT`) would let two nodes have one address without either's knowing.
pub async fn serve_shared(
    listener: TcpListener,
    state: Arc<HttpState>,
    others: Vec<mpsc::Sender<Dealt>>,
    shutdown: impl Future<Output = ()>,
) {
    let admission = Arc::new(Semaphore::new(state.limits.max_connections));
    let mut connections = Connections::new(state);
    let mut turn = 0;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = connections.one_ended() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let Ok(permit) = Arc::clone(&admission).try_acquire_owned() else {
                        refuse(&stream);
                        continue;
                    };
                    turn = (turn + 1) % (others.len() + 1);
                    match others.get(turn) {
                        Some(other) => deal(stream, permit, other).await,
                        None => connections.begin(stream, permit),
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    drop((listener, others));
    connections.finish().await;
}

/// Serves the connections that another thread accepts, until it deals no more; then open requests are finished, for a
/// while.
pub async fn serve_dealt(mut dealt: mpsc::Receiver<Dealt>, state: Arc<HttpState>) {
    let mut connections = Connections::new(state);
    loop {
        tokio::select! {
            () = connections.one_ended() => {}
            next = dealt.recv() => match next {
                Some(Dealt { stream, permit }) => {
                    // A socket that this thread cannot watch is closed, and its client sees that.
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        connections.begin(stream, permit);
                    }
                }
                None => break,
            }
        }
    }
    connections.finish().await;
}

/// A connection on its way to the thread that will serve it.
#[derive(Debug)]
pub struct Dealt {
    stream: std::net::TcpStream,
    permit: OwnedSemaphorePermit,
}

/// Connections that may wait for one thread. It takes them at once unless it is far behind; then accepting waits.
pub const MAX_DEALT: usize = 64;

async fn deal(stream: TcpStream, permit: OwnedSemaphorePermit, other: &mpsc::Sender<Dealt>) {
    // A thread that is gone has ended with the process; the socket closes.
    if let Ok(stream) = stream.into_std() {
        let _ = other.send(Dealt { stream, permit }).await;
    }
}

/// The connections of one thread.
struct Connections {
    state: Arc<HttpState>,
    open: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Connections {
    fn new(state: Arc<HttpState>) -> Connections {
        Connections { state, open: JoinSet::new(), stop: watch::Sender::new(false) }
    }

    fn begin(&mut self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let (state, stopped) = (Arc::clone(&self.state), self.stop.subscribe());
        self.open.spawn(async move {
            connection(stream, state, stopped).await;
            drop(permit);
        });
    }

    /// Waits for ever if there is none.
    async fn one_ended(&mut self) {
        if self.open.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Open requests go on for a while; whoever is not done by then is cut off.
    async fn finish(mut self) {
        self.stop.send_replace(true);
        let finished = async { while self.open.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, finished).await;
    }
}

async fn connection(stream: TcpStream, state: Arc<HttpState>, mut stopped: watch::Receiver<bool>) {
    // Answers are written whole; waiting to fill a segment only delays them. Failure costs just that.
    let _ = stream.set_nodelay(true);
    state.metrics.connection_opened();
    let io = TokioIo::new(Patient::new(stream, state.limits.write_timeout));
    let service = service_fn(|request| async { Ok::<_, Infallible>(state.answer(request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(state.limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, service);
    tokio::pin!(served);
    // A connection that ends badly has told its client what it could.
    let ended = tokio::select! {
        _ = &mut served => true,
        _ = stopped.wait_for(|stopped| *stopped) => false,
    };
    if !ended {
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }
    state.metrics.connection_closed();
}

/// Best effort: whatever fits into a fresh socket's buffer, which this does.
fn refuse(stream: &TcpStream) {
    let _ = stream.try_write(REFUSAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_says_its_own_length() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "overloaded");
    }
}
