//! TLS to a receiver: whom to trust, and who we are.

use std::io;
use std::path::{Path, PathBuf};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Files in PEM; read for every connection, so that a renewed certificate is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Who may vouch for the receiver, beside whom the system trusts.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub skip_verify: bool,
}

impl Tls {
    pub fn settings(&self) -> io::Result<ClientConfig> {
        let builder = tls_trust::builder().map_err(io::Error::other)?;
        let builder = if self.skip_verify {
            tls_trust::trusting_anybody(builder)
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        match (&self.cert, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (cert, key) => {
                let (cert, key) = (read(cert.as_deref())?, read(key.as_deref())?);
                let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&cert).collect();
                let unusable = |why: String| io::Error::other(format!("could not load X509 key pair: tls: {why}"));
                let chain = chain.map_err(|error| unusable(error.to_string()))?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unusable(error.to_string()))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| unusable(error.to_string()))
            }
        }
    }

    fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = tls_trust::system_roots();
        if let Some(path) = &self.ca {
            let named = |why: String| io::Error::other(format!("could not read CA certificate {path:?}: {why}"));
            let text = std::fs::read(path)
                .map_err(|error| named(format!("open {}: {}", path.display(), crate::transport::lower(&error))))?;
            let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text).flatten().collect();
            if roots.add_parsable_certificates(found).0 == 0 {
                let path = path.display();
                return Err(io::Error::other(format!("failed to append certificates from PEM file: \"{path}\"")));
            }
        }
        Ok(roots)
    }
}

fn read(path: Option<&Path>) -> io::Result<Vec<u8>> {
    let path = path.unwrap_or(Path::new(""));
    let named = |error: io::Error| {
        let why = crate::transport::lower(&error);
        io::Error::other(format!("could not load X509 key pair: open {}: {why}", path.display()))
    };
    std::fs::read(path).map_err(named)
}
