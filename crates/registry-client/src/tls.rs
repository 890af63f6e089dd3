//! Which certificates are trusted: the system's, and those in `certs.d/HOST/*.crt`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::endpoint::{Endpoint, RegistryOptions};
use crate::error::RegistryError;

const MAX_CERTIFICATE_BYTES: u64 = 1 << 20;

/// The TLS settings for a registry. An insecure one is not verified, as in Docker.
pub(crate) fn configuration(endpoint: &Endpoint, options: &RegistryOptions) -> Result<ClientConfig, RegistryError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| RegistryError::Protocol(error.to_string()))?;
    if endpoint.insecure {
        let verifier = Arc::new(Unverified(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    // What the system's store cannot parse, it cannot vouch for; the rest stands.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
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

/// Takes any certificate: for registries that were declared insecure.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
