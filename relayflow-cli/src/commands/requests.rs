//! `relayflow requests`.

use relayflow_core::api::codes::Exit;
use relayflow_core::text;

use super::events::{pairs, raw};
use super::list::{list, show_document};
use super::verification;
use crate::app::App;
use crate::args::{RequestsCmd, RequestsVerb};
use crate::failure::{Done, Failure};

pub(crate) async fn requests(app: &App, requests: RequestsCmd) -> Done {
    match requests.verb {
        None => {
            let backend = app.connect().await?;
            list(app, &requests.list, None, async |page| backend.requests(page).await).await
        }
        Some(RequestsVerb::Ls(ls)) => {
            let q = app.select(&ls.select, None)?.q;
            let backend = app.connect().await?;
            list(app, &ls.list, q, async |page| backend.requests(page).await).await
        }
        Some(RequestsVerb::Show(id)) => show(app, &id.id).await,
        Some(RequestsVerb::Raw(args)) => raw(app, &args).await,
        Some(RequestsVerb::Explain(id)) => verification::explain(app, &id.id).await,
        Some(RequestsVerb::Replay(args)) => readmit(app, &args.id, args.reason.as_deref()).await,
    }
}

async fn show(app: &App, id: &str) -> Done {
    let request = app.connect().await?.request(id).await?;
    if show_document(&app.out, &request, &request.id)? {
        return Ok(Exit::Ok);
    }
    let none = || app.out.style.none().to_owned();
    let mut shown = String::new();
    pairs(
        &mut shown,
        &[
            ("id", request.id.clone()),
            ("status", app.out.style.status(&request.status)),
            ("reason", request.reason.clone().unwrap_or_else(none)),
            ("detail", request.detail.clone().unwrap_or_else(none)),
            ("source", format!("{}  ({})", request.source, request.provider)),
            ("request", format!("{} {}", request.method, request.target)),
            ("received", app.out.moment(&request.received_at, app.now())),
            ("body", format!("{} bytes", request.body_bytes)),
            ("correlation", request.correlation_id.clone()),
            ("events", request.events.to_string()),
        ],
    );
    for id in request.event_ids.iter().flatten() {
        shown.push_str(&format!("  {}\n", text::line(id)));
    }
    if let Some(headers) = &request.headers {
        shown.push_str("\nheaders\n");
        for (name, value) in headers {
            shown.push_str(&format!("  {}: {}\n", text::line(name), text::line(value)));
        }
    }
    app.out.print(&shown)?;
    Ok(Exit::Ok)
}

/// Has a rejected request verified again, as of its arrival.
async fn readmit(app: &App, id: &str, reason: Option<&str>) -> Done {
    let readmitted = app.connect().await?.readmit(id, reason).await?;
    if !show_document(&app.out, &readmitted, &readmitted.request)? {
        let mut line = format!(
            "{}  {}",
            app.out.style.painted_status(&text::line(&readmitted.status)),
            readmitted.request
        );
        for event in &readmitted.events {
            line.push_str(&format!("\n  {}", text::line(&event.id)));
            if event.duplicate {
                line.push_str("  duplicate");
            }
        }
        app.out.line(&line)?;
    }
    match readmitted.status.as_str() {
        "rejected" => {
            Err(Failure::new("refused.not_verified", format!("{id} is still not verified"))
                .why(readmitted.reason.unwrap_or_else(|| "its signature does not hold".to_owned()))
                .hint(format!("relayflow requests explain {}", readmitted.request)))
        }
        "dead" => Ok(Exit::Partial),
        _ => Ok(Exit::Ok),
    }
}
