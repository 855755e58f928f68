//! Values for the tests of this room.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::clock::from_micros;
use crate::event::{IntegrationEvent, Payload};
use crate::id::{EventId, RequestId, TaskId};
use crate::request::CorrelationId;
use crate::store::{EventContext, LeasedTask};
use crate::task::Task;

pub(super) fn task() -> Task {
    Task {
        id: TaskId::next(),
        event_id: EventId::next(),
        workflow: "dunning".into(),
        step: "crm".into(),
        destination: "crm.example.com".into(),
        attempt: 1,
        failures: 0,
        lost_starts: 0,
        since: from_micros(1_767_607_200_000_000),
        may_release: true,
    }
}

pub(super) fn event() -> Arc<EventContext> {
    let request_id = RequestId::next();
    let payload = Bytes::from_static(br#"{"id":"evt_1","amount":4200}"#);
    let event = IntegrationEvent {
        id: EventId::next(),
        request_id,
        source: "stripe".into(),
        provider: "stripe".into(),
        event_type: "charge.failed".to_owned(),
        kind: Some("payment.failed".into()),
        external_id: "evt_1".to_owned(),
        id_is_derived: false,
        signed_digest: None,
        subject: Some("ch_1".to_owned()),
        occurred_at: from_micros(1_767_607_200_000_000),
        received_at: from_micros(1_767_607_203_000_000),
        correlation_id: CorrelationId::of(request_id),
        attributes: r#"{"amount_minor":4200}"#.to_owned(),
        payload: Payload::Slice { to: payload.len(), body: payload, from: 0 },
        contract: "stripe@1".into(),
    };
    Arc::new(EventContext { event, headers: Default::default() })
}

pub(super) fn leased(failures: u32) -> LeasedTask {
    LeasedTask {
        task: Task { failures, ..task() },
        event: event(),
        has_needs: false,
        start_on_record: false,
        check_when: false,
        is_replay: false,
        is_alone: true,
        leased_at: super::lanes::now(),
        slot: None,
    }
}

/// A destination on the loopback interface that answers as told and remembers what it was asked.
pub(super) struct Destination {
    /// `127.0.0.1:port`.
    pub(super) address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Destination {
    /// Gives every request these bytes.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::with(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                // A client that has read enough hangs up.
                let _ = stream.write_all(&answer).await;
                stream
            }
        })
        .await
    }

    /// Calls `answer` once for each request, which has been read.
    pub(super) async fn with<F: Future<Output = TcpStream> + Send>(
        answer: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        seen.lock().unwrap().push(request);
                        stream = answer(stream).await;
                    }
                });
            }
        });
        Self { address, requests }
    }

    /// What it was asked so far, heads and bodies.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request with a `Content-Length` or without a body; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.map_or(0, |length| length.parse().unwrap()) <= body.len() {
                return Some(text);
            }
        }
        let count = stream.read(&mut buffer).await.ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}
