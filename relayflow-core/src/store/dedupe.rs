//! Whether an event is known. A unique index decides, never a look before.

use jiff::SignedDuration;
use rusqlite::params;

use super::StoreError;
use super::flow::{By, Measure};
use super::timeline::{self, Row};
use super::writer::Tx;
use crate::event::{IntegrationEvent, Payload};
use crate::id::{EventId, RequestId};
use crate::timeline::What;

/// Takes the event's key, or finds the event that has it. The index decides.
///
/// `window`: for how long equal bytes of a vendor without ids are the same event.
pub(super) fn find_or_take(
    tx: &mut Tx<'_>,
    event: &IntegrationEvent,
    window: SignedDuration,
    request: RequestId,
    is_reread: bool,
) -> Result<(EventId, bool), StoreError> {
    if let Some(known) = take_key(tx, event, window)? {
        note_duplicate(tx, event, known, request, false)?;
        return Ok((known, true));
    }
    // What an earlier reading of this request took in is that event still, whatever id today's
    // definition finds in its bytes: what was done for it is not done again.
    let before = if is_reread { of_same_bytes(tx, event, request)? } else { None };
    let known = match before {
        Some(known) => Some(known),
        None => take_digest(tx, event)?,
    };
    let Some(known) = known else {
        return Ok((event.id, false));
    };
    // The same signed bytes under another id: from now on that id is the known event's too.
    tx.run(
        "update event_key set event_id = $1
         where source = $2 and provider = $3 and type = $4 and external_id = $5",
        params![
            known.bytes(),
            &*event.source,
            &*event.provider,
            event.event_type,
            event.external_id
        ],
    )?;
    note_duplicate(tx, event, known, request, true)?;
    Ok((known, true))
}

fn take_key(
    tx: &Tx<'_>,
    event: &IntegrationEvent,
    window: SignedDuration,
) -> Result<Option<EventId>, StoreError> {
    let taken = tx.run(
        "insert into event_key (source, provider, type, external_id, event_id, first_us)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        params![
            &*event.source,
            &*event.provider,
            event.event_type,
            event.external_id,
            event.id.bytes(),
            tx.now_us,
        ],
    )?;
    if taken == 1 {
        return Ok(None);
    }
    let key = params![&*event.source, &*event.provider, event.event_type, event.external_id];
    let (known, first_us) = tx
        .row(
            "select event_id, first_us from event_key
             where source = $1 and provider = $2 and type = $3 and external_id = $4",
            key,
            |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, i64>(1)?)),
        )?
        .ok_or(StoreError::Value { what: "an event key that is there and not there" })?;
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    if event.id_is_derived && tx.now_us.saturating_sub(first_us) > window {
        // A vendor without ids may send equal bytes again for something new.
        tx.run(
            "update event_key set event_id = $1, first_us = $2
             where source = $3 and provider = $4 and type = $5 and external_id = $6",
            params![
                event.id.bytes(),
                tx.now_us,
                &*event.source,
                &*event.provider,
                event.event_type,
                event.external_id,
            ],
        )?;
        return Ok(None);
    }
    EventId::from_bytes(&known).map(Some).ok_or(StoreError::Value { what: "an event's id" })
}

/// The event of this request whose payload is these very bytes of it.
fn of_same_bytes(
    tx: &Tx<'_>,
    event: &IntegrationEvent,
    request: RequestId,
) -> Result<Option<EventId>, StoreError> {
    let (range, text) = match &event.payload {
        Payload::Slice { from, to, .. } => (Some((*from, *to)), None),
        Payload::Converted(text) => (None, Some(text.as_str())),
    };
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let found = tx.rows(
        "select id from event
         where (id = (select first_event_id from request where id = $1)
                or (request_id = $1 and place > 0))
            and payload_from is $2 and payload_to is $3 and payload is $4 limit 2",
        params![
            request.bytes(),
            range.map(|(from, _)| number(from)),
            range.map(|(_, to)| number(to)),
            text,
        ],
        |r| r.get::<_, Vec<u8>>(0),
    )?;
    Ok(match found.as_slice() {
        [only] => EventId::from_bytes(only),
        _ => None,
    })
}

fn take_digest(tx: &Tx<'_>, event: &IntegrationEvent) -> Result<Option<EventId>, StoreError> {
    let Some(digest) = &event.signed_digest else {
        return Ok(None);
    };
    let taken = tx.run(
        "insert into event_digest (source, type, digest, event_id, first_us)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
        params![&*event.source, event.event_type, digest, event.id.bytes(), tx.now_us],
    )?;
    if taken == 1 {
        return Ok(None);
    }
    let known = tx.row(
        "select event_id from event_digest where source = $1 and type = $2 and digest = $3",
        params![&*event.source, event.event_type, digest],
        |r| r.get::<_, Vec<u8>>(0),
    )?;
    known
        .and_then(|bytes| EventId::from_bytes(&bytes))
        .map(Some)
        .ok_or(StoreError::Value { what: "an event's id" })
}

fn note_duplicate(
    tx: &mut Tx<'_>,
    event: &IntegrationEvent,
    known: EventId,
    request: RequestId,
    same_bytes: bool,
) -> Result<(), StoreError> {
    let differs =
        !same_bytes && payload_of(tx, known)?.is_some_and(|known| known != event.payload.json());
    tx.run("update event set duplicates = duplicates + 1 where id = $1", params![known.bytes()])?;
    tx.count("duplicates", "", 1);
    tx.flow(By::Source, &event.source, Measure::Duplicate, 1);
    if differs {
        tx.count("payload_differs", "", 1);
    }
    timeline::append(
        tx,
        &Row {
            request_id: Some(request),
            event_id: Some(known),
            detail: Some(timeline::detail(&[
                ("payload_differs", differs.into()),
                ("same_bytes", same_bytes.into()),
                ("external_id", event.external_id.as_str().into()),
            ])),
            ..Row::new(What::Duplicate)
        },
    )
}

/// The known event's payload, while it is kept.
fn payload_of(tx: &Tx<'_>, event: EventId) -> Result<Option<String>, StoreError> {
    let found = tx.row(
        "select e.payload, e.payload_from, e.payload_to, b.bytes from event e
         join request r on r.id = e.request_id join body b on b.id = r.body_id where e.id = $1",
        params![event.bytes()],
        |r| {
            let converted: Option<String> = r.get(0)?;
            let from: Option<i64> = r.get(1)?;
            let to: Option<i64> = r.get(2)?;
            let body = r.get_ref(3)?.as_blob().unwrap_or_default();
            Ok(converted.or_else(|| {
                let range = usize::try_from(from?).ok()?..usize::try_from(to?).ok()?;
                String::from_utf8(body.get(range)?.to_vec()).ok()
            }))
        },
    )?;
    Ok(found.flatten())
}
