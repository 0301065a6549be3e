//! How requests and signals come in.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Event;
use crate::{DeployError, Reply};

/// Bytes of a request.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// Whoever connects asks at once.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// Listens until it is closed.
pub(super) struct Listener {
    task: JoinHandle<()>,
    /// Ends when every answer is written: each connection has a sender.
    answering: mpsc::Receiver<()>,
}

impl Listener {
    /// Take no more, and wait until those who were answered have got it.
    pub(super) async fn close(&mut self) {
        self.task.abort();
        let _ = tokio::time::timeout(REQUEST_MAX, self.answering.recv()).await;
    }
}

/// Listen on `socket`, which is in a directory of the user's alone.
pub(super) fn listen(socket: &Path, events: Sender<Event>) -> Result<Listener, DeployError> {
    // Of an earlier supervisor: ours is the lock.
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).map_err(DeployError::io(socket))?;
    let (token, answering) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (events, token) = (events.clone(), token.clone());
                    tokio::spawn(async move {
                        serve(stream, events).await;
                        drop(token);
                    });
                }
                // Out of descriptors, say: that passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(Listener { task, answering })
}

async fn serve(stream: UnixStream, events: Sender<Event>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(REQUEST_BYTES_MAX));
    let read = tokio::time::timeout(REQUEST_MAX, read.read_line(&mut line)).await;
    let Ok(Ok(1..)) = read else {
        return;
    };
    let reply = match serde_json::from_str(&line) {
        Ok(request) => {
            let (sender, answer) = oneshot::channel();
            let sent = events.send(Event::Request(request, sender)).await;
            match (sent, answer.await) {
                (Ok(()), Ok(reply)) => reply,
                _ => return,
            }
        }
        Err(error) => Reply::Refused(format!("not understood: {error}")),
    };
    if let Ok(mut text) = serde_json::to_vec(&reply) {
        text.push(b'\n');
        // Whoever asked may have gone.
        let _ = write.write_all(&text).await;
    }
}

/// Ctrl-C and SIGTERM, from now on.
pub(super) fn signals(events: Sender<Event>) -> io::Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signal = signal(kind)?;
        let events = events.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() && events.send(Event::Signal).await.is_ok() {}
        });
    }
    Ok(())
}
