//! The nouns that only list and show: sources, workflows.

use relayflow_core::api::List;
use relayflow_core::api::codes::Exit;
use relayflow_core::text;
use serde::Serialize;

use super::events::pairs;
use super::explain::explain;
use super::list::{Listed, list, show_document};
use crate::app::App;
use crate::args::{ListArgs, ShowLs, ShowLsVerb, WorkflowsCmd, WorkflowsVerb};
use crate::failure::{Done, Failure};

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
                        ("definition", in_words(&source.provider_status)),
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

/// What was asked for: a list, or one by its name.
fn ls_or_show(noun: ShowLs) -> Result<ListArgs, String> {
    match noun.verb {
        None => Ok(noun.list),
        Some(ShowLsVerb::Ls(args)) => Ok(args),
        Some(ShowLsVerb::Show { name }) => Err(name),
    }
}

/// How sure a definition is, for someone who has not read about it.
pub(crate) fn in_words(status: &str) -> String {
    match status {
        "confirmed" => {
            "confirmed: how it signs was read in the vendor's own words or code".to_owned()
        }
        "partial" => "partial: some of how it signs is from samples or from others".to_owned(),
        "unconfirmed" => "unconfirmed: a draft; try it before you rely on it".to_owned(),
        other => other.to_owned(),
    }
}

pub(crate) fn find<T: Listed>(list: List<T>, name: &str) -> Result<T, Failure> {
    let known: Vec<_> = list.items.iter().map(|item| item.name().to_owned()).collect();
    list.items.into_iter().find(|item| item.name() == name).ok_or_else(|| {
        Failure::new("not_found.object", format!("there is no '{name}'"))
            .why(format!("there are: {}", known.join(" ")))
    })
}

pub(crate) fn show<T: Listed + Serialize>(
    app: &App,
    item: &T,
    describe: impl Fn(&mut String),
) -> Done {
    if !show_document(&app.out, item, item.name())? {
        let mut text = String::new();
        describe(&mut text);
        app.out.print(&text)?;
    }
    Ok(Exit::Ok)
}
