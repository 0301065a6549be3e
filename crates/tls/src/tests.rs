use super::*;

fn read_of(files: Files) -> TlsError {
    files.client_config().unwrap_err()
}

#[test]
fn mistakes_name_key_file_and_remedy() {
    use gristmill_flow_testing::pki::Pki;
    let pki = Pki::new();
    let path = |name: &str| Some(pki.path(name));
    let other = Pki::new();
    for (files, key, part) in [
        (
            Files {
                ca_file: Some("/nowhere/ca.pem".into()),
                ..Files::default()
            },
            CA,
            "/nowhere/ca.pem: No such file",
        ),
        (
            Files {
                ca_file: path("client.key"),
                ..Files::default()
            },
            CA,
            "it holds no certificate",
        ),
        (
            Files {
                cert_file: path("client.pem"),
                ..Files::default()
            },
            KEY,
            "missing",
        ),
        (
            Files {
                key_file: path("client.key"),
                ..Files::default()
            },
            CERT,
            "missing",
        ),
        (
            Files {
                cert_file: path("client.pem"),
                key_file: path("ca.pem"),
                ..Files::default()
            },
            KEY,
            "it holds no private key",
        ),
        (
            Files {
                cert_file: path("client.pem"),
                key_file: Some(other.path("client.key")),
                ..Files::default()
            },
            KEY,
            "made for",
        ),
    ] {
        let error = read_of(files);
        assert_eq!(error.key, key, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn good_files_make_a_client() {
    use gristmill_flow_testing::pki::Pki;
    let pki = Pki::new();
    let files = Files {
        ca_file: Some(pki.path("ca.pem")),
        cert_file: Some(pki.path("client.pem")),
        key_file: Some(pki.path("client.key")),
    };
    files.client_config().unwrap();
    assert!(files.has_client());
    let pem = files.read(false).unwrap();
    assert!(pem.ca.is_some() && pem.client.is_some());
    Files::default().client_config().unwrap();
}

#[test]
fn a_protected_key_needs_its_password() {
    let dir = std::env::temp_dir().join(format!("gristmill-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let key = dir.join("encrypted.key");
    std::fs::write(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
    let pki = gristmill_flow_testing::pki::Pki::new();
    let files = Files {
        ca_file: None,
        cert_file: Some(pki.path("client.pem")),
        key_file: Some(key),
    };
    let error = files.read(false).err().unwrap();
    assert!(error.to_string().contains("openssl pkey"), "{error}");
    assert!(files.read(true).is_ok(), "whoever has a password opens it");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn handshakes_that_fail_have_a_remedy() {
    let remedy = |error: &str, shows| handshake_remedy(error, "redis", shows).unwrap_or_default();
    let error = "invalid peer certificate: UnknownIssuer";
    assert!(remedy(error, false).contains("`redis.tls.ca-file`"));
    let error = "received fatal alert: CertificateRequired";
    assert!(remedy(error, false).contains("`redis.tls.cert-file` and `key-file`"));
    assert!(remedy(error, true).contains("refuses the certificate"));
    let error = "invalid peer certificate: certificate not valid for name \"h\"";
    assert!(remedy(error, true).contains("another name"));
    assert_eq!(handshake_remedy("Connection refused", "redis", false), None);
}
