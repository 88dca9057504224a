//! Who a peer is: the cluster's authority, the nodes' certificates, and mutual TLS made of them.

use crate::base::{ClusterId, NodeId};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CipherSuite, RootCertStore};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clocks of new machines may be behind by this much.
const SKEW: Duration = Duration::from_secs(24 * 3600);

/// Twenty years: an authority outlives its cluster's disks. Nodes have the same until they renew by themselves.
const VALIDITY: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// A cluster's authority: its certificate, its key. Whoever has the key can add nodes.
pub struct Authority {
    cluster: ClusterId,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A node's certificate and key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate (PEM).
    pub certificate_pem: String,
    /// Its key (PEM, PKCS #8). A secret.
    pub key_pem: String,
}

/// A node's TLS material: one side of mutual TLS, for dialling and for being dialled, and whom it lets in.
#[derive(Clone)]
pub struct TlsFiles {
    roots: Arc<RootCertStore>,
    authorities: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    strangers: Strangers,
    banned: Arc<BTreeSet<NodeId>>,
}

/// What becomes of who has no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Refused,
    /// They may ask to join, by this protocol and no other.
    MayAsk(&'static [u8]),
}

/// A certificate made for a key that its maker has not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    /// The certificate (PEM).
    pub(crate) certificate_pem: String,
    /// Hash of the public key: the same key asks again.
    pub(crate) key_hash: [u8; 32],
}

/// A certificate cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Making or parsing one failed.
    #[error("certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// The text holds no such PEM section, or a broken one.
    #[error("PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// TLS refuses it.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The authorities cannot be used for verifying.
    #[error("certificate authorities: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Another authority signed it.
    #[error("the certificate is not signed by this cluster's authority")]
    Foreign,
    /// The key is not the certificate's.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate names no node, or more than one.
    #[error("the certificate is not that of one node of one cluster")]
    Nameless,
    /// The certificate is another node's or another cluster's.
    #[error("the certificate is not for node {node} of cluster {cluster}")]
    WrongName {
        /// The node it should be for.
        node: NodeId,
        /// The cluster it should be for.
        cluster: ClusterId,
    },
}

impl Authority {
    /// A new authority for this cluster (ECDSA P-256, valid for 20 years).
    pub fn generate(cluster: ClusterId) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, cluster_name(cluster));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let params = valid_from_now(params);
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { cluster, certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// The authority whose certificate and key these are.
    pub fn from_pem(cluster: ClusterId, certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(key_pem)?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())?;
        let public = webpki::EndEntityCert::try_from(&der)
            .map(|certificate| certificate.subject_public_key_info())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        if public.as_ref() != key.subject_public_key_info().as_slice() {
            return Err(CertificateError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { cluster, certificate_pem: certificate_pem.into(), issuer })
    }

    /// A new key and certificate for a node: for serving and for dialling, valid for 20 years.
    pub fn issue(&self, node: NodeId) -> Result<Issued, CertificateError> {
        let key = KeyPair::generate()?;
        let certificate_pem = self.params(node)?.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate_pem, key_pem: key.serialize_pem() })
    }

    /// A certificate for the node whose signing request (DER) this is. Only the key is taken from it, which it
    /// proves to have; what the certificate says is said here.
    pub(crate) fn sign(&self, node: NodeId, request: &[u8]) -> Result<Signed, CertificateError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))?;
        let key_hash = *blake3::hash(request.public_key.der_bytes()).as_bytes();
        let certificate_pem = self.params(node)?.signed_by(&request.public_key, &self.issuer)?.pem();
        Ok(Signed { certificate_pem, key_hash })
    }

    fn params(&self, node: NodeId) -> Result<CertificateParams, CertificateError> {
        let names = vec![node_name(node, self.cluster), cluster_name(self.cluster)];
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, node.to_string());
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(valid_from_now(params))
    }

    /// What only who has the authority's key can know, for this one use.
    pub(crate) fn derived_secret(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, self.issuer.key().serialized_der())
    }

    /// Which authority it is.
    pub(crate) fn fingerprint(&self) -> Result<[u8; 32], CertificateError> {
        Ok(fingerprint(&CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())?))
    }

    /// Its certificate (PEM).
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key (PEM, PKCS #8). A secret.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl TlsFiles {
    /// Reads PEM files: the authorities whose nodes are let in (two while one replaces the other), this
    /// node's certificate, its key.
    pub fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|error| CertificateError::File { path: path.display().to_string(), error })
        };
        Self::from_pem(&read(ca)?, &read(certificate)?, &read(key)?)
    }

    /// From the same as text. Fails also if key and certificate do not fit together, so that a node finds
    /// out at its start and not at its first peer.
    pub fn from_pem(ca: &str, certificate: &str, key: &str) -> Result<Self, CertificateError> {
        let authorities = CertificateDer::pem_slice_iter(ca.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let mut roots = RootCertStore::empty();
        authorities.iter().try_for_each(|root| roots.add(root.clone()))?;
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = Arc::new(PrivateKeyDer::from_pem_slice(key.as_bytes())?);
        let (roots, strangers, banned) = (Arc::new(roots), Strangers::Refused, Arc::default());
        let tls = Self { roots, authorities, chain, key, strangers, banned };
        tls.client(b"")?;
        tls.server(b"")?;
        Ok(tls)
    }

    /// Whose certificate it is; fails if it is not that of one node of one cluster.
    pub fn node(&self) -> Result<NodeId, CertificateError> {
        self.identity().map(|(node, _)| node)
    }

    /// Of which cluster it is.
    pub fn cluster(&self) -> Result<ClusterId, CertificateError> {
        self.identity().map(|(_, cluster)| cluster)
    }

    /// The same, but nodes of these ids are not let in, whatever their certificates say.
    pub fn banning(mut self, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        self.banned = Arc::new(nodes.into_iter().collect());
        self
    }

    /// The same, but who has no certificate is let in to speak this protocol, and no other; the authority is shown
    /// to everybody, so that who knows only its fingerprint can tell whom it speaks to.
    pub(crate) fn admitting_strangers(mut self, protocol: &'static [u8]) -> Self {
        self.strangers = Strangers::MayAsk(protocol);
        self
    }

    pub(crate) fn banned(&self) -> &Arc<BTreeSet<NodeId>> {
        &self.banned
    }

    /// Has an authority of this cluster signed it? Peers would find out, and tell only in their logs. Whether it
    /// is still valid is for them to say: this machine's clock may be wrong.
    pub(crate) fn check_signed(&self) -> Result<(), CertificateError> {
        let (Some(leaf), (node, cluster)) = (self.chain.first(), self.identity()?) else { return Ok(()) };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), provider()).build()?;
        let name = ServerName::try_from(node_name(node, cluster)).map_err(|_| CertificateError::Nameless)?;
        let rest = self.chain.get(1..).unwrap_or_default();
        match verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::now()) {
            Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
            )) => Err(CertificateError::Foreign),
            _ => Ok(()),
        }
    }

    /// Is the authority of this fingerprint among those whose nodes are let in?
    pub(crate) fn trusts(&self, authority: &[u8; 32]) -> bool {
        self.authorities.iter().any(|certificate| fingerprint(certificate) == *authority)
    }

    fn identity(&self) -> Result<(NodeId, ClusterId), CertificateError> {
        self.chain.first().and_then(identity_of).ok_or(CertificateError::Nameless)
    }

    pub(crate) fn check(&self, node: NodeId, cluster: ClusterId) -> Result<(), CertificateError> {
        if self.identity()? == (node, cluster) { Ok(()) } else { Err(CertificateError::WrongName { node, cluster }) }
    }

    /// For dialling: TLS 1.3, this protocol, no resumption (every connection proves anew who it is).
    pub(crate) fn client(&self, protocol: &[u8]) -> Result<Arc<QuicClientConfig>, CertificateError> {
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(QuicClientConfig::try_from(config).map_err(no_initial_suite)?))
    }

    /// For being dialled: the same, and a certificate of the authority is demanded; where strangers may ask, by
    /// whoever takes the connection.
    pub(crate) fn server(&self, protocol: &[u8]) -> Result<Arc<QuicServerConfig>, CertificateError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider());
        let (mut protocols, mut chain) = (vec![protocol.to_vec()], self.chain.clone());
        let verifier = match self.strangers {
            Strangers::Refused => verifier.build()?,
            Strangers::MayAsk(protocol) => {
                protocols.push(protocol.to_vec());
                chain.extend(self.authorities.iter().cloned());
                verifier.allow_unauthenticated().build()?
            }
        };
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, self.key.clone_key())?;
        config.alpn_protocols = protocols;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(QuicServerConfig::try_from(config).map_err(no_initial_suite)?))
    }
}

/// The name a node is dialled by.
pub fn node_name(node: NodeId, cluster: ClusterId) -> String {
    format!("{node}.{}", cluster_name(cluster))
}

/// The name a seed is dialled by, whose id is not known yet.
pub fn cluster_name(cluster: ClusterId) -> String {
    format!("{cluster}.dunlin")
}

/// Which node of which cluster a certificate speaks for: none if it names no node, or more than one.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Option<(NodeId, ClusterId)> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut identities = parsed.valid_dns_names().filter_map(|name| {
        let (node, cluster) = name.strip_suffix(".dunlin")?.split_once('.')?;
        Some((node.parse().ok()?, cluster.parse().ok()?))
    });
    let identity = identities.next()?;
    identities.next().is_none().then_some(identity)
}

/// Which certificate it is.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    *blake3::hash(certificate).as_bytes()
}

fn valid_from_now(mut params: CertificateParams) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(SKEW);
    params.not_after = epoch + now + VALIDITY;
    params
}

/// ring with only the suites of TLS 1.3, AES-128 first: ChaCha20 costs 22 % more where there is AES in hardware.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn no_initial_suite(_: quinn::crypto::rustls::NoInitialCipherSuite) -> CertificateError {
    rustls::Error::General("no initial cipher suite of QUIC".into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0xc1);

    fn der(issued: &Issued) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
    }

    fn tls(ca: &Authority, issued: &Issued) -> Result<TlsFiles, CertificateError> {
        TlsFiles::from_pem(ca.certificate_pem(), &issued.certificate_pem, &issued.key_pem)
    }

    #[test]
    fn a_certificate_names_its_node_in_its_cluster() {
        let authority = Authority::generate(CLUSTER).unwrap();
        let issued = authority.issue(NodeId(7)).unwrap();
        assert_eq!(identity_of(&der(&issued)), Some((NodeId(7), CLUSTER)));
        let tls = tls(&authority, &issued).unwrap();
        assert_eq!((tls.node().unwrap(), tls.cluster().unwrap()), (NodeId(7), CLUSTER));
        assert!(tls.check(NodeId(7), CLUSTER).is_ok());
        assert!(matches!(tls.check(NodeId(8), CLUSTER), Err(CertificateError::WrongName { .. })));
        assert!(matches!(tls.check(NodeId(7), ClusterId(1)), Err(CertificateError::WrongName { .. })));
    }

    #[test]
    fn a_certificate_of_two_nodes_is_nobodys() {
        let names = vec![node_name(NodeId(1), CLUSTER), node_name(NodeId(2), CLUSTER)];
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        assert_eq!(identity_of(certificate.der()), None);
    }

    #[test]
    fn an_authority_survives_its_files() {
        let first = Authority::generate(CLUSTER).unwrap();
        let again = Authority::from_pem(CLUSTER, first.certificate_pem(), &first.key_pem()).unwrap();
        assert!(tls(&first, &again.issue(NodeId(7)).unwrap()).is_ok());
    }

    #[test]
    fn a_certificate_of_another_authority_is_noticed() {
        let (one, two) = (Authority::generate(CLUSTER).unwrap(), Authority::generate(CLUSTER).unwrap());
        assert!(tls(&one, &one.issue(NodeId(7)).unwrap()).unwrap().check_signed().is_ok());
        let foreign = tls(&one, &two.issue(NodeId(7)).unwrap()).unwrap().check_signed();
        assert!(matches!(foreign, Err(CertificateError::Foreign)));
    }

    #[test]
    fn a_request_gets_a_certificate_for_its_key_and_nothing_else_it_asks_for() {
        let authority = Authority::generate(CLUSTER).unwrap();
        let key = KeyPair::generate().unwrap();
        let asked = CertificateParams::new(vec![node_name(NodeId(1), CLUSTER)]).unwrap();
        let request = asked.serialize_request(&key).unwrap();
        let signed = authority.sign(NodeId(7), request.der()).unwrap();
        let issued = Issued { certificate_pem: signed.certificate_pem, key_pem: key.serialize_pem() };
        assert_eq!(tls(&authority, &issued).unwrap().node().unwrap(), NodeId(7));
        let mut broken = request.der().to_vec();
        *broken.last_mut().unwrap() ^= 1;
        assert!(authority.sign(NodeId(7), &broken).is_err());
    }

    #[test]
    fn a_key_that_is_anothers_is_refused_at_once() {
        let (one, two) = (Authority::generate(CLUSTER).unwrap(), Authority::generate(CLUSTER).unwrap());
        let mixed = Authority::from_pem(CLUSTER, one.certificate_pem(), &two.key_pem());
        assert!(matches!(mixed, Err(CertificateError::KeyMismatch)));
        let (a, b) = (one.issue(NodeId(1)).unwrap(), one.issue(NodeId(2)).unwrap());
        let mixed = Issued { certificate_pem: a.certificate_pem, key_pem: b.key_pem };
        assert!(tls(&one, &mixed).is_err());
    }
}
