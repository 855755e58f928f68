//! How the wizard looks.

use relayflow_core::api::Plan;

use super::{Field, LATES, MODES, Step, Wizard, of_refusal};
use crate::args::Job;
use crate::commands::plan::{facts, late_items, would};
use crate::confirm::Decision;
use crate::output::time;
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, Column, dim, head, lay_out, piece, plain, row, strong, wrap};
use crate::tui::frame;
use crate::tui::popup::show_field;
use crate::tui::theme::Role;

const COLUMNS: [Column; 5] = [
    Column { title: "WOULD", width: 12, is_right: false, weight: 0, grows: false },
    Column { title: "TASKS", width: 7, is_right: true, weight: 0, grows: false },
    Column { title: "DESTINATION", width: 16, is_right: false, weight: 1, grows: false },
    Column { title: "EFFECT", width: 16, is_right: false, weight: 3, grows: true },
    Column { title: "WHY", width: 16, is_right: false, weight: 2, grows: true },
];

pub(super) fn view(wizard: &Wizard, ctx: &Ctx, canvas: &mut Canvas<'_>) {
    match &wizard.step {
        Step::Plan => plan(wizard, ctx, canvas),
        Step::Confirm { decision, typed } => confirm(wizard, ctx, canvas, decision, typed),
        Step::Sent(_) => {
            canvas.put(2, 1, "sent; waiting for the answer", Role::Dim);
        }
    }
}

fn title(ctx: &Ctx, plan: &Plan) -> String {
    format!(
        "Plan of {} of {}  {}  frozen {}  valid to {}",
        time::things(plan.items.total, "task"),
        time::things(plan.events, "event"),
        crate::tui::draw::short_id(&plan.id),
        ctx.hour(&plan.created_at),
        ctx.hour(&plan.expires_at)
    )
}

fn plan(wizard: &Wizard, ctx: &Ctx, canvas: &mut Canvas<'_>) {
    let waits = wizard.plan.waits(ctx.now.run);
    let Some(plan) = wizard.planned() else {
        canvas.rule(0, "Plan");
        let text = match (&wizard.plan.error, waits) {
            (Some(failure), _) => failure.lines(("", "")),
            (None, Some(waits)) => {
                format!("planning… {:.1}s   esc cancels", waits.as_secs_f64())
            }
            (None, None) => frame::waiting(ctx),
        };
        for (y, line) in text.lines().enumerate() {
            canvas.put(2, 1 + y, line, Role::Text);
        }
        let y = 3 + text.lines().count();
        settings(wizard, &mut canvas.below(y));
        return;
    };
    canvas.rule(0, &title(ctx, plan));
    let facts = facts(plan, &Job { rate: wizard.job_rate(), ..Job::default() });
    let room = canvas.height().saturating_sub(if wizard.is_discard() { 9 } else { 12 });
    let told = facts.len().min(room);
    let fields = told + if wizard.is_discard() { 6 } else { 9 };
    let rows = canvas.height().saturating_sub(2 + fields).clamp(1, plan.groups.len().max(1));
    let faded = canvas.is_faded;
    let is_old = waits.is_some() || wizard.replan_at.is_some() || wizard.plan.error.is_some();
    canvas.is_faded |= is_old;
    let laid = lay_out(&COLUMNS, canvas.width().saturating_sub(3));
    let glyphs = canvas.glyphs;
    canvas.put(0, 1, &format!("   {}", head(&COLUMNS, &laid, glyphs)), Role::Strong);
    let top = (wizard.row + 1).saturating_sub(rows);
    for (y, group) in plan.groups.iter().skip(top).take(rows).enumerate() {
        let word = would(group);
        let is_here = wizard.field == Field::Rows && top + y == wizard.row;
        let cells = [
            piece(word, Role::of_status(word)),
            plain(time::count(group.count)),
            plain(&*group.destination),
            plain(&*group.effect),
            dim(&*group.why),
        ];
        canvas.put(0, 2 + y, if is_here { glyphs.cursor } else { " " }, Role::Text);
        canvas.part(3, 2 + y, canvas.width(), 1).line(0, &row(&COLUMNS, &laid, &cells, glyphs));
        if is_here {
            canvas.tint(2 + y, Role::Selected);
        }
    }
    canvas.is_faded = faded;
    let mut below = canvas.below(2 + rows);
    let counts = plan.items;
    let summary = format!(
        " in all    run {}   at risk {}   skip {}   blocked {}",
        time::count(counts.run),
        time::count(counts.run_at_risk),
        time::count(counts.skip),
        time::count(counts.blocked)
    );
    let late = &plan.late;
    let late = if 0 < late.items + late.unknown {
        format!("   late {}", late_items(late))
    } else {
        String::new()
    };
    below.put(0, 0, &format!("{summary}{late}"), Role::Dim);
    for (y, (label, fact)) in facts.iter().take(told).enumerate() {
        below.put(0, 1 + y, &format!(" {label:<10} {fact}"), Role::Dim);
    }
    settings(wizard, &mut below.below(1 + told));
}

/// The fields, what is wrong with them, and the command that does the same.
fn settings(wizard: &Wizard, canvas: &mut Canvas<'_>) {
    let (left, right) = canvas.glyphs.choice;
    let choice = |value: &str| format!("{left} {value} {right}");
    let mut y = 1;
    if !wizard.is_discard() {
        let mode = choice(MODES[wizard.mode]);
        let x = label(canvas, 0, y, "mode", wizard.field == Field::Mode);
        canvas.put(x, y, &mode, Role::Text);
        let x = label(canvas, 34, y, "late", wizard.field == Field::Late);
        canvas.put(x, y, &choice(LATES[wizard.late]), Role::Text);
        y += 1;
        for (x, field, name, input) in
            [(0, Field::Rate, "rate", &wizard.rate), (34, Field::Canary, "canary", &wizard.canary)]
        {
            text_field(canvas, x, y, (name, input), wizard.field == field);
        }
        y += 1;
        let stop = ("stop after", &wizard.stop_after);
        text_field(canvas, 0, y, stop, wizard.field == Field::StopAfter);
        y += 1;
    }
    text_field(canvas, 0, y, ("reason", &wizard.reason), wizard.field == Field::Reason);
    y += 1;
    let refused = wizard.plan.error.as_ref().filter(|_| wizard.planned().is_some());
    let refused = refused.map(|failure| format!("! {}   enter: ask again", of_refusal(failure)));
    let wrong = wizard.error.clone().or(refused).unwrap_or_default();
    canvas.put(1, y, &wrong, Role::Warn);
    let room = canvas.width().saturating_sub(12);
    let command = wrap(&wizard.command(), room);
    canvas.line(y + 1, &[dim(" same as   "), plain(command.first().cloned().unwrap_or_default())]);
    if let Some(more) = command.get(1) {
        canvas.put(11, y + 2, more, Role::Text);
    }
}

fn label(canvas: &mut Canvas<'_>, x: usize, y: usize, name: &str, is_here: bool) -> usize {
    let mark = if is_here { canvas.glyphs.cursor } else { " " };
    let x = canvas.put(x, y, mark, Role::Accent);
    let role = if is_here { Role::Strong } else { Role::Dim };
    canvas.put(x, y, &format!("{name:11}"), role)
}

fn text_field(
    canvas: &mut Canvas<'_>,
    x: usize,
    y: usize,
    (name, input): (&str, &tui_input::Input),
    is_here: bool,
) {
    let x = label(canvas, x, y, name, is_here);
    if is_here {
        show_field(canvas, x, y, input);
        return;
    }
    let is_empty = input.value().is_empty();
    let none = canvas.glyphs.none();
    let (text, role) = if is_empty { (none, Role::Dim) } else { (input.value(), Role::Text) };
    canvas.put(x, y, text, role);
}

fn confirm(
    wizard: &Wizard,
    ctx: &Ctx,
    canvas: &mut Canvas<'_>,
    decision: &Decision,
    typed: &tui_input::Input,
) {
    let Some(plan) = wizard.planned() else { return };
    let name = ctx.target.label.clone().unwrap_or_else(|| ctx.target.name.clone());
    let verb = if wizard.is_discard() { "Discard" } else { "Replay" };
    let things = time::things(plan.items.total, "task");
    let width = canvas.width().saturating_sub(4).min(72);
    let mut popup = canvas.popup(width, 13, &name);
    popup.line(1, &[strong(format!("{verb} {things} in {}?", ctx.target.shown()))]);
    let counts = plan.items;
    let mut parts = vec![format!("{} run", time::count(counts.run))];
    for (count, word) in [
        (counts.run_at_risk, "at risk of a double"),
        (counts.skip, "skipped"),
        (counts.blocked, "blocked"),
    ] {
        if 0 < count {
            parts.push(format!("{} {word}", time::count(count)));
        }
    }
    popup.put(0, 2, &parts.join(", "), Role::Text);
    if let Some(reason) = wizard.reason() {
        popup.put(0, 3, &format!("reason: {reason}"), Role::Dim);
    }
    if *decision == Decision::AskNumber {
        let x = popup.put(
            0,
            5,
            &format!("{name} is protected. Type the number of tasks:  "),
            Role::Text,
        );
        show_field(&mut popup, x, 5, typed);
        popup.put(0, 7, "enter: run when it matches    esc back", Role::Strong);
    } else {
        popup.put(0, 5, "y to run    esc back", Role::Strong);
    }
    for (y, line) in
        wrap(&format!("same as  {}", wizard.command()), popup.width()).iter().take(2).enumerate()
    {
        popup.put(0, 9 + y, line, Role::Dim);
    }
}
