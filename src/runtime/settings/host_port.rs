//! Where to reach somebody: a host by name or address, and a port.

use crate::membership::MAX_ADDRESS_BYTES;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Longest host: members tell each other addresses of limited length, and a port takes six characters.
const MAX_HOST_BYTES: usize = MAX_ADDRESS_BYTES - 6;

/// A host and a port, not yet resolved. An IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// The text is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not host:port, with a port from 1 to 65535 and an IPv6 address in brackets")]
pub struct HostPortError(String);

impl HostPort {
    /// The host as written, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, if it is an address and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The same host, one port up; none above 65535.
    pub fn next_port(&self) -> Option<Self> {
        Some(Self { host: self.host.clone(), port: self.port.checked_add(1)? })
    }

    /// The same host, another port; none for port 0.
    pub fn with_port(&self, port: u16) -> Option<Self> {
        (port != 0).then(|| Self { host: self.host.clone(), port })
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        parse(text).ok_or_else(|| HostPortError(text.into()))
    }
}

fn parse(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0 && !text.ends_with(&format!("+{port}")))?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(|_| address)?,
        None => host,
    };
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = bracketed.is_some() || (!host.is_empty() && host.len() <= MAX_HOST_BYTES && host.bytes().all(name_byte));
    fits.then(|| HostPort { host: host.into(), port })
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_port_survives_its_text_form() {
        for text in ["db1.example.org:7400", "10.0.0.1:1", "[::1]:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        for text in ["", "a", ":1", "a:0", "a:65536", "a:+1", "::1:7400", "[a]:1", "a b:1", "http://a:1"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_port_has_no_successor() {
        let at = |port: u16| format!("a:{port}").parse::<HostPort>().unwrap();
        assert_eq!(at(7400).next_port(), Some(at(7401)));
        assert_eq!(at(65535).next_port(), None);
    }
}
