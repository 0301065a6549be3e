use super::*;

fn sasl(mechanism: &str) -> Security {
    let sasl = Sasl {
        mechanism: mechanism.to_owned(),
        username: "me".to_owned(),
        password: "hunter2".to_owned(),
    };
    Security {
        tls: None,
        sasl: Some(sasl),
    }
}

#[test]
fn nothing_said_is_nothing_set() {
    assert!(Security::default().properties().unwrap().is_empty());
}

#[test]
fn plain_works_in_every_build() {
    let properties = sasl("PLAIN").properties().unwrap();
    assert_eq!(properties["security.protocol"], "sasl_plaintext");
    assert_eq!(properties["sasl.password"], "hunter2");
}

#[cfg(not(feature = "tls"))]
#[test]
fn what_this_build_cannot_do_is_said_with_the_remedy() {
    let tls = Security {
        tls: Some(Tls::default()),
        sasl: None,
    };
    for (security, key) in [
        (tls, "kafka.tls"),
        (sasl("SCRAM-SHA-256"), "kafka.sasl.mechanism"),
        (sasl("SCRAM-SHA-512"), "kafka.sasl.mechanism"),
    ] {
        let error = security.properties().unwrap_err();
        assert_eq!(error.key().as_deref(), Some(key));
        let text = error.to_string();
        assert!(text.contains("--features kafka-tls"), "{text}");
    }
    for (key, value, refused) in [
        ("security.protocol", "SASL_SSL", true),
        ("security.protocol", "ssl", true),
        ("security.protocol", "sasl_plaintext", false),
        ("sasl.mechanisms", "SCRAM-SHA-512", true),
        ("sasl.mechanism", "PLAIN", false),
    ] {
        let properties = [(key.to_owned(), value.to_owned())].into();
        assert_eq!(check_by_hand(&properties).is_err(), refused, "{key}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_file_that_is_not_there_is_told_with_its_key() {
    let tls = Tls {
        files: Files {
            ca_file: Some("/nowhere/ca.pem".into()),
            ..Files::default()
        },
        key_password: None,
    };
    let security = Security {
        tls: Some(tls),
        sasl: None,
    };
    let error = security.properties().unwrap_err();
    assert_eq!(error.key().as_deref(), Some("kafka.tls.ca-file"));
    let text = error.to_string();
    assert!(
        text.starts_with("kafka.tls.ca-file: /nowhere/ca.pem: "),
        "{text}"
    );
}

#[test]
fn handshakes_are_understood() {
    use Handshake::*;
    for (reason, expect) in [
        (
            "ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL \
             routines::certificate verify failed: broker certificate could not be verified",
            Some(Untrusted),
        ),
        (
            "error:0A000086:SSL routines::certificate verify failed: hostname mismatch",
            Some(OtherName),
        ),
        (
            "SSL handshake failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: \
             SSL alert number 116",
            Some(ClientCertificate),
        ),
        (
            "error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48",
            Some(ClientCertificate),
        ),
        (
            "Disconnected: connecting to a PLAINTEXT broker listener?",
            Some(PlainListener),
        ),
        (
            "Disconnected while requesting ApiVersion: might be caused by incorrect \
             security.protocol configuration (connecting to a SSL listener?)",
            Some(TlsListener),
        ),
        (
            "[thrd:sasl_plaintext://127.0.0.1:9093/bootstrap]: \
             sasl_plaintext://127.0.0.1:9093/bootstrap: Disconnected: connection closed by peer: \
             receive 0 after POLLIN (after 1ms in state APIVERSION_QUERY)",
            Some(TlsListener),
        ),
        (
            "sasl_ssl://127.0.0.1:9093/bootstrap: Disconnected: connection closed by peer: \
             receive 0 after POLLIN (after 1ms in state APIVERSION_QUERY)",
            None,
        ),
        (
            "Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            None,
        ),
    ] {
        assert_eq!(Handshake::from_reason(reason), expect, "{reason}");
    }
}

#[test]
fn a_file_that_openssl_does_not_take_is_named() {
    let reason = "ssl.ca.location failed: error:05880009:x509 certificate routines::PEM lib";
    let (key, cause) = refused_file(reason).unwrap();
    assert_eq!(key, "kafka.tls.ca-file");
    assert!(cause.starts_with("error:"));
    assert_eq!(refused_file("No provider for SASL mechanism GSSAPI"), None);
}
