//! Which certificates are trusted: the system's, and those in `certs.d/HOST/*.crt`.

use std::fs;
use std::path::Path;

use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::endpoint::{Endpoint, RegistryOptions};
use crate::error::RegistryError;

const MAX_CERTIFICATE_BYTES: u64 = 1 << 20;

/// The TLS settings for a registry. An insecure one is not verified, as in Docker.
pub(crate) fn configuration(endpoint: &Endpoint, options: &RegistryOptions) -> Result<ClientConfig, RegistryError> {
    let builder = tls_trust::builder().map_err(|error| RegistryError::Protocol(error.to_string()))?;
    if endpoint.insecure {
        return Ok(tls_trust::trusting_anybody(builder).with_no_client_auth());
    }
    let mut roots = tls_trust::system_roots();
    for certificate in configured(&options.certificates.join(&endpoint.domain))? {
        roots.add(certificate.1).map_err(|error| refused(&certificate.0, error))?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn configured(folder: &Path) -> Result<Vec<(String, CertificateDer<'static>)>, RegistryError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "crt"))
    {
        let name = path.display().to_string();
        let length = fs::metadata(&path).map_err(|error| refused(&name, error))?.len();
        if length > MAX_CERTIFICATE_BYTES {
            return Err(refused(&name, "file too large"));
        }
        let bytes = fs::read(&path).map_err(|error| refused(&name, error))?;
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            found.push((name.clone(), certificate.map_err(|error| refused(&name, format!("{error:?}")))?));
        }
    }
    Ok(found)
}

fn refused(path: &str, reason: impl ToString) -> RegistryError {
    RegistryError::Certificate { path: path.to_owned(), reason: reason.to_string() }
}
