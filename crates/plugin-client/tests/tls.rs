//! A plugin behind TLS, with a certificate of an authority of the test's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plugin_client::{PluginError, Plugins};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

/// Answers every request alike; tells its port.
async fn serve() -> u16 {
    let chain = CertificateDer::pem_file_iter(certificate("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificate("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let body = json!({"Implements": ["VolumeDriver"], "Err": ""}).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn a_plugin_is_reached_by_whom_trusts_its_authority_and_by_nobody_else() {
    let port = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let specs = [
        ("trusting", format!("https://127.0.0.1:{port}"), json!({"CAFile": certificate("ca.pem")})),
        ("careless", format!("https://localhost:{port}/"), json!({"InsecureSkipVerify": true})),
        ("doubting", format!("https://127.0.0.1:{port}"), json!({})),
        ("broken", format!("https://127.0.0.1:{port}"), json!({"CAFile": folder.path().join("none")})),
    ];
    for (name, address, tls) in specs {
        let spec = json!({"Name": name, "Addr": address, "TLSConfig": tls});
        std::fs::write(folder.path().join(format!("{name}.json")), spec.to_string()).unwrap();
    }
    let plugins = Plugins {
        sockets: folder.path().join("none"),
        specs: vec![folder.path().to_path_buf()],
        patience: Duration::from_millis(200),
    };
    for name in ["trusting", "careless"] {
        let plugin = plugins.find(name).unwrap();
        plugin.activate("VolumeDriver").await.unwrap();
        let answer: Value = plugin.call("VolumeDriver.List", &json!({})).await.unwrap();
        assert_eq!(answer["Err"], "");
    }
    let error = plugins.find("doubting").unwrap().activate("VolumeDriver").await.unwrap_err();
    assert!(matches!(error, PluginError::Unreachable { .. }), "{error}");
    let error = plugins.find("broken").unwrap().activate("VolumeDriver").await.unwrap_err();
    assert!(error.to_string().contains("could not read"), "{error}");
}
