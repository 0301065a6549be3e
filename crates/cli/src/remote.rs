//! Asking a running pipeline: by its socket, or at an address.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use gristmill_runner::{Counted, PipelineStatus};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::UsageError;
use crate::runs::{self, Run};

/// A pipeline that runs answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Millions of counts take a while to be read.
const COUNTS_PATIENCE: Duration = Duration::from_secs(60);
/// Far beyond any status, and enough for millions of counts.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// A running pipeline.
#[derive(Debug, Clone)]
pub(crate) enum Remote {
    /// At an address.
    Tcp(SocketAddr),
    /// By its socket.
    Unix(PathBuf),
}

impl Remote {
    /// The pipelines that `target` means: an address, a port, or a name; without one all that run.
    ///
    /// # Errors
    /// Nothing that it could mean.
    pub(crate) fn find(target: Option<&str>) -> anyhow::Result<Vec<(String, Self)>> {
        if let Some(target) = target {
            let address = target.trim_start_matches("http://").trim_end_matches('/');
            if let Ok(address) = gristmill_manifest::listen_addr(address) {
                return Ok(vec![(address.to_string(), Self::Tcp(address))]);
            }
            if target.starts_with("https://") || address.contains([':', '/']) {
                return Err(UsageError(format!(
                    "`{target}` is no address of a running pipeline\n  = help: name a pipeline, a \
                     port or an address such as 127.0.0.1:9464"
                ))
                .into());
            }
        }
        let runs = runs::all().context("the pipelines that run cannot be listed")?;
        let named = |run: &Run| target.is_none_or(|name| run.pipeline == name);
        let found: Vec<_> = runs.iter().filter(|run| named(run)).collect();
        if !found.is_empty() {
            let remote = |run: &&Run| {
                let socket = run.socket.clone().map(Self::Unix);
                let remote = socket.or_else(|| run.address.map(Self::Tcp));
                Some((run.pipeline.clone(), remote?))
            };
            return Ok(found.iter().filter_map(remote).collect());
        }
        let Some(name) = target else {
            bail!(
                "no pipeline of yours runs here: start one with `gristmill up`, or name an address \
                 that another serves with --listen"
            );
        };
        let mut names: Vec<&str> = runs.iter().map(|run| run.pipeline.as_str()).collect();
        names.dedup();
        let there = match names.is_empty() {
            true => "none of yours does".to_owned(),
            false => format!("there are: {}", names.join(", ")),
        };
        bail!("no pipeline `{name}` of yours runs here; {there}")
    }

    /// How it is now.
    ///
    /// # Errors
    /// When it does not answer, or something else does.
    pub(crate) async fn status(&self) -> anyhow::Result<PipelineStatus> {
        self.ask("/status", PATIENCE).await
    }

    /// All that it has counted, or instead of that what it has counted `in_windows`.
    ///
    /// # Errors
    /// When it does not answer, or cannot read them.
    pub(crate) async fn counted(&self, in_windows: bool) -> anyhow::Result<Counted> {
        let path = format!("/counts?windows={in_windows}");
        let asked = self.ask(&path, COUNTS_PATIENCE).await;
        asked.context("the process that has the counts cannot be asked for them")
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> anyhow::Result<T> {
        let asked = tokio::time::timeout(wait, self.get(path)).await;
        let (code, body) = asked.context("it does not answer")??;
        if code != 200 {
            let text = String::from_utf8_lossy(&body);
            bail!("it answers {code}: {}", text.trim());
        }
        serde_json::from_slice(&body)
            .context("what answers is no pipeline, or of another version of gristmill")
    }

    async fn get(&self, path: &str) -> anyhow::Result<(u16, Bytes)> {
        match self {
            Self::Tcp(address) => get(TcpStream::connect(address).await?, path).await,
            Self::Unix(socket) => get(UnixStream::connect(socket).await?, path).await,
        }
    }
}

async fn get<S>(stream: S, path: &str) -> anyhow::Result<(u16, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, "localhost")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let code = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let body = body.await.map_err(|error| anyhow::anyhow!(error))?;
        Ok((code, body.to_bytes()))
    };
    // The connection is driven beside it, and ends with it.
    tokio::select! {
        answer = answer => answer,
        ended = connection => {
            ended?;
            bail!("it closed the connection")
        }
    }
}
