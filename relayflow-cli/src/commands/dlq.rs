//! `relayflow dlq`.

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Discard, Discarded, Explain, ExplainedStep, NewPlan, Task};
use relayflow_core::text;

use super::events::describe_task;
use super::list::{list, show_document};
use super::{edit, plan, replay};
use crate::app::App;
use crate::args::{DiscardArgs, DlqCmd, DlqVerb, Job};
use crate::backend::Backend;
use crate::confirm::{Deed, confirm, needs_window};
use crate::failure::{Done, Failure};
use crate::output::{document, time};

pub(crate) async fn dlq(app: &App, dlq: DlqCmd) -> Done {
    match dlq.verb {
        None => {
            let backend = app.connect().await?;
            list(app, &dlq.list, None, async |page| backend.dead_letters(page).await).await
        }
        Some(DlqVerb::Ls(ls)) => {
            let q = app.select(&ls.select, None)?.q;
            let backend = app.connect().await?;
            match &ls.by {
                None => list(app, &ls.list, q, async |page| backend.dead_letters(page).await).await,
                Some(by) => {
                    let groups = async |page: &_| backend.dead_letter_groups(page, by).await;
                    list(app, &ls.list, q, groups).await
                }
            }
        }
        Some(DlqVerb::Show(id)) => show(app, &id.id).await,
        Some(DlqVerb::Replay(args)) => {
            let selection = app.select(&args.select, Some("status:dead"))?;
            let ask = replay::Ask {
                selection,
                from: None,
                failed: false,
                how: &args.how,
                config: None,
                edit: None,
                act: &args.act,
                job: &args.job,
                command: "relayflow dlq replay".to_owned(),
            };
            replay::plan_and_run(app, ask).await
        }
        Some(DlqVerb::Edit(args)) => edit::edit(app, &args).await,
        Some(DlqVerb::Discard(args)) => discard(app, &args).await,
    }
}

/// The task with its attempts, or the unreadable request.
async fn show(app: &App, id: &str) -> Done {
    let backend = app.connect().await?;
    if id.starts_with("req_") {
        let request = backend.request(id).await?;
        if !show_document(&app.out, &request, &request.id)? {
            let why = request.detail.or(request.reason).unwrap_or_default();
            app.out.line(&format!("{}  {}", request.id, text::line(&why)))?;
            app.out.notice(&format!("its bytes: relayflow requests raw {id}"));
        }
        return Ok(Exit::Ok);
    }
    let mut task = backend.task(id).await?;
    task.would_send = would_send(&backend, &task).await;
    if !show_document(&app.out, &task, &task.id)? {
        let mut shown = String::new();
        describe_task(&mut shown, &app.out, &task, app.now());
        let event = &task.event_id;
        shown.push_str(&format!(
            "event {}  {} {}\n",
            event,
            text::line(&task.source),
            text::line(&task.event_type)
        ));
        for attempt in task.history.iter().flatten() {
            if let Some(response) = &attempt.response {
                shown.push_str(&format!("\nanswer to attempt {}\n", attempt.attempt));
                shown.push_str(&quoted(response));
            }
        }
        if let Some(step) = &task.would_send {
            shown.push_str(&described(step));
        }
        app.out.print(&shown)?;
    }
    Ok(Exit::Ok)
}

/// The request that would be sent now; none where nothing of the configuration asks for the task any
/// more, or its event is gone.
async fn would_send(backend: &Backend, task: &Task) -> Option<ExplainedStep> {
    let asked = Explain { event: Some(task.event_id.clone()), ..Explain::default() };
    let told = backend.explain(&asked).await.ok()?;
    let workflow = told.workflows.into_iter().find(|w| w.workflow == task.workflow)?;
    workflow.steps.into_iter().find(|step| step.step == task.step)
}

/// Somebody else's lines, each behind two spaces: none of them looks like one of ours.
fn quoted(block: &str) -> String {
    let block = text::message(block.trim_end());
    block.lines().map(|line| format!("  {line}\n")).collect()
}

fn described(step: &ExplainedStep) -> String {
    let mut out = "\nwould send\n".to_owned();
    let request = step.request.as_deref().or(step.destination.as_deref()).unwrap_or("–");
    out.push_str(&format!("  {}\n", text::line(request)));
    let content_type = step.content_type.iter().map(|value| ("content-type", value.as_str()));
    let own = step.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in content_type.chain(own) {
        out.push_str(&format!("  {}: {}\n", text::line(name), text::line(value)));
    }
    if let Some(body) = &step.body {
        let body = document::indent(body).unwrap_or_else(|_| body.clone());
        out.push('\n');
        out.push_str(&quoted(&body));
    }
    if let Some(error) = &step.error {
        out.push_str(&format!("  {}\n", text::line(error)));
    }
    out
}

async fn discard(app: &App, args: &DiscardArgs) -> Done {
    let selection = app.select(&args.select, Some("status:dead"))?;
    let target = app.target()?;
    let backend = app.connect_to(&target).await?;
    let mut deed = Deed {
        verb: "Discard",
        noun: "task",
        items: 1,
        is_single: true,
        needs_reason: true,
        command: format!("relayflow dlq discard {}", args.select.terms.join(" ")),
    };
    let reason = args.act.reason.clone().unwrap_or_default();
    if let Some([id]) = selection.ids.as_deref()
        && !args.act.dry_run
    {
        confirm(&app.out, &target, &args.act, &deed)?;
        let what = Discard { ids: Some(vec![id.clone()]), reason, ..Discard::default() };
        let done = backend.discard(&what).await?;
        return finish(app, &done);
    }
    needs_window(selection.is_bounded(), &args.act)?;
    let new = NewPlan {
        action: "discard".to_owned(),
        q: if selection.ids.is_some() { None } else { selection.q },
        ids: selection.ids,
        limit: args.act.limit,
        ..NewPlan::default()
    };
    let planned = backend.create_plan(&new).await?;
    if planned.items.total == 0 {
        return Err(replay::nothing());
    }
    if args.act.dry_run {
        if !show_document(&app.out, &planned, &planned.id)? {
            app.out.print(&plan::describe(&app.out, &target, &planned, &Job::default()))?;
        }
        return Ok(Exit::Ok);
    }
    deed.items = planned.items.total;
    deed.is_single = false;
    app.out.notice(&plan::describe(&app.out, &target, &planned, &Job::default()));
    confirm(&app.out, &target, &args.act, &deed)?;
    let what = Discard { ids: None, plan: Some(planned.id), hash: Some(planned.hash), reason };
    let done = backend.discard(&what).await?;
    finish(app, &done)
}

fn finish(app: &App, done: &Discarded) -> Result<Exit, Failure> {
    if !show_document(&app.out, done, "discarded")? {
        let mut line = format!("{} discarded", time::things(done.discarded, "item"));
        if 0 < done.skipped {
            line.push_str(&format!(", {} had moved on", time::count(done.skipped)));
        }
        app.out.line(&line)?;
    }
    Ok(Exit::Ok)
}
