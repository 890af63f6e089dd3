//! Which certificates are trusted, and which one we show: the system's, and those in `certs.d/HOST/`, as Docker reads that
//! folder: `*.crt` are authorities, `*.cert` with `*.key` is ours.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::endpoint::{Endpoint, RegistryOptions};
use crate::error::RegistryError;

const MAX_CERTIFICATE_BYTES: u64 = 1 << 20;

/// The TLS settings for a registry. An insecure one is not verified, as in Docker.
pub(crate) fn configuration(endpoint: &Endpoint, options: &RegistryOptions) -> Result<ClientConfig, RegistryError> {
    let builder = tls_trust::builder().map_err(|error| RegistryError::Protocol(error.to_string()))?;
    let folder = options.certificates.join(&endpoint.domain);
    if endpoint.insecure {
        return with_identity(tls_trust::trusting_anybody(builder), &folder);
    }
    let mut roots = tls_trust::system_roots();
    for (path, bytes) in files(&folder, "crt")? {
        let name = path.display().to_string();
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|error| refused(&name, format!("{error:?}")))?;
            roots.add(certificate).map_err(|error| refused(&name, error))?;
        }
    }
    with_identity(builder.with_root_certificates(roots), &folder)
}

/// With the certificate that the registry's folder has for us; the first one, if there are several.
fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    folder: &Path,
) -> Result<ClientConfig, RegistryError> {
    let certificates = files(folder, "cert")?;
    for (path, _) in files(folder, "key")? {
        let certificate = path.with_extension("cert");
        if !certificates.iter().any(|(known, _)| *known == certificate) {
            let (key, certificate) = (file_name(&path), file_name(&certificate));
            return Err(refused(&key, format!("missing client certificate {certificate} for key {key}")));
        }
    }
    let Some((path, bytes)) = certificates.first() else { return Ok(builder.with_no_client_auth()) };
    let (name, key) = (path.display().to_string(), path.with_extension("key"));
    if !key.exists() {
        let (key, certificate) = (file_name(&key), file_name(path));
        let reason = format!(
            "missing key {key} for client certificate {certificate}. CA certificates must use the extension .crt"
        );
        return Err(refused(&name, reason));
    }
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.map_err(|error| refused(&name, format!("{error:?}")))?;
    let secret = read(&key)?;
    let key_name = key.display().to_string();
    let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|error| refused(&key_name, format!("{error:?}")))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| refused(&name, error))
}

/// The files of a folder with this extension, by name. A folder that is not there has none.
fn files(folder: &Path, extension: &str) -> Result<Vec<(PathBuf, Vec<u8>)>, RegistryError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    paths.sort();
    paths.into_iter().map(|path| read(&path).map(|bytes| (path, bytes))).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    let name = path.display().to_string();
    let length = fs::metadata(path).map_err(|error| refused(&name, error))?.len();
    if length > MAX_CERTIFICATE_BYTES {
        return Err(refused(&name, "file too large"));
    }
    fs::read(path).map_err(|error| refused(&name, error))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn refused(path: &str, reason: impl ToString) -> RegistryError {
    RegistryError::Certificate { path: path.to_owned(), reason: reason.to_string() }
}
