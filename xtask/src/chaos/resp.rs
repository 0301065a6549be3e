//! As much of a Redis client as a judge needs, sharing no code with the one that is judged.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A stopped server must not stop the harness.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Nil,
    Int(i64),
    Text(Vec<u8>),
    List(Vec<Reply>),
}

/// One connection.
pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) fn connect(port: u16) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Send a command and wait for its answer.
    pub(super) fn call(&mut self, command: &[&[u8]]) -> Result<Reply> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for part in command {
            bytes.extend(format!("${}\r\n", part.len()).bytes());
            bytes.extend_from_slice(part);
            bytes.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&bytes)?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        ensure!(line.ends_with("\r\n"), "Redis closed the connection");
        let (kind, rest) = line.trim_end().split_at(1);
        Ok(match kind {
            "+" => Reply::Text(rest.as_bytes().to_vec()),
            "-" => bail!("Redis says: {rest}"),
            ":" => Reply::Int(rest.parse()?),
            "$" if rest == "-1" => Reply::Nil,
            "$" => {
                let mut text = vec![0; rest.parse::<usize>()? + 2];
                self.0.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Reply::Text(text)
            }
            "*" if rest == "-1" => Reply::Nil,
            "*" => {
                let items: usize = rest.parse()?;
                Reply::List((0..items).map(|_| self.reply()).collect::<Result<_>>()?)
            }
            other => bail!("Redis answered with a {other:?}"),
        })
    }
}

impl Reply {
    pub(super) fn text(self) -> Result<String> {
        match self {
            Self::Text(text) => {
                String::from_utf8(text).context("Redis sent bytes that are no text")
            }
            other => bail!("Redis sent {other:?} for a text"),
        }
    }

    pub(super) fn list(self) -> Result<Vec<Self>> {
        match self {
            Self::List(items) => Ok(items),
            other => bail!("Redis sent {other:?} for a list"),
        }
    }
}
