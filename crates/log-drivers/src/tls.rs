//! TLS to a receiver: whom to trust, and who we are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

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
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let builder = if self.skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
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
        let mut roots = RootCertStore::empty();
        // What the system's store cannot parse, it cannot vouch for; the rest stands.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
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

/// Takes any certificate: verification was switched off.
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
