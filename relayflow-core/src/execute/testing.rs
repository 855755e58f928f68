//! Values for the tests of this room.

use std::sync::Arc;

use bytes::Bytes;

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
    Arc::new(EventContext { event, headers: Vec::new() })
}

pub(super) fn leased(failures: u32) -> LeasedTask {
    LeasedTask {
        task: Task { failures, ..task() },
        event: event(),
        has_needs: false,
        start_on_record: false,
        check_when: false,
        leased_at: super::lanes::now(),
        slot: None,
    }
}
