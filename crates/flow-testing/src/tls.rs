//! TLS in front of any server of a test's own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::pki::Pki;

/// Takes TLS connections on a free loopback port and hands what is in them to another server, on a
/// thread of its own; ends with the process.
#[derive(Debug)]
pub struct TlsFront {
    addr: SocketAddr,
}

impl TlsFront {
    /// In front of `upstream`, with `pki`'s server certificate; `asks` says whether a client has to
    /// show one too.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start(upstream: SocketAddr, pki: &Pki, asks: bool) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config(pki, asks)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let addr = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(serve(listener, acceptor, upstream));
        });
        Self { addr }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn serve(listener: std::net::TcpListener, acceptor: TlsAcceptor, upstream: SocketAddr) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    while let Ok((socket, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that is refused has its reason; there is nobody here to tell.
            let Ok(mut client) = acceptor.accept(socket).await else {
                return;
            };
            if let Ok(mut server) = TcpStream::connect(upstream).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

fn config(pki: &Pki, asks: bool) -> ServerConfig {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("TLS versions");
    let builder = if asks {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pki, "ca.pem") {
            roots.add(certificate).expect("a root");
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(pki.path("server.key")).expect("a key");
    let chain = certificates(pki, "server.pem");
    builder.with_single_cert(chain, key).expect("a certificate")
}

fn certificates(pki: &Pki, name: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(pki.path(name)).expect("a PEM file");
    found
        .map(|certificate| certificate.expect("a certificate"))
        .collect()
}
