//! Plugins behind TLS: whom to trust, and who we are (a plugin's `.json` file, `TLSConfig`).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The largest file of certificates or keys that is read.
const MAX_FILE: u64 = 1 << 20;

/// Files in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Tls {
    /// Takes any certificate of the plugin.
    pub insecure_skip_verify: bool,
    /// Who may vouch for the plugin; empty: the system's certificates.
    #[serde(rename = "CAFile")]
    pub ca_file: PathBuf,
    /// Ours, together with its key.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl Tls {
    /// The settings of a connection. Files are read, and the system's certificates take a while: made when first needed.
    pub(crate) fn settings(&self) -> Result<Arc<ClientConfig>, String> {
        let builder = tls_trust::builder().map_err(|error| error.to_string())?;
        let builder = if self.insecure_skip_verify {
            tls_trust::trusting_anybody(builder)
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        if self.cert_file.as_os_str().is_empty() && self.key_file.as_os_str().is_empty() {
            return Ok(Arc::new(builder.with_no_client_auth()));
        }
        let chain = certificates(&self.cert_file)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key_file)?)
            .map_err(|error| format!("could not load X509 key pair: {}: {error}", self.key_file.display()))?;
        let config = builder.with_client_auth_cert(chain, key);
        Ok(Arc::new(config.map_err(|error| format!("could not load X509 key pair: {error}"))?))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        if self.ca_file.as_os_str().is_empty() {
            return Ok(tls_trust::system_roots());
        }
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates(&self.ca_file)?).0 == 0 {
            return Err(format!("failed to append certificates from PEM file: {}", self.ca_file.display()));
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?).flatten().collect();
    if found.is_empty() { Err(format!("{} has no certificate", path.display())) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let taken = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    taken.map_err(|error| format!("could not read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE { Err(format!("{} is larger than 1 MiB", path.display())) } else { Ok(bytes) }
}

/// The handshake with `host:port`.
pub(crate) async fn shake_hands(
    settings: Arc<ClientConfig>,
    address: &str,
    stream: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(std::io::Error::other)?;
    TlsConnector::from(settings).connect(name, stream).await
}
