//! The `tls:` of a connector or of `kafka`: which certificate files, read and checked before
//! anything is connected, so that a mistake in them is told with its key and its file.
//!
//! ```text
//! tls: {ca-file, cert-file, key-file} ─▶ Files ─▶ Pem            for clients with a TLS of their own
//!                                             └─▶ ClientConfig   for rustls
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

/// More is no certificate: a wrong path, or a file that never ends.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// How OpenSSL begins a key that a password protects, in its newer and its older form.
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

/// The files that say whom to trust and who is asking. What a connector's `tls:` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Files {
    /// PEM file with the certificates of the CAs that are trusted, instead of the usual ones.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate that is shown to the server, and those between it and its CA.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub key_file: Option<PathBuf>,
}

/// The files' contents, which hold what their names say.
#[derive(Default)]
pub struct Pem {
    /// Of `ca-file`.
    pub ca: Option<Vec<u8>>,
    /// Of `cert-file` and `key-file`.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}; {remedy}")]
pub struct TlsError {
    /// Which key is wrong: `tls.ca-file`.
    pub key: &'static str,
    /// What is wrong with it, naming the file.
    pub reason: String,
    /// What to do.
    pub remedy: &'static str,
}

const CA: &str = "tls.ca-file";
const CERT: &str = "tls.cert-file";
const KEY: &str = "tls.key-file";

const GIVE_CERTIFICATES: &str = "give a readable PEM file with certificates";
const GIVE_KEY: &str = "give a readable PEM file with the certificate's private key";

impl Files {
    /// Whether a certificate is shown to the server.
    pub fn has_client(&self) -> bool {
        self.cert_file.is_some()
    }

    /// That a certificate comes with its key: what can be said without reading a file.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn check(&self) -> Result<(), TlsError> {
        let (key, reason, remedy) = match (&self.cert_file, &self.key_file) {
            (Some(_), None) => (
                KEY,
                "missing",
                "a certificate needs its private key beside it",
            ),
            (None, Some(_)) => (CERT, "missing", "a key needs its certificate beside it"),
            _ => return Ok(()),
        };
        let reason = reason.to_owned();
        Err(TlsError {
            key,
            reason,
            remedy,
        })
    }

    /// Read the files. A key that a password protects is let through only with `password`.
    ///
    /// # Errors
    /// The first file that cannot be read, or does not hold what it should.
    pub fn read(&self, password: bool) -> Result<Pem, TlsError> {
        self.check()?;
        let mut pem = Pem::default();
        if let Some(path) = &self.ca_file {
            let bytes = read(CA, path, GIVE_CERTIFICATES)?;
            certificates(CA, path, &bytes)?;
            pem.ca = Some(bytes);
        }
        if let (Some(cert_file), Some(key_file)) = (&self.cert_file, &self.key_file) {
            let cert = read(CERT, cert_file, GIVE_CERTIFICATES)?;
            certificates(CERT, cert_file, &cert)?;
            let key = read(KEY, key_file, GIVE_KEY)?;
            if !(password && is_encrypted(&key)) {
                private_key(key_file, &key)?;
            }
            pem.client = Some((cert, key));
        }
        Ok(pem)
    }

    /// A rustls client that trusts `ca-file`, or else Mozilla's roots, and shows the certificate.
    ///
    /// # Errors
    /// As [`read`](Self::read), and a key that is not the certificate's.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let pem = self.read(false)?;
        let mut roots = RootCertStore::empty();
        match (&pem.ca, &self.ca_file) {
            (Some(bytes), Some(path)) => {
                for certificate in certificates(CA, path, bytes)? {
                    roots
                        .add(certificate)
                        .map_err(|error| wrong(CA, path, &error.to_string(), GIVE_CERTIFICATES))?;
                }
            }
            _ => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError {
                key: "tls",
                reason: error.to_string(),
                remedy: "this build has no usable TLS",
            })?
            .with_root_certificates(roots);
        match (&pem.client, &self.cert_file, &self.key_file) {
            (Some((cert, key)), Some(cert_file), Some(key_file)) => {
                let chain = certificates(CERT, cert_file, cert)?;
                let key = private_key(key_file, key)?;
                let remedy = "give the key that this certificate was made for";
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| wrong(KEY, key_file, &error.to_string(), remedy))
            }
            _ => Ok(config.with_no_client_auth()),
        }
    }
}

/// What to do about a handshake that failed, by what rustls says of it; `None` where it was no
/// matter of certificates. `section` is where `tls:` stands, such as `redis`.
pub fn handshake_remedy(error: &str, section: &str, shows_certificate: bool) -> Option<String> {
    let untrusted = ["UnknownIssuer", "CaUsedAsEndEntity", "BadSignature"];
    if untrusted.iter().any(|text| error.contains(text)) {
        return Some(format!(
            "its certificate is not signed by a CA that is trusted: put that CA's certificate into \
             `{section}.tls.ca-file`"
        ));
    }
    // rustls writes the names that a certificate has out, in more than one way.
    if error.contains("NotValidForName") || error.contains("not valid for name") {
        return Some(
            "its certificate is for another name: connect by a name that the certificate has"
                .to_owned(),
        );
    }
    if error.contains("Expired") || error.contains("expired") {
        return Some(
            "its certificate has expired: renew it, or set this machine's clock".to_owned(),
        );
    }
    let asked = ["CertificateRequired", "HandshakeFailure"];
    if !shows_certificate && asked.iter().any(|text| error.contains(text)) {
        return Some(format!(
            "it asks for a client certificate: set `{section}.tls.cert-file` and `key-file`"
        ));
    }
    let refused = [
        "CertificateRequired",
        "BadCertificate",
        "UnknownCA",
        "CertificateUnknown",
        "CertificateExpired",
        "CertificateRevoked",
        "UnsupportedCertificate",
        "DecryptError",
    ];
    if refused.iter().any(|text| error.contains(text)) {
        return Some(format!(
            "it refuses the certificate in `{section}.tls.cert-file`: show one that a CA which it \
             trusts has signed"
        ));
    }
    None
}

fn is_encrypted(key: &[u8]) -> bool {
    let holds = |part: &&[u8]| key.windows(part.len()).any(|window| window == *part);
    ENCRYPTED.iter().any(holds)
}

fn read(key: &'static str, path: &Path, remedy: &'static str) -> Result<Vec<u8>, TlsError> {
    let read = || -> std::io::Result<Vec<u8>> {
        use std::io::Read;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(std::io::Error::other("it is larger than 4 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|error| wrong(key, path, &error.to_string(), remedy))
}

fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(
            key,
            path,
            "it holds no certificate",
            GIVE_CERTIFICATES,
        )),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(key, path, &error.to_string(), GIVE_CERTIFICATES)),
    }
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    if is_encrypted(pem) {
        let remedy =
            "give it without: `openssl pkey -in KEY -out PLAIN`, readable by this user only";
        return Err(wrong(KEY, path, "a password protects it", remedy));
    }
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| wrong(KEY, path, "it holds no private key", GIVE_KEY))
}

fn wrong(key: &'static str, path: &Path, cause: &str, remedy: &'static str) -> TlsError {
    TlsError {
        key,
        reason: format!("{}: {cause}", path.display()),
        remedy,
    }
}

#[cfg(test)]
mod tests;
