//! `relayflow dlq edit`: a payload mended by hand, validated, kept beside the original, and run.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{EditMap, EditSet, NewRevision, PlanEdit, Revised};
use relayflow_core::{patch, text};

use super::replay::{Ask, plan_and_run};
use crate::app::App;
use crate::args::{EditArgs, How};
use crate::backend::Backend;
use crate::confirm::declined;
use crate::failure::{Done, Failure};
use crate::output::{document, read_line};
use crate::selection::Selection;
use crate::vendor;

/// How many lines around a change a difference shows.
const AROUND: usize = 2;
/// Above so many lines both texts are shown whole.
const LINES_MAX: usize = 4_000;

/// A payload that the daemon would not take, and why.
type Refused = Box<(String, Failure)>;

pub(crate) async fn edit(app: &App, args: &EditArgs) -> Done {
    let selection = app.select(&args.select, Some("status:dead"))?;
    let typed = format!("relayflow dlq edit {}", args.select.terms.join(" "));
    let reason = args.act.reason.clone().filter(|reason| !reason.trim().is_empty());
    let Some(reason) = reason.or_else(|| args.act.dry_run.then(String::new)) else {
        return Err(Failure::new("refused.reason_required", "an edit needs a --reason")
            .why("nothing was changed")
            .hint(format!("{typed} --reason \"…\"")));
    };
    let is_one = matches!(args.select.terms.as_slice(), [only] if only.starts_with("tsk_"));
    match args.select.terms.first() {
        // Only the daemon has the expressions' language at hand, and says what each gives.
        Some(id) if is_one && args.map.is_empty() && args.unset.is_empty() => {
            one(app, args, id, &reason).await
        }
        _ => many(app, args, selection, typed).await,
    }
}

/// By expression: planned, each payload held against its contract and its workflows, and run.
async fn many(app: &App, args: &EditArgs, selection: Selection, command: String) -> Done {
    if args.data.is_some() {
        return Err(Failure::usage("--data is the payload of one task")
            .hint(format!("{command} --set PATH=VALUE, --map PATH=EXPR or --unset PATH")));
    }
    let edit = PlanEdit {
        map: args
            .map
            .iter()
            .map(|(path, expression)| EditMap {
                path: path.clone(),
                expression: expression.clone(),
            })
            .collect(),
        set: args
            .set
            .iter()
            .map(|(path, value)| EditSet { path: path.clone(), value: patch::value_of(value) })
            .collect(),
        unset: args.unset.clone(),
    };
    if edit == PlanEdit::default() {
        return Err(Failure::usage("the editor opens on one task; more are edited by expression")
            .hint(format!("{command} --set PATH=VALUE, --map PATH=EXPR or --unset PATH")));
    }
    let ask = Ask {
        selection,
        from: None,
        failed: false,
        how: &How { late: args.late.clone(), ..How::default() },
        config: None,
        edit: Some(edit),
        act: &args.act,
        job: &args.job,
        command,
    };
    plan_and_run(app, ask).await
}

/// One, in the editor or as the flags have it.
async fn one(app: &App, args: &EditArgs, id: &str, reason: &str) -> Done {
    let backend = app.connect().await?;
    let task = backend.task(id).await?;
    let event = backend.event(&task.event_id).await?;
    let last = event.revisions.as_deref().unwrap_or_default().last();
    let payload = last.and_then(|r| r.payload.as_deref()).or(event.payload.as_deref());
    let was = document::indent(payload.map_or("null", |payload| payload.get()))?;
    let mut edited = given(args, &was)?;
    let in_flags = edited.is_some();
    if !in_flags && !app.out.can_ask {
        return Err(Failure::usage("there is no terminal for an editor")
            .hint(format!("relayflow dlq edit {id} --set PATH=VALUE, or --data @FILE")));
    }
    let mut draft = was.clone();
    let revised = loop {
        let text = match edited.take() {
            Some(text) => text,
            None => in_editor(&draft)?,
        };
        let is = document::indent(&text).unwrap_or_else(|_| text.clone());
        if is.trim() == was.trim() {
            return Err(Failure::new("refused.declined", "the payload is as it was")
                .why("nothing was changed"));
        }
        app.out.notice(&difference(&was, &is));
        if args.act.dry_run {
            return Ok(Exit::Ok);
        }
        match keep(app, &backend, &task.event_id, text, reason, args).await? {
            Ok(revised) => break revised,
            Err(refused) => {
                let (text, failure) = *refused;
                // Without an editor there is nothing to open again.
                if in_flags {
                    return Err(failure);
                }
                app.out.notice(failure.why.as_deref().unwrap_or(&failure.message));
                app.out.prompt("Edit again? [Y/n] ");
                if read_line().is_none_or(|answer| answer.trim().eq_ignore_ascii_case("n")) {
                    return Err(failure);
                }
                draft = text;
            }
        }
    };
    let number = revised.revision.number;
    app.out.notice(&format!("revision {number} of {} by {}", revised.event, revised.revision.who));
    run(app, args, &task.id).await
}

/// Asks, and has the daemon validate and keep it. A payload that it refuses comes back with why.
async fn keep(
    app: &App,
    backend: &Backend,
    event: &str,
    payload: String,
    reason: &str,
    args: &EditArgs,
) -> Result<Result<Revised, Refused>, Failure> {
    if app.out.can_ask && args.act.yes.is_none() {
        app.out.prompt("Keep this as a revision, and run it? [y/N] ");
        let answer = read_line().unwrap_or_default();
        if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Err(declined());
        }
    }
    let new = NewRevision { payload: payload.clone(), reason: reason.to_owned() };
    match backend.revise(event, &new).await {
        Ok(revised) => Ok(Ok(revised)),
        Err(failure) if failure.exit() == Exit::Usage => Ok(Err(Box::new((payload, failure)))),
        Err(failure) => Err(failure),
    }
}

/// The payload as the flags have it, if they do.
fn given(args: &EditArgs, was: &str) -> Result<Option<String>, Failure> {
    let data = match args.data.as_deref() {
        None if args.set.is_empty() => return Ok(None),
        None => was.to_owned(),
        Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().lock().read_to_string(&mut text);
            read.map_err(|e| Failure::usage(format!("stdin is not text: {e}")))?;
            text
        }
        Some(data) => match data.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|e| Failure::usage(format!("--data: {file}: {e}")))?,
            None => data.to_owned(),
        },
    };
    let mut body = data.into_bytes();
    for (path, value) in &args.set {
        body = vendor::set(&body, path, value)?;
    }
    let text = String::from_utf8(body).map_err(|_| Failure::usage("the payload is not UTF-8"))?;
    Ok(Some(text))
}

/// Runs the task, as `dlq replay` of one does.
async fn run(app: &App, args: &EditArgs, task: &str) -> Done {
    let selection = Selection { ids: Some(vec![task.to_owned()]), ..Selection::default() };
    let ask = Ask {
        selection,
        from: None,
        failed: false,
        how: &How {
            late: Some(args.late.clone().unwrap_or_else(|| "apply".to_owned())),
            ..How::default()
        },
        config: None,
        edit: None,
        act: &args.act,
        job: &args.job,
        command: format!("relayflow dlq replay {task}"),
    };
    plan_and_run(app, ask).await
}

/// Opens the person's editor on the payload, in a folder of its own.
pub(crate) fn in_editor(payload: &str) -> Result<String, Failure> {
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    let editor = var("VISUAL").or_else(|| var("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let folder = Folder::new()?;
    let path = folder.0.join("payload.json");
    let file = |e: std::io::Error| Failure::error(format!("{}: {e}", path.display()));
    let mut options = std::fs::OpenOptions::new();
    let mut open = options.write(true).create_new(true).mode(0o600).open(&path).map_err(file)?;
    open.write_all(framed(payload).as_bytes()).map_err(file)?;
    drop(open);
    // By a shell, as git does: the variable may hold flags.
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(&path)
        .status()
        .map_err(|e| Failure::error(format!("{editor}: {e}")))?;
    if !status.success() {
        return Err(Failure::new("refused.declined", format!("{editor} ended with {status}"))
            .why("nothing was changed"));
    }
    Ok(unframed(&std::fs::read_to_string(&path).map_err(file)?))
}

/// A folder that only this person can look into, gone with its content when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let name = format!("relayflow-edit-{}", vendor::random_text(12));
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| Failure::error(format!("{}: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The payload between six lines of ours: editors look for commands in a file's first and last lines.
fn framed(payload: &str) -> String {
    format!(
        "// The payload of a dead letter. Mend it, save, and leave the editor.\n\
         // It is kept as a revision: what came in stays as it is.\n\
         //\n\
         // Lines that begin with // are not part of it.\n\
         //\n\
         // ----------------------------------------------------------------\n\
         {payload}\n//\n//\n//\n//\n//\n//\n"
    )
}

fn unframed(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines that differ, with a few around them.
pub(crate) fn difference(was: &str, is: &str) -> String {
    let (was, is): (Vec<&str>, Vec<&str>) = (was.lines().collect(), is.lines().collect());
    let marked = if LINES_MAX < was.len() + is.len() { whole(&was, &is) } else { diff(&was, &is) };
    let is_near = |at: usize| {
        let from = at.saturating_sub(AROUND);
        marked.iter().skip(from).take(at - from + AROUND + 1).any(|(mark, _)| *mark != ' ')
    };
    let mut shown = String::new();
    for (at, (mark, line)) in marked.iter().enumerate() {
        if is_near(at) {
            let _ = writeln!(shown, "{mark} {}", text::line(line));
        }
    }
    shown.trim_end().to_owned()
}

fn whole<'t>(was: &[&'t str], is: &[&'t str]) -> Vec<(char, &'t str)> {
    was.iter().map(|line| ('-', *line)).chain(is.iter().map(|line| ('+', *line))).collect()
}

/// Lines marked as gone, come or kept, along a longest common sequence.
fn diff<'t>(was: &[&'t str], is: &[&'t str]) -> Vec<(char, &'t str)> {
    let width = is.len() + 1;
    let mut longest = vec![0_u32; (was.len() + 1) * width];
    for i in (0..was.len()).rev() {
        for j in (0..is.len()).rev() {
            longest[i * width + j] = if was[i] == is[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marked = Vec::new();
    while i < was.len() && j < is.len() {
        if was[i] == is[j] {
            marked.push((' ', was[i]));
            (i, j) = (i + 1, j + 1);
        } else if longest[i * width + j + 1] <= longest[(i + 1) * width + j] {
            marked.push(('-', was[i]));
            i += 1;
        } else {
            marked.push(('+', is[j]));
            j += 1;
        }
    }
    marked.extend(was[i..].iter().map(|line| ('-', *line)));
    marked.extend(is[j..].iter().map(|line| ('+', *line)));
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_changed_and_what_is_around() {
        let was = "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3,\n  \"d\": 4\n}";
        let is = was.replace('3', "5");
        let wanted =
            "    \"a\": 1,\n    \"b\": 2,\n-   \"c\": 3,\n+   \"c\": 5,\n    \"d\": 4\n  }";
        assert_eq!(difference(was, &is), wanted);
    }

    #[test]
    fn an_editor_sees_our_lines_first_and_last_and_the_payload_comes_back() {
        let payload = "{\n  \"vim: set x\": 1\n}";
        let framed = framed(payload);
        let lines: Vec<&str> = framed.lines().collect();
        let are_ours = |lines: &[&str]| lines.iter().all(|line| line.starts_with("//"));
        assert!(are_ours(&lines[..6]) && are_ours(&lines[lines.len() - 6..]));
        assert_eq!(unframed(&framed), payload);
    }
}
