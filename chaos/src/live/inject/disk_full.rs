//! A node on a small file system that fills up, by its own writes and by another program's, and empties again.

use super::ledger::Ledger;
use super::load::{Answer, read_back, write_one};
use super::node::{Node, Started};
use super::options::NoRun;
use dunlin::client::Client;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The whole file system.
const FILE_SYSTEM: &str = "size=48m";

/// Another program's file: space that comes back.
const BALLAST_BYTES: usize = 16 << 20;

/// Bytes of a value.
const VALUE_BYTES: usize = 50_000;

/// More writes than fit: the disk must be full before.
const MOST_WRITES: u64 = 2_000;

/// How long the node may take to notice that there is space again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// Puts below this much free space are refused: the small disk's reserve.
const FLAGS: &[&str] = &["--storage-reserve-bytes", "6MiB"];

/// No space left for this.
const INSUFFICIENT_STORAGE: u16 = 507;

/// Fills the disk and empties it; an error if anything is lost or refused that should not be.
pub(super) async fn run(binary: &Path, directory: &Path, seed: u64) -> Result<(), NoRun> {
    let mount = Mount::new(&directory.join("disk"))?;
    let mut node = Node::make(binary, &mount.0.join("cluster"), FLAGS)?;
    let mut ledger = Ledger::default();
    if let Started::Ended(status) = node.start(&[]).await? {
        return Err(NoRun::Failed(format!("the node ended ({status}): {}", node.words())));
    }
    let client = node.client()?;
    let ballast = mount.0.join("ballast");
    fill(&ballast, BALLAST_BYTES)?;

    let written = until_full(&client, &mut ledger, seed).await?;
    println!("its own reserve: 507 after {written} puts");
    delete_some(&client, &mut ledger).await?;
    free(&ballast)?;
    println!("recovered by itself after {:.1} s", until_taken(&client, &mut ledger, 1).await?.as_secs_f64());

    // Now the other program takes everything, the reserve as well.
    let taken = fill(&ballast, usize::MAX)?;
    let refused = until_full(&client, &mut ledger, seed + 1).await?;
    println!("no space at all ({taken} bytes of another's): 507 after {refused} puts");
    if let Some(status) = node.ended()? {
        return Err(NoRun::Failed(format!("the full disk ended the node ({status}): {}", node.words())));
    }
    free(&ballast)?;
    println!("recovered by itself after {:.1} s", until_taken(&client, &mut ledger, 2).await?.as_secs_f64());
    delete_some(&client, &mut ledger).await?;

    let read = read_back(&client, &ledger).await?;
    node.kill().await?;
    if let Started::Ended(status) = node.start(&[]).await? {
        return Err(NoRun::Failed(format!("does not start again ({status}): {}", node.words())));
    }
    let again = read_back(&node.client()?, &ledger).await?;
    println!(
        "{} writes answered, {read} keys read back, {again} after SIGKILL and a restart: all as answered",
        ledger.answered
    );
    Ok(())
}

/// Puts new keys until one is refused for want of space; how many were not.
async fn until_full(client: &Client, ledger: &mut Ledger, seed: u64) -> Result<u64, String> {
    for number in 0..MOST_WRITES {
        match put(client, ledger, &format!("key-{seed}-{number}")).await {
            Answer::Done => {}
            Answer::Refused(INSUFFICIENT_STORAGE) => return Ok(number),
            other => return Err(format!("a put on a filling disk: {other:?}")),
        }
    }
    Err("the disk did not fill up".into())
}

/// Deletes go on while puts are refused.
async fn delete_some(client: &Client, ledger: &mut Ledger) -> Result<(), String> {
    for key in ledger.held().into_iter().step_by(3) {
        match write_one(client, ledger, &key, None).await {
            Answer::Done => {}
            other => return Err(format!("a delete on a full disk: {other:?}")),
        }
    }
    Ok(())
}

/// How long it took until a put was taken again.
async fn until_taken(client: &Client, ledger: &mut Ledger, round: u32) -> Result<Duration, String> {
    let begun = Instant::now();
    while begun.elapsed() < RECOVERY_LIMIT {
        if put(client, ledger, &format!("after-{round}")).await == Answer::Done {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("puts were still refused {RECOVERY_LIMIT:?} after there was space again"))
}

async fn put(client: &Client, ledger: &mut Ledger, key: &str) -> Answer {
    let mut value = format!("{key} {} ", ledger.answered).into_bytes();
    value.resize(VALUE_BYTES, b'.');
    write_one(client, ledger, key, Some(value)).await
}

/// Writes so many bytes into a file, or as many as there is space for; how many.
fn fill(path: &Path, most: usize) -> Result<usize, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = std::fs::File::create(path).map_err(told)?;
    let (block, mut written) = (vec![b'b'; 64 << 10], 0);
    while written < most {
        match file.write(&block) {
            Ok(0) => break,
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
            Err(error) => return Err(told(error)),
        }
    }
    Ok(written)
}

fn free(path: &Path) -> Result<(), String> {
    std::fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A small file system in memory; it goes with this value.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path) -> Result<Mount, NoRun> {
        std::fs::create_dir(at).map_err(|error| format!("{}: {error}", at.display()))?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", FILE_SYSTEM, "dunlin-chaos"])
            .arg(at)
            .stdin(Stdio::null())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Mount(at.to_owned())),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                Err(NoRun::Skipped(format!("cannot mount a small file system: {}", why.trim())))
            }
            Err(error) => Err(NoRun::Skipped(format!("cannot mount a small file system: mount: {error}"))),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !Command::new("umount").arg(&self.0).status().is_ok_and(|status| status.success()) {
            eprintln!("chaos: cannot unmount {}", self.0.display());
        }
    }
}
