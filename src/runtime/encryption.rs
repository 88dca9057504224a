//! The operator's keys for encryption at rest: from files, or from the environment.

use crate::store::{Encryption, SecretKey};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Holds keys in hexadecimal digits, with a comma between two, where no file is named. It is no setting: settings
/// can be flags, and flags are seen by every process of the machine.
pub const KEY_VARIABLE: &str = "DUNLIN_STORAGE_ENCRYPTION_KEY";

/// Most keys: the one in force, and the one before while it is replaced.
const MAX_KEYS: usize = 2;

/// A key file's group or anybody may read it. Not refused: secrets that a container is given are often so.
const READABLE_BY_OTHERS: u32 = 0o044;

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// A file cannot be read.
    #[error("storage.encryption_key_file: cannot read {}: {detail}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The operating system's words.
        detail: String,
    },
    /// A file holds something else.
    #[error("storage.encryption_key_file: {} holds no key; 32 random bytes (not text) or 64 hexadecimal digits are expected", .0.display())]
    NoKey(PathBuf),
    /// The variable holds something else. What it holds is not repeated.
    #[error("environment variable {KEY_VARIABLE}: one or two keys of 64 hexadecimal digits are expected")]
    BadVariable,
    /// Both are given.
    #[error("both storage.encryption_key_file and {KEY_VARIABLE} are given; one of them is to say the key")]
    Twice,
}

/// The keys in these files, or in the variable; none if neither is given. A variable that holds nothing is wrong: a
/// secret that was not filled in must not make a new directory a plain one.
pub fn encryption(files: &[PathBuf], variable: Option<&str>) -> Result<Option<Encryption>, KeyProblem> {
    let master_keys = match (files.is_empty(), variable) {
        (true, None) => return Ok(None),
        (false, Some(_)) => return Err(KeyProblem::Twice),
        (true, Some(text)) => of_variable(text)?,
        (false, None) => files.iter().map(of_file).collect::<Result<_, _>>()?,
    };
    Ok(Some(Encryption { master_keys, fresh_data_key: SecretKey::new(rand::random()) }))
}

/// The variable of this process; what is not text comes as something that is no key.
pub fn key_variable() -> Option<String> {
    std::env::var_os(KEY_VARIABLE).map(|text| text.to_string_lossy().into_owned())
}

fn of_variable(text: &str) -> Result<Vec<SecretKey>, KeyProblem> {
    // 32 digits would be 32 bytes, too.
    let key =
        |text: &str| Some(text).filter(|text| text.len() == 64).and_then(|text| SecretKey::parse(text.as_bytes()));
    let keys: Option<Vec<SecretKey>> = text.split(',').map(|text| key(text.trim())).collect();
    keys.filter(|keys| keys.len() <= MAX_KEYS).ok_or(KeyProblem::BadVariable)
}

fn of_file(file: &PathBuf) -> Result<SecretKey, KeyProblem> {
    let unreadable = |error: std::io::Error| KeyProblem::Unreadable { file: file.clone(), detail: error.to_string() };
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let mode = std::fs::metadata(file).map_err(unreadable)?.permissions().mode();
    if mode & READABLE_BY_OTHERS != 0 {
        let (file, mode) = (file.display(), format!("{:04o}", mode & 0o7777));
        tracing::warn!(%file, mode, "the encryption key can be read by others than its owner; chmod 600 {file}");
    }
    SecretKey::parse(&bytes).ok_or_else(|| KeyProblem::NoKey(file.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_files_or_from_the_variable() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let (digits, other) = ("0f".repeat(32), "1e".repeat(32));
        let (raw, hex) = (file("raw", &[0x0f; 32]), file("hex", format!("{other}\n").as_bytes()));
        let keys = |files: &[PathBuf], variable: Option<&str>| {
            encryption(files, variable).map(|found| found.unwrap().master_keys)
        };
        let both = vec![SecretKey::new([0x0f; 32]), SecretKey::new([0x1e; 32])];
        assert_eq!(keys(&[raw.clone(), hex], None), Ok(both.clone()));
        assert_eq!(keys(&[], Some(&format!("{digits}, {other}"))), Ok(both));
        assert!(encryption(&[], None).unwrap().is_none());
        assert_eq!(keys(&[raw], Some(&digits)), Err(KeyProblem::Twice));
        let short = file("short", b"0f0f");
        assert_eq!(keys(std::slice::from_ref(&short), None), Err(KeyProblem::NoKey(short)));
        let three = [digits.as_str(); 3].join(",");
        for wrong in [
            "",
            "x",
            "0f0f",
            &"0f".repeat(16),
            &"x".repeat(64),
            three.as_str(),
            &format!("{digits},"),
            &format!("{digits},x"),
        ] {
            let error = encryption(&[], Some(wrong)).unwrap_err();
            assert_eq!(error, KeyProblem::BadVariable);
            assert!(!error.to_string().contains(&digits));
        }
    }
}
