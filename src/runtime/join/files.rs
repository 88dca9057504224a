//! What joining leaves in the data directory.

use crate::store::FileName;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The settings the node was joined with: the layer beneath its configuration file. Written last: where it is, the
/// node has joined.
pub(super) const SETTINGS_FILE: &str = "joined.toml";
/// The id the node asks under, while it asks.
pub(super) const ASKING_FILE: &str = "joining";
/// The cluster's authorities.
pub(super) const AUTHORITY_FILE: &str = "ca.pem";
/// The node's certificate.
pub(super) const CERTIFICATE_FILE: &str = "certificate.pem";
/// Its key.
pub(super) const KEY_FILE: &str = "key.pem";
/// What context tokens are authenticated with: the one that seals, and the one before while there are two.
pub(super) const SECRET_FILES: [&str; 2] = ["secret", "secret-previous"];
/// The issuer's list of used invitations.
pub(super) const BOOK_FILE: &str = "invitations";

/// What a backup has of them: without them a restored node has neither name nor certificate, and an issuer would take
/// used tickets.
pub(in crate::runtime) const JOINED_FILES: [&str; 7] =
    [SETTINGS_FILE, AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE, SECRET_FILES[0], SECRET_FILES[1], BOOK_FILE];

/// Is this, without `.new` at its end, the name of one of them?
pub(in crate::runtime) fn is_join_file(name: &str) -> bool {
    name == ASKING_FILE || JOINED_FILES.contains(&name)
}

/// The settings a node was joined with, and their file; none if it has not joined. They lie beneath the configuration
/// file: whatever that sets counts.
pub fn kept_settings(data_directory: &Path) -> io::Result<Option<(PathBuf, String)>> {
    let path = data_directory.join(SETTINGS_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Is it of no consequence in a directory that is to be empty?
pub(super) fn is_nothing(name: &FileName) -> bool {
    name.0 == "lost+found" || is_join_file(name.0.strip_suffix(".new").unwrap_or(&name.0))
}
