//! `relayflow export`: an incident bundle. Over the API the daemon writes it and this end checks it; over
//! `--db` it is written here, of what the store alone says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{List, NewExport};
use relayflow_core::bundle::{self, Around, Documents, EVENTS_MAX, Manifest, Wanted};
use relayflow_core::filter::{Field, Filter};
use relayflow_core::view::Page;
use tempfile::NamedTempFile;

use super::list::show_document;
use crate::app::App;
use crate::args::{ExportArgs, Format};
use crate::backend::{Api, Backend, Direct};
use crate::confirm::{Deed, confirm, needs_window};
use crate::failure::{Done, Failure, chain};
use crate::output::Out;
use crate::output::progress::Progress;
use crate::output::time::{self, things};

/// How long the daemon may write before it sends the first byte.
const FIRST_BYTE: Duration = Duration::from_secs(600);

/// What is asked for, and where it goes.
pub(crate) struct Order {
    pub(crate) new: NewExport,
    pub(crate) is_unmasked: bool,
    pub(crate) to: PathBuf,
    pub(crate) force: bool,
}

pub(crate) async fn export(app: &App, args: &ExportArgs) -> Done {
    let target = app.target()?;
    let selection = app.select(&args.select, None)?;
    let is_named = selection.q.as_deref().is_some_and(|q| names_some(q, app));
    needs_window(selection.is_bounded() || is_named, &args.act)?;
    let backend = app.connect_to(&target).await?;
    let count = count(&backend, selection.q.clone()).await?;
    if args.act.dry_run {
        return dry_run(app, count);
    }
    let Some(to) = args.to.clone() else { return Err(Failure::usage("--to FILE is missing")) };
    check_place(&to, args.force)?;
    if args.unmask {
        let deed = Deed {
            verb: "Export unmasked",
            noun: "event",
            items: count.unwrap_or(0),
            is_single: false,
            needs_reason: true,
            command: "relayflow export --unmask".to_owned(),
        };
        confirm(&app.out, &target, &args.act, &deed)?;
    }
    let max = args.act.max.or(target.max_bulk).unwrap_or(EVENTS_MAX);
    let new = NewExport {
        q: selection.q,
        limit: args.act.limit,
        max: Some(max),
        reason: args.act.reason.clone(),
    };
    let order = Order { new, is_unmasked: args.unmask, to, force: args.force };
    let (manifest, bytes) = carry_out(&backend, &order, Some(&app.out)).await?;
    if !show_document(&app.out, &manifest, &manifest.created_at)? {
        app.out.print(&told(&order.to, &manifest, bytes))?;
    }
    let path = order.to.display();
    if app.out.is_for_people() {
        app.out.notice(&format!("look into it: relayflow --db {path} tui"));
    }
    Ok(Exit::Ok)
}

/// Whether a filter names what it is about, so that it needs no window.
fn names_some(q: &str, app: &App) -> bool {
    let is_name = |filter: &Filter| match filter {
        Filter::Term(term) => {
            matches!(term.field, Field::Id | Field::Request | Field::Replay | Field::Corr)
        }
        Filter::All | Filter::And(_) | Filter::Or(_) | Filter::Not(_) => false,
    };
    match Filter::parse(q, &app.at()) {
        Ok(Filter::And(parts)) => parts.iter().any(is_name),
        Ok(Filter::Or(parts)) => parts.iter().all(is_name),
        Ok(one) => is_name(&one),
        Err(_) => false,
    }
}

/// How many events are selected, where that can be said.
async fn count(backend: &Backend, q: Option<String>) -> Result<Option<u64>, Failure> {
    let page = Page { q, limit: 1, ..Page::default() };
    match backend.events(&page).await {
        Ok(List { total, items, .. }) => {
            Ok(total.map(|total| total.value).or(items.is_empty().then_some(0)))
        }
        // It is about requests.
        Err(failure) if failure.code == "usage.filter" => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn dry_run(app: &App, count: Option<u64>) -> Done {
    let told = match count {
        Some(count) => {
            format!("{} would be in it, with all that belongs to them", things(count, "event"))
        }
        None => "how many would be in it is unknown".to_owned(),
    };
    match app.out.format {
        Format::Json | Format::Ndjson | Format::Yaml => {
            let document =
                serde_json::json!({ "v": 1, "object": "export_dry_run", "events": count });
            show_document(&app.out, &document, "")?;
        }
        Format::Table
        | Format::Wide
        | Format::Csv
        | Format::Name
        | Format::Junit
        | Format::Sarif => app.out.line(&told)?,
    }
    Ok(Exit::Ok)
}

/// Said before anything is asked for: a file that is there is not written over.
fn check_place(to: &Path, force: bool) -> Result<(), Failure> {
    if to.is_dir() {
        return Err(Failure::usage(format!("{} is a folder", to.display())));
    }
    if !force && to.symlink_metadata().is_ok() {
        return Err(Failure::new("refused.exists", format!("{} is there already", to.display()))
            .why("nothing was written")
            .hint("another --to, or --force"));
    }
    Ok(())
}

/// Writes the bundle beside its place, checks it, and moves it there. Answers what is in it, and its
/// size.
///
/// # Errors
///
/// Nothing is selected, too much is, or it cannot be written: nothing is at its place then.
pub(crate) async fn carry_out(
    backend: &Backend,
    order: &Order,
    out: Option<&Out>,
) -> Result<(Manifest, u64), Failure> {
    check_place(&order.to, order.force)?;
    let folder = order.to.parent().filter(|folder| !folder.as_os_str().is_empty());
    // 0600 from its first byte.
    let temp = tempfile::Builder::new()
        .prefix(".relayflow-export-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(|e| unwritten(&order.to, &e))?;
    match backend {
        Backend::Api(api) => over_api(api, order, &temp, out).await?,
        Backend::Store(direct) => over_store(direct, order, &temp, out).await?,
    }
    let path = temp.path().to_owned();
    let checking = tokio::task::spawn_blocking(move || bundle::read_manifest(&path));
    let manifest = checking.await.map_err(|e| Failure::error(e.to_string()))?;
    let manifest = manifest.map_err(|e| {
        Failure::new("unreachable.bundle", "what came is not a whole bundle")
            .why(format!("{}; nothing was written", chain(&e)))
    })?;
    place(temp, order)?;
    let bytes = std::fs::metadata(&order.to).map_or(0, |meta| meta.len());
    Ok((manifest, bytes))
}

fn place(temp: NamedTempFile, order: &Order) -> Result<(), Failure> {
    temp.as_file().sync_all().map_err(|e| unwritten(&order.to, &e))?;
    let placed =
        if order.force { temp.persist(&order.to) } else { temp.persist_noclobber(&order.to) };
    match placed {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {
            check_place(&order.to, false)
        }
        Err(e) => Err(unwritten(&order.to, &e.error)),
    }
}

fn unwritten(to: &Path, error: &std::io::Error) -> Failure {
    Failure::new("error.io", format!("{} cannot be written", to.display())).why(error.to_string())
}

async fn over_api(
    api: &Api,
    order: &Order,
    temp: &NamedTempFile,
    out: Option<&Out>,
) -> Result<(), Failure> {
    let path: &[&str] = if order.is_unmasked { &["export", "unmasked"] } else { &["export"] };
    let mut file = temp.as_file();
    let mut progress = out.map(|out| Progress::new(out, 0));
    let mut told = |bytes: u64| {
        if let Some(progress) = &mut progress {
            progress.at(&format!("{} received", size(bytes)), bytes, 0);
        }
    };
    api.download(path, &order.new, FIRST_BYTE, &mut file, &mut told).await?;
    progress.map(Progress::finish);
    Ok(())
}

async fn over_store(
    direct: &Direct,
    order: &Order,
    temp: &NamedTempFile,
    out: Option<&Out>,
) -> Result<(), Failure> {
    if direct.bundle().is_some_and(|bundle| bundle.manifest.masked.is_some()) && order.is_unmasked {
        return Err(Failure::new("refused.masked", "what a bundle masked is not in it")
            .why("nothing was written"));
    }
    let wanted = Wanted {
        q: order.new.q.clone(),
        limit: order.new.limit,
        max: order.new.max,
        is_unmasked: order.is_unmasked,
        reason: order.new.reason.clone(),
        who: format!("uid {}", rustix::process::getuid().as_raw()),
    };
    let selected = bundle::select(&direct.store, &wanted).await.map_err(|e| not_written(&e))?;
    let file: File = temp.reopen().map_err(|e| unwritten(&order.to, &e))?;
    let (told, mut tells) = tokio::sync::watch::channel(None);
    let around = around(direct).await?;
    let writing = bundle::write(&direct.store, selected, &wanted, around, file, move |progress| {
        told.send_replace(Some(progress));
    });
    let mut writing = std::pin::pin!(writing);
    let mut progress = out.map(|out| Progress::new(out, 0));
    let written = loop {
        tokio::select! {
            written = &mut writing => break written,
            Ok(()) = tells.changed() => {
                let now = *tells.borrow_and_update();
                if let (Some(now), Some(progress)) = (now, &mut progress) {
                    progress.at("requests copied", now.done, now.of);
                }
            }
        }
    };
    progress.map(Progress::finish);
    written.map(|_| ()).map_err(|e| not_written(&e))
}

/// What is known beside the store: from the config in reach, or from the bundle that it is in.
async fn around(direct: &Direct) -> Result<Around<'_>, Failure> {
    let reach = direct.reach();
    static NO_RULES: std::collections::BTreeMap<String, Vec<String>> =
        std::collections::BTreeMap::new();
    let config = reach.config.as_ref();
    let documents = Documents {
        stats: direct.stats().await?,
        queues: direct.queues().await?,
        workers: direct.workers().await.ok(),
        sources: direct.sources().ok(),
        workflows: direct.workflows().ok(),
        providers: direct.providers(),
        contracts: vec![],
        drift: vec![],
    };
    Ok(Around {
        in_force: &reach.in_force,
        documents,
        explained: config.map_or(&[], |config| &config.explained),
        redact: config.map_or(&NO_RULES, |config| &config.redact),
        secrets: config.map_or(&[], |config| &config.fetched),
    })
}

fn not_written(error: &bundle::BundleError) -> Failure {
    let text = chain(error);
    let failure =
        Failure::new(error.code().as_str(), text.strip_prefix("error: ").unwrap_or(&text))
            .why("nothing was written");
    if matches!(error, bundle::BundleError::TooMany { .. }) {
        return failure.hint("a narrower filter, or --max N");
    }
    failure
}

/// `12.4 kB`.
pub(crate) fn size(bytes: u64) -> String {
    let small = |divisor: u64| {
        let tenths = bytes.saturating_mul(10) / divisor;
        format!("{}.{}", time::count(tenths / 10), tenths % 10)
    };
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", small(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", small(1_000_000)),
        _ => format!("{} GB", small(1_000_000_000)),
    }
}

/// The same in a line.
pub(crate) fn brief(to: &Path, manifest: &Manifest, bytes: u64) -> String {
    let path = relayflow_core::text::line(&to.display().to_string()).into_owned();
    let events = things(manifest.counts.events, "event");
    format!(
        "wrote {path}, {}: {events}, {}",
        size(bytes),
        things(manifest.counts.requests, "request")
    )
}

/// `wrote x.tar.gz  12.4 kB  412 events, …`, and what was masked.
pub(crate) fn told(to: &Path, manifest: &Manifest, bytes: u64) -> String {
    let counts = &manifest.counts;
    let mut parts = vec![things(counts.events, "event"), things(counts.requests, "request")];
    for (count, what) in [
        (counts.tasks, "task"),
        (counts.dead_letters, "dead letter"),
        (counts.replays, "replay"),
        (counts.drift, "finding"),
    ] {
        if 0 < count {
            parts.push(things(count, what));
        }
    }
    let masked = match &manifest.masked {
        Some(masked) => format!(
            "masked   {}, {} in texts, {}, {} withheld, {}",
            things(masked.values, "value"),
            time::count(masked.texts),
            things(masked.headers, "header"),
            if masked.bodies == 1 {
                "1 body".to_owned()
            } else {
                format!("{} bodies", time::count(masked.bodies))
            },
            things(masked.secrets, "secret"),
        ),
        None => "masked   nothing but secrets".to_owned(),
    };
    let path = relayflow_core::text::line(&to.display().to_string()).into_owned();
    format!("wrote    {path}  {}\nholds    {}\n{masked}\n", size(bytes), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in
            [(999, "999 B"), (12_440, "12.4 kB"), (3_200_000, "3.2 MB"), (5_000_000_000, "5.0 GB")]
        {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn a_file_that_is_there_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar.gz");
        assert!(check_place(&path, false).is_ok());
        std::fs::write(&path, "x").unwrap();
        assert_eq!(check_place(&path, false).unwrap_err().exit().code(), 6);
        assert!(check_place(&path, true).is_ok());
        assert_eq!(check_place(dir.path(), true).unwrap_err().exit().code(), 2);
    }
}
