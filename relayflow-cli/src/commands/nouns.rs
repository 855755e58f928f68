//! The nouns that only list and show: queues, sources, workflows, providers.

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{List, Provider, ProviderType, V};
use relayflow_core::provider::Catalog;
use relayflow_core::text;
use serde::Serialize;

use super::events::pairs;
use super::explain::explain;
use super::list::{Listed, list, show_document};
use crate::app::App;
use crate::args::{ListArgs, QueueCmd, QueueVerb, ShowLs, ShowLsVerb, WorkflowsCmd, WorkflowsVerb};
use crate::backend::Backend;
use crate::failure::{Done, Failure};

pub(crate) async fn queues(app: &App, queue: QueueCmd) -> Done {
    let args = match queue.verb {
        Some(QueueVerb::Ls(args)) => args,
        None => queue.list,
    };
    let backend = app.connect().await?;
    list(app, &args, None, async |_| backend.queues().await).await
}

pub(crate) async fn sources(app: &App, noun: ShowLs) -> Done {
    let backend = app.connect().await?;
    match ls_or_show(noun) {
        Ok(args) => list(app, &args, None, async |_| backend.sources().await).await,
        Err(name) => {
            let source = find(backend.sources().await?, &name)?;
            show(app, &source, |out| {
                pairs(
                    out,
                    &[
                        ("source", source.name.clone()),
                        ("provider", source.provider.clone()),
                        ("confirmed", yes_or_no(source.confirmed)),
                        ("scheme", source.scheme.clone()),
                        ("url", source.url.clone()),
                        ("tolerance", source.tolerance.clone()),
                        ("answer within", source.reply_within.clone()),
                        ("secrets", source.secrets.join("  ")),
                        ("learned", source.learned.join("  ")),
                    ],
                );
            })
        }
    }
}

pub(crate) async fn workflows(app: &App, noun: WorkflowsCmd) -> Done {
    let backend = app.connect().await?;
    let wanted = match noun.verb {
        None => Ok(noun.list),
        Some(WorkflowsVerb::Ls(args)) => Ok(args),
        Some(WorkflowsVerb::Show { name }) => Err(name),
        Some(WorkflowsVerb::Explain(args)) => return explain(app, &args).await,
    };
    match wanted {
        Ok(args) => list(app, &args, None, async |_| backend.workflows().await).await,
        Err(name) => {
            let workflow = find(backend.workflows().await?, &name)?;
            show(app, &workflow, |out| {
                let when = workflow.when.clone().unwrap_or_else(|| "always".to_owned());
                pairs(
                    out,
                    &[
                        ("workflow", workflow.name.clone()),
                        ("on", workflow.on.join("  ")),
                        ("when", when),
                    ],
                );
                for step in &workflow.steps {
                    let needs = match step.needs.as_slice() {
                        [] => String::new(),
                        needs => format!("  needs {}", needs.join(", ")),
                    };
                    let line =
                        format!("  {}  {}  {}{needs}", step.name, step.action, step.destination);
                    out.push_str(&format!("{}\n", text::line(&line)));
                }
            })
        }
    }
}

pub(crate) async fn providers(app: &App, noun: ShowLs) -> Done {
    let all = match app.connect().await {
        Ok(backend @ Backend::Api(_)) => backend.providers().await,
        Ok(Backend::Store(_)) => Ok(built_in()),
        Err(failure) => Err(failure),
    };
    // The built-in ones are known without a daemon.
    let all = match all {
        Err(failure) if failure.exit() == Exit::Unreachable => {
            app.out.notice("no daemon answers: these are the built-in ones");
            built_in()
        }
        other => other?,
    };
    match ls_or_show(noun) {
        Ok(args) => list(app, &args, None, async |_| Ok(all.clone())).await,
        Err(name) => {
            let provider = find(all, &name)?;
            show(app, &provider, |out| {
                pairs(
                    out,
                    &[
                        ("provider", provider.name.clone()),
                        ("title", provider.title.clone()),
                        ("scheme", provider.scheme.clone()),
                        ("contract", provider.contract.clone()),
                        ("confirmed", yes_or_no(provider.confirmed)),
                        ("answer within", provider.reply_within.clone()),
                    ],
                );
                for known in &provider.types {
                    let kind = known.kind.as_deref().unwrap_or("–");
                    let line = format!("  {}  {kind}", known.event_type);
                    out.push_str(&format!("{}\n", text::line(&line)));
                }
            })
        }
    }
}

/// Whether the vendor's own words say so.
fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn built_in() -> List<Provider> {
    let catalog = Catalog::built_in();
    let items = catalog.iter().map(|p| Provider {
        v: V,
        object: "provider".to_owned(),
        name: p.name.to_string(),
        title: p.title.clone(),
        scheme: p.scheme().to_owned(),
        contract: p.contract.to_string(),
        built_in: p.built_in,
        confirmed: p.is_confirmed,
        reply_within: p.reply_within_label(),
        types: p
            .types()
            .into_iter()
            .map(|(event_type, kind)| ProviderType {
                event_type,
                kind: kind.map(|k| k.to_string()),
            })
            .collect(),
    });
    List {
        v: V,
        kind: "provider_list".to_owned(),
        items: items.collect(),
        next_cursor: None,
        total: None,
    }
}

/// What was asked for: a list, or one by its name.
fn ls_or_show(noun: ShowLs) -> Result<ListArgs, String> {
    match noun.verb {
        None => Ok(noun.list),
        Some(ShowLsVerb::Ls(args)) => Ok(args),
        Some(ShowLsVerb::Show { name }) => Err(name),
    }
}

fn find<T: Listed>(list: List<T>, name: &str) -> Result<T, Failure> {
    let known: Vec<_> = list.items.iter().map(|item| item.name().to_owned()).collect();
    list.items.into_iter().find(|item| item.name() == name).ok_or_else(|| {
        Failure::new("not_found.object", format!("there is no '{name}'"))
            .why(format!("there are: {}", known.join(" ")))
    })
}

fn show<T: Listed + Serialize>(app: &App, item: &T, describe: impl Fn(&mut String)) -> Done {
    if !show_document(&app.out, item, item.name())? {
        let mut text = String::new();
        describe(&mut text);
        app.out.print(&text)?;
    }
    Ok(Exit::Ok)
}
