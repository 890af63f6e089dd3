//! TLS of the API: our certificate, and the authority that clients' certificates must come from.

mod subject;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use engine_http::Peer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::options::Config;

/// The largest file with certificates or a key that is read.
const MAX_BYTES: u64 = 1 << 20;

/// What accepts TLS clients; `None` where the configuration has no TLS.
pub fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>> {
    if !config.tls() {
        return Ok(None);
    }
    let server = server_config(config).context("invalid TLS configuration")?;
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

fn server_config(config: &Config) -> Result<ServerConfig> {
    let place = |named: &Option<PathBuf>, file: &str| named.clone().unwrap_or_else(|| default_folder().join(file));
    let (certificate, key) = (place(&config.tlscert, "cert.pem"), place(&config.tlskey, "key.pem"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if config.tls_verify() {
        let roots = Arc::new(authority(&place(&config.tlscacert, "ca.pem"))?);
        builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots, provider).build()?)
    } else {
        builder.with_no_client_auth()
    };
    let chain = certificates(&certificate);
    let pair = chain.and_then(|chain| Ok((chain, private_key(&key)?)));
    let (chain, private) = pair.with_context(|| {
        format!("could not load X509 key pair (cert: {:?}, key: {:?})", certificate.display(), key.display())
    })?;
    let mut server = builder.with_single_cert(chain, private).context("certificate and key do not belong together")?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(server)
}

/// `$DOCKER_CERT_PATH`, `$DOCKER_CONFIG`, or `~/.docker`.
fn default_folder() -> PathBuf {
    let named = ["DOCKER_CERT_PATH", "DOCKER_CONFIG"].into_iter().filter_map(std::env::var_os).find(|v| !v.is_empty());
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".docker");
    named.map_or_else(home, PathBuf::from)
}

fn authority(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in
        certificates(path).with_context(|| format!("could not read CA certificate {:?}", path.display().to_string()))?
    {
        roots.add(certificate).with_context(|| path.display().to_string())?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("{}: {error:?}", path.display()))?;
    if found.is_empty() {
        bail!("{}: no certificate in it", path.display());
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| anyhow::anyhow!("{}: no private key in it that is not encrypted", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let named = || format!("open {}", path.display());
    if fs::metadata(path).with_context(named)?.len() > MAX_BYTES {
        bail!("{}: larger than {MAX_BYTES} bytes", path.display());
    }
    fs::read(path).with_context(named)
}

/// Who shook hands with us.
pub fn peer(session: &ServerConnection) -> Peer {
    let certificates: Vec<Vec<u8>> =
        session.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect();
    let common_name = certificates.first().and_then(|der| subject::common_name(der));
    Peer { certificates, common_name }
}
