//! Conversations over raw sockets: limits and framing with a handler that does nothing, then the
//! whole daemon.

mod api;
mod inbound;
mod life;
mod limits;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use relayflow_core::config::{Config, Overrides};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Options, Running};

/// Far longer than any conversation here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it came over the wire.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The code of a problem, which an error must be.
    #[track_caller]
    fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: relayflow_core::api::Problem = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem.status, self.status, "{self:?}");
        problem.code
    }
}

/// Sends the pieces, each in a write of its own, and gives every answer until the other side closes.
async fn talk(addr: SocketAddr, pieces: &[&[u8]]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        // Who is refused half way through may find the door closed.
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    read.expect("the connection is closed in time").expect("and not reset");
    answers(&bytes)
}

/// The same for one answer on a connection that stays open.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> Answer {
    stream.write_all(request).await.unwrap();
    one(stream).await
}

async fn one(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = answers(&bytes).pop() {
            return answer;
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        let read = read.expect("an answer comes in time").unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
    }
}

/// Every whole answer in the bytes.
fn answers(bytes: &[u8]) -> Vec<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &text[..];
    let mut answers = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head: head.to_owned(), body: String::new() };
        if status == 100 {
            rest = after;
            continue;
        }
        let length = answer.header("content-length").map_or(0, |n| n.parse().unwrap());
        let Some(body) = after.get(..length) else { break };
        answer.body = body.to_owned();
        rest = &after[length..];
        answers.push(answer);
    }
    answers
}

const CONFIG: &str = r#"
[api.tokens.vera]
role  = "viewer"
token = "a-viewer's-token-for-tests"
[api.tokens.otto]
role  = "operator"
token = "an-operator's-token-for-tests"
[api.tokens.adam]
role  = "admin"
token = "an-admin's-token-for-tests"

[sources.test]
provider = "generic"
secrets  = ["a-secret-that-is-long-enough"]
[sources.test.settings]
header    = "x-signature"
algorithm = "sha256"
encoding  = "hex"
"#;

/// A configuration with one source, on a store in `dir` and on free ports.
fn config(dir: &Path) -> Config {
    let file = dir.join("relayflow.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let overrides = Overrides {
        listen: Some("127.0.0.1:0".into()),
        api: Some("127.0.0.1:0".into()),
        db: Some(format!("sqlite:{}", dir.join("relayflow.db").display())),
    };
    match Config::load(Some(&file), &overrides, &|_| None) {
        Ok((config, _)) => config,
        Err(mistakes) => panic!("{mistakes:?}"),
    }
}

fn options(config: Config) -> Options {
    Options { config, reload: None, drain: PATIENCE, ready_file: None }
}

/// A whole daemon on a store of its own. The folder lives as long as it is kept.
async fn daemon() -> (Running, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let running = crate::start(options(config(dir.path()))).await;
    (running.unwrap_or_else(|error| panic!("{}", error.whole())), dir)
}
