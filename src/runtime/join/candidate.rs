//! A node that is not one yet: what it draws, whom it asks, what it keeps of the answer.

use super::files::{
    ASKING_FILE, AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE, SECRET_FILES, SETTINGS_FILE, is_nothing, kept_settings,
};
use super::inquiry::{Inquiry, InquiryError};
use super::message::{Admission, Reply, Request};
use super::ticket::Ticket;
use crate::base::NodeId;
use crate::ring::Layout;
use crate::runtime::certificates::TlsFiles;
use crate::runtime::identity::{self, write_durably};
use crate::runtime::serve_error::ServeError;
use crate::runtime::settings::{HostPort, Settings, file_with};
use crate::store::FileName;
use rcgen::{CertificateParams, KeyPair};
use serde_bytes::ByteBuf;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Wait before the second try.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);

/// Longest wait between tries.
const LAST_BACK_OFF: Duration = Duration::from_secs(5);

/// Seeds a joined node keeps: enough that some answer.
const MAX_SEEDS: usize = 16;

/// What a data directory is to a ticket.
pub enum Prepared {
    /// Its node has joined this cluster before: the ticket is not needed any more.
    Member,
    /// It is empty, or its node was interrupted while it asked.
    Candidate(Box<Candidate>),
}

/// A node that has drawn its id and its key, durably, and asks to be let in: interrupted at any time, it asks again
/// as the same one.
pub struct Candidate {
    directory: PathBuf,
    ticket: Ticket,
    node: NodeId,
    key: KeyPair,
}

/// Looks at the data directory, and makes it a candidate's if it is empty.
pub fn prepare(directory: &Path, ticket: &Ticket) -> Result<Prepared, ServeError> {
    identity::make(directory)?;
    let cluster = ticket.invitation.cluster;
    if kept_settings(directory).map_err(|error| ServeError::of_file(directory, &error))?.is_some() {
        return match identity::kept_node(directory)? {
            Some((_, kept)) if kept != cluster => Err(ServeError::Refused(format!(
                "{}: its node has joined cluster {kept}, and the ticket is for cluster {cluster}; a node of another \
                 cluster begins with an empty data directory",
                directory.display()
            ))),
            _ => Ok(Prepared::Member),
        };
    }
    let asking = directory.join(ASKING_FILE);
    let node = match fs::read_to_string(&asking) {
        Ok(text) => Some(text.trim().parse().map_err(|error| {
            ServeError::Refused(format!("{}: {error}; empty the data directory and join again", asking.display()))
        })?),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(ServeError::of_file(&asking, &error)),
    };
    if node.is_none() {
        must_be_empty(directory)?;
    }
    ticket.check_time().map_err(|error| ServeError::Refused(error.to_string()))?;
    let key = key(directory)?;
    let node = match node {
        Some(node) => node,
        None => {
            let node = NodeId(rand::random());
            write_durably(directory, ASKING_FILE, format!("{node}\n").as_bytes())?;
            node
        }
    };
    Ok(Prepared::Candidate(Box::new(Candidate { directory: directory.into(), ticket: ticket.clone(), node, key })))
}

fn must_be_empty(directory: &Path) -> Result<(), ServeError> {
    let entries = fs::read_dir(directory).map_err(|error| ServeError::of_file(directory, &error))?;
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    match names.find(|name| !is_nothing(&FileName(name.clone()))) {
        Some(name) => Err(ServeError::Refused(format!(
            "{}: not empty, it has {name}; a node joins with an empty data directory. If this is a node of the cluster \
             already, start it without --join",
            directory.display()
        ))),
        None => Ok(()),
    }
}

fn key(directory: &Path) -> Result<KeyPair, ServeError> {
    let path = directory.join(KEY_FILE);
    let broken = |error: rcgen::Error| {
        let path = path.display();
        ServeError::Refused(format!("{path}: no key: {error}; empty the data directory and join again"))
    };
    match fs::read_to_string(&path) {
        Ok(text) => KeyPair::from_pem(&text).map_err(broken),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(broken)?;
            write_durably(directory, KEY_FILE, key.serialize_pem().as_bytes())?;
            Ok(key)
        }
        Err(error) => Err(ServeError::of_file(&path, &error)),
    }
}

impl Candidate {
    /// What its settings are beneath the configuration file, as long as nobody has answered: enough to check all
    /// others before anybody is asked.
    pub fn settings(&self) -> (PathBuf, String) {
        let invitation = &self.ticket.invitation;
        let name = if invitation.name.is_empty() { self.drawn_name() } else { invitation.name.clone() };
        let given = [
            ("node.name", name),
            ("node.zone", invitation.zone.clone()),
            ("cluster.id", invitation.cluster.to_string()),
        ];
        (self.directory.join(SETTINGS_FILE), file_with("", &given))
    }

    /// For nodes that nobody names.
    fn drawn_name(&self) -> String {
        format!("node-{}", self.node.to_string().chars().take(8).collect::<String>())
    }

    /// Asks until there is an answer, and keeps what it says. Can be dropped at any time.
    pub async fn join(&self, settings: &Settings) -> Result<(), ServeError> {
        self.check(settings)?;
        let failed = |error: InquiryError| ServeError::Failed(error.to_string());
        let inquiry = Inquiry::new(&self.ticket, settings.node.peer_address.ip()).map_err(failed)?;
        let request = self.request(settings)?;
        let address = &self.ticket.issuer_address;
        let mut back_off = FIRST_BACK_OFF;
        let admission = loop {
            let reason = match inquiry.ask(&request).await {
                Ok(Reply::Admitted(admission)) => break admission,
                Ok(Reply::Refused(words)) => {
                    return Err(ServeError::Refused(format!(
                        "{address} does not let this node in: {}",
                        Reply::shown(&words)
                    )));
                }
                Ok(Reply::Later(words)) => Reply::shown(&words),
                Err(error @ (InquiryError::Stranger | InquiryError::NoDesk)) => return Err(self.wrong_issuer(&error)),
                Err(error) => error.to_string(),
            };
            self.ticket.check_time().map_err(|error| ServeError::Refused(error.to_string()))?;
            tracing::warn!(address, reason, "asked to join; asking again in {back_off:?}");
            tokio::time::sleep(back_off).await;
            back_off = (back_off * 2).min(LAST_BACK_OFF);
        };
        inquiry.close().await;
        self.keep(&admission, settings)?;
        tracing::info!(node = %self.node, name = settings.node.name, cluster = %self.ticket.invitation.cluster, "joined");
        Ok(())
    }

    fn check(&self, settings: &Settings) -> Result<(), ServeError> {
        let invitation = &self.ticket.invitation;
        let (configured, cluster) = (settings.cluster.id, invitation.cluster);
        if configured != cluster {
            return Err(ServeError::Refused(format!(
                "cluster.id is {configured} in the settings, and the ticket is for cluster {cluster}"
            )));
        }
        let (name, expected) = (&settings.node.name, &invitation.name);
        if !expected.is_empty() && name != expected {
            return Err(ServeError::Refused(format!(
                "node.name is {name:?} in the settings, and the ticket is for a node named {expected:?}"
            )));
        }
        Ok(())
    }

    fn request(&self, settings: &Settings) -> Result<Request, ServeError> {
        let signing = CertificateParams::default().serialize_request(&self.key);
        let signing = signing.map_err(|error| ServeError::Failed(format!("cannot ask for a certificate: {error}")))?;
        Ok(Request {
            invitation: self.ticket.invitation.clone(),
            secret: self.ticket.secret(),
            node: self.node,
            name: settings.node.name.clone(),
            signing_request: ByteBuf::from(signing.der().to_vec()),
        })
    }

    fn wrong_issuer(&self, error: &InquiryError) -> ServeError {
        let (address, cluster) = (&self.ticket.issuer_address, self.ticket.invitation.cluster);
        let advice = match error {
            InquiryError::NoDesk => {
                "set it and restart that node, or get a ticket for another one: dunlin cluster invite --issuer NAME"
            }
            _ => "the ticket is another cluster's, or its node has moved: get a new one with `dunlin cluster invite`",
        };
        ServeError::Refused(format!("{address}, which the ticket names for cluster {cluster}: {error}; {advice}"))
    }

    /// Writes down what the node begins with, the settings last: then it has joined.
    fn keep(&self, admission: &Admission, settings: &Settings) -> Result<(), ServeError> {
        let unfit = |what: String| ServeError::Failed(format!("the answer cannot be used: {what}"));
        let cluster = self.ticket.invitation.cluster;
        let layout: Layout = serde_json::from_str(&admission.layout).map_err(|error| unfit(error.to_string()))?;
        if layout.cluster != cluster {
            return Err(unfit(format!("its layout is of cluster {}", layout.cluster)));
        }
        let Admission { certificate, authorities, token_secrets, .. } = admission;
        let tls = TlsFiles::from_pem(authorities, certificate, &self.key.serialize_pem());
        let tls = tls.map_err(|error| unfit(error.to_string()))?;
        let checked = tls.check(self.node, cluster).and_then(|()| tls.check_signed());
        checked.map_err(|error| unfit(error.to_string()))?;
        if !tls.trusts(&self.ticket.authority) {
            return Err(unfit("it does not list the ticket's authority".into()));
        }
        let is_secret = |secret: &ByteBuf| secret.len() == 32;
        if !(1..=SECRET_FILES.len()).contains(&token_secrets.len()) || !token_secrets.iter().all(is_secret) {
            return Err(unfit("one or two secrets of 32 bytes are expected".into()));
        }
        let directory = &self.directory;
        identity::keep(directory, (self.node, cluster), &admission.layout)?;
        write_durably(directory, AUTHORITY_FILE, authorities.as_bytes())?;
        write_durably(directory, CERTIFICATE_FILE, certificate.as_bytes())?;
        for (name, secret) in SECRET_FILES.iter().zip(token_secrets) {
            write_durably(directory, name, secret)?;
        }
        write_durably(directory, SETTINGS_FILE, self.joined_settings(admission, &layout, settings).as_bytes())?;
        // Left behind it does no harm: the settings are there.
        let _ = fs::remove_file(directory.join(ASKING_FILE));
        Ok(())
    }

    /// What holds for the node wherever its configuration file says nothing else: who it is, and where it was told to
    /// listen when it joined.
    fn joined_settings(&self, admission: &Admission, layout: &Layout, settings: &Settings) -> String {
        let mut seeds: Vec<&str> = Vec::new();
        for seed in admission.seeds.iter().chain(&self.ticket.seeds).filter(|seed| seed.parse::<HostPort>().is_ok()) {
            if seeds.len() < MAX_SEEDS && !seeds.contains(&seed.as_str()) {
                seeds.push(seed);
            }
        }
        let secrets = SECRET_FILES.iter().take(admission.token_secrets.len()).copied().collect::<Vec<_>>();
        let mut given = vec![
            ("node.name", settings.node.name.clone()),
            ("node.zone", settings.node.zone.clone()),
            ("node.seeds", seeds.join(",")),
            ("node.http_address", settings.node.http_address.to_string()),
            ("node.peer_address", settings.node.peer_address.to_string()),
            ("cluster.id", layout.cluster.to_string()),
            ("cluster.partitions", layout.partitioning.count().to_string()),
            ("cluster.replicas", layout.replicas.to_string()),
            ("cluster.secret_file", secrets.join(",")),
            ("tls.ca", AUTHORITY_FILE.into()),
            ("tls.certificate", CERTIFICATE_FILE.into()),
            ("tls.key", KEY_FILE.into()),
            ("tls.allow_insecure_http", settings.tls.allow_insecure_http.to_string()),
        ];
        given.extend(settings.node.advertise_address.iter().map(|at| ("node.advertise_address", at.to_string())));
        given.extend(settings.membership.address.iter().map(|at| ("membership.address", at.to_string())));
        let heading = format!(
            "Node {} ({}) as it joined cluster {}. A configuration file, variables and flags count before this.",
            settings.node.name, self.node, layout.cluster
        );
        file_with(&heading, &given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::certificates::Authority;
    use crate::runtime::join::ticket::Invitation;
    use crate::runtime::join::ticket::tests::{CLUSTER, invitation};

    fn ticket(invitation: Invitation) -> Ticket {
        let authority = Authority::generate(CLUSTER).unwrap();
        Ticket::new(&authority, invitation, "127.0.0.1:1".into(), Vec::new()).unwrap()
    }

    fn candidate(directory: &Path) -> Box<Candidate> {
        match prepare(directory, &ticket(invitation(1))).unwrap() {
            Prepared::Candidate(candidate) => candidate,
            Prepared::Member => panic!("it has not joined"),
        }
    }

    #[test]
    fn an_interrupted_candidate_is_the_same_one_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = candidate(directory.path());
        let again = candidate(directory.path());
        assert_eq!((first.node, first.key.serialize_pem()), (again.node, again.key.serialize_pem()));
        fs::remove_file(directory.path().join(ASKING_FILE)).unwrap();
        assert_eq!(candidate(directory.path()).key.serialize_pem(), first.key.serialize_pem());
    }

    #[test]
    fn a_directory_with_something_in_it_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("identity"), "").unwrap();
        let words = prepare(directory.path(), &ticket(invitation(1))).err().unwrap().to_string();
        assert!(words.contains("it has identity") && words.contains("without --join"), "{words}");
    }

    #[test]
    fn an_expired_ticket_leaves_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let late = ticket(Invitation { expires: 1, ..invitation(1) });
        let words = prepare(directory.path(), &late).err().unwrap().to_string();
        assert!(words.contains("expired") && words.contains("dunlin cluster invite"), "{words}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_nameless_ticket_leaves_the_name_to_the_node() {
        let directory = tempfile::tempdir().unwrap();
        let ticket = ticket(Invitation { name: String::new(), ..invitation(1) });
        let Prepared::Candidate(candidate) = prepare(directory.path(), &ticket).unwrap() else { panic!() };
        let (_, text) = candidate.settings();
        assert!(text.contains("name = \"node-") && text.contains("zone = \"east\""), "{text}");
    }
}
