//! What goes wrong with TLS, in the words of Go's libraries: Docker's users know them, and search for them.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as Tls};

/// Why a handshake with a server of this name failed.
pub fn handshake_words(error: &io::Error, name: &str) -> String {
    let unverified = |reason: &str| format!("tls: failed to verify certificate: x509: {reason}");
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(Tls::InvalidMessage(_)) => "http: server gave HTTP response to HTTPS client".to_owned(),
        Some(Tls::InvalidCertificate(reason)) => match reason {
            CertificateError::UnknownIssuer => unverified("certificate signed by unknown authority"),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                unverified("certificate has expired or is not yet valid")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                unverified("certificate has expired or is not yet valid")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                unverified(&format!("certificate is not valid for any names, but wanted to match {name}"))
            }
            other => unverified(&other.to_string()),
        },
        Some(Tls::AlertReceived(alert)) => alert_words(*alert),
        _ => format!("tls: {error}"),
    }
}

/// What the other side says when it hangs up during or just after the handshake.
pub fn alert_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "remote error: tls: certificate required".to_owned(),
        AlertDescription::BadCertificate => "remote error: tls: bad certificate".to_owned(),
        AlertDescription::UnknownCA => "remote error: tls: unknown certificate authority".to_owned(),
        AlertDescription::HandshakeFailure => "remote error: tls: handshake failure".to_owned(),
        AlertDescription::ProtocolVersion => "remote error: tls: protocol version not supported".to_owned(),
        other => format!("remote error: tls: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::InvalidMessage;

    use super::*;

    #[test]
    fn a_handshake_fails_in_go_s_words() {
        let of = |error: Tls| handshake_words(&io::Error::new(io::ErrorKind::InvalidData, error), "registry.test");
        assert_eq!(
            of(Tls::InvalidMessage(InvalidMessage::InvalidContentType)),
            "http: server gave HTTP response to HTTPS client"
        );
        assert_eq!(
            of(Tls::InvalidCertificate(CertificateError::UnknownIssuer)),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        );
        assert_eq!(of(Tls::AlertReceived(AlertDescription::BadCertificate)), "remote error: tls: bad certificate");
        assert!(handshake_words(&io::ErrorKind::UnexpectedEof.into(), "x").starts_with("tls: "));
    }
}
