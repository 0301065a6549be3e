//! Certificates of a test's own: a CA, a server, a client, and a CA that nobody trusts.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

/// A directory with PEM files: `ca.pem`; `server.pem` and `.key` for 127.0.0.1 and localhost;
/// `client.pem` and `.key`; `stranger-ca.pem`, of which nothing of this is, and `stranger.pem` and
/// `.key`, a client's of that one. Each private key is PKCS#8.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    /// Removes the directory.
    _owned: Option<TempDir>,
}

impl Pki {
    /// In a directory that goes when this is dropped.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn new() -> Self {
        let owned = tempfile::tempdir().expect("a temporary directory");
        make(owned.path()).expect("certificates");
        Self {
            dir: owned.path().to_owned(),
            _owned: Some(owned),
        }
    }

    /// In `dir`, which stays.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn make_in(dir: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        make(dir)?;
        Ok(Self::in_dir(dir))
    }

    /// What [`make_in`](Self::make_in) made in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            _owned: None,
        }
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One of the files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

fn make(dir: &Path) -> std::io::Result<()> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let ca = authority("Gristmill test CA")?;
    let stranger = authority("A CA that nobody trusts")?;
    std::fs::write(dir.join("ca.pem"), ca.pem())?;
    std::fs::write(dir.join("stranger-ca.pem"), stranger.pem())?;
    // A server may be a client as well: brokers are each other's.
    let both = [ServerAuth, ClientAuth];
    issue(dir, "server", &["127.0.0.1", "localhost"], &both, &ca)?;
    issue(dir, "client", &[], &[ClientAuth], &ca)?;
    issue(dir, "stranger", &[], &[ClientAuth], &stranger)
}

fn authority(name: &str) -> std::io::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(std::io::Error::other)?;
    CertifiedIssuer::self_signed(params, key).map_err(std::io::Error::other)
}

fn issue(
    dir: &Path,
    name: &str,
    hosts: &[&str],
    usages: &[ExtendedKeyUsagePurpose],
    ca: &CertifiedIssuer<'_, KeyPair>,
) -> std::io::Result<()> {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).map_err(std::io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = usages.to_vec();
    let key = KeyPair::generate().map_err(std::io::Error::other)?;
    let certificate = params.signed_by(&key, ca).map_err(std::io::Error::other)?;
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem())?;
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem())
}
