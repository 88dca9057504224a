//! What a refused connection means, and what to do about it.

use super::close::Close;
use quinn::{ConnectionError, TransportErrorCode};

/// TLS: no authority that is known has signed the certificate.
const UNKNOWN_AUTHORITY: u8 = 48;

/// TLS: the certificate is not valid any more, or not yet.
const EXPIRED: u8 = 45;

/// TLS: nobody there speaks the dialler's protocol.
pub(crate) const NO_SUCH_PROTOCOL: u8 = 120;

/// For people: why one was refused for good, and what to do. None where dialling again may help.
pub(crate) fn advice(error: &ConnectionError) -> Option<&'static str> {
    if let ConnectionError::ApplicationClosed(close) = error {
        let banned = close.error_code == Close::Banned.code();
        return banned.then_some(
            "this node is banned: its id is in cluster.banned there. If it shall come back, take its id off that list \
             on all nodes and restart them; else empty its data directory and let it join anew under another name, \
             with a ticket of `dunlin cluster invite`",
        );
    }
    match alert_of(error)? {
        UNKNOWN_AUTHORITY => Some(
            "one of the two is a node of another cluster: their certificates are not signed by one authority. If the \
             address is wrong, correct node.seeds; if this node shall change its cluster, empty its data directory and \
             let it join with a ticket of `dunlin cluster invite`",
        ),
        EXPIRED => Some(
            "a certificate is not valid at this time: compare the clocks of both machines, then make a new certificate \
             with `dunlin certs issue`",
        ),
        _ => None,
    }
}

/// The TLS alert that ended a handshake, whichever side raised it.
pub(crate) fn alert_of(error: &ConnectionError) -> Option<u8> {
    let code = match error {
        ConnectionError::TransportError(error) => error.code,
        ConnectionError::ConnectionClosed(close) => close.error_code,
        _ => return None,
    };
    (0..=u8::MAX).find(|alert| TransportErrorCode::crypto(*alert) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_good_is_told_from_one_that_passes() {
        let closed = |close: Close| {
            advice(&ConnectionError::ApplicationClosed(quinn::ApplicationClose {
                error_code: close.code(),
                reason: Default::default(),
            }))
        };
        assert!(closed(Close::Banned).is_some_and(|words| words.contains("cluster.banned")));
        assert_eq!(closed(Close::Refused), None);
        let alert = |code| {
            let error = quinn::ConnectionClose {
                error_code: TransportErrorCode::crypto(code),
                frame_type: None,
                reason: Default::default(),
            };
            advice(&ConnectionError::ConnectionClosed(error))
        };
        assert!(alert(UNKNOWN_AUTHORITY).is_some_and(|words| words.contains("another cluster")));
        assert!(alert(EXPIRED).is_some_and(|words| words.contains("certs issue")));
        assert_eq!((alert(NO_SUCH_PROTOCOL), advice(&ConnectionError::TimedOut)), (None, None));
    }
}
