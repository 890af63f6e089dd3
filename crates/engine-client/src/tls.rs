//! TLS to a daemon: whom to trust, and who we are.

use std::fmt;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;

/// Certificates and keys in PEM, as files or contexts hold them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who may vouch for the daemon; without it the system's certificates do.
    pub ca: Option<Vec<u8>>,
    pub cert: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    /// Takes any certificate of the daemon.
    pub skip_verify: bool,
}

/// A key is never printed.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("cert", &self.cert.is_some())
            .field("key", &self.key.is_some())
            .field("skip_verify", &self.skip_verify)
            .finish()
    }
}

impl Tls {
    /// The settings of a connection. Reading the system's certificates takes a while: made when first needed.
    pub(crate) fn settings(&self) -> Result<ClientConfig, Error> {
        let builder = tls_trust::builder().map_err(|error| Error::Host(error.to_string()))?;
        // A file that is wrong is told even where nobody asks for it.
        let roots = if self.skip_verify && self.ca.is_none() { RootCertStore::empty() } else { self.roots()? };
        let builder =
            if self.skip_verify { tls_trust::trusting_anybody(builder) } else { builder.with_root_certificates(roots) };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let (chain, key) = identity(cert, key)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| wrong(&format!("tls: {error}")))
            }
            _ => Ok(builder.with_no_client_auth()),
        }
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let Some(ca) = &self.ca else { return Ok(tls_trust::system_roots()) };
        let mut roots = RootCertStore::empty();
        let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(ca).flatten().collect();
        if roots.add_parsable_certificates(found).0 == 0 {
            return Err(wrong("ca.pem seems invalid"));
        }
        Ok(roots)
    }
}

fn wrong(reason: &str) -> Error {
    Error::Host(format!("failed to retrieve context tls info: {reason}"))
}

fn identity(cert: &[u8], key: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| wrong("tls: failed to find any PEM data in certificate input"))?;
    if key.windows(b"Proc-Type: 4,ENCRYPTED".len()).any(|window| window == b"Proc-Type: 4,ENCRYPTED") {
        return Err(Error::Host(
            "private key is encrypted - support for encrypted private keys has been removed, see https://docs.docker.com/go/deprecated/"
                .to_owned(),
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Host("no valid private key found".to_owned()))?;
    Ok((chain, key))
}
