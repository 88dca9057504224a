//! Certificates of peers (placeholder: the transport's work replaces this file).

use crate::base::{ClusterId, NodeId};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A cluster's authority: its certificate, its key.
pub struct Authority {
    cluster: ClusterId,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A node's certificate and key.
pub struct Issued {
    /// The certificate (PEM).
    pub certificate_pem: String,
    /// Its key (PEM).
    pub key_pem: String,
}

/// A certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[error("certificates: {0}")]
pub struct CertificateError(#[from] rcgen::Error);

impl Authority {
    /// A new authority for this cluster.
    pub fn generate(cluster: ClusterId) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{cluster}.dunlin"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { cluster, certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// The authority whose certificate and key these are.
    pub fn from_pem(cluster: ClusterId, certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, KeyPair::from_pem(key_pem)?)?;
        Ok(Self { cluster, certificate_pem: certificate_pem.into(), issuer })
    }

    /// A new certificate for a node.
    pub fn issue(&self, node: NodeId) -> Result<Issued, CertificateError> {
        let names = vec![format!("{node}.{}.dunlin", self.cluster), format!("{}.dunlin", self.cluster)];
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, node.to_string());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate_pem, key_pem: key.serialize_pem() })
    }

    /// Its certificate (PEM).
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key (PEM).
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}
