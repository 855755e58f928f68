//! The request as it came: how it ended, its kept headers, its bytes.

use relayflow_core::text;

use super::EventScreen;
use crate::commands::verification;
use crate::output::style::Tone;
use crate::tui::draw::Canvas;
use crate::tui::theme::Role;

/// As much of a body is shown as anybody reads on a screen; `x` writes all of it.
const SHOWN_MAX: usize = 64 * 1024;

pub(super) fn lines(screen: &EventScreen) -> Vec<(String, Role)> {
    let Some(request) = &screen.request.value else { return Vec::new() };
    let mut lines = vec![
        (format!("{}  {}  {}", request.id, request.source, request.provider), Role::Dim),
        (format!("{} {}", request.method, request.target), Role::Strong),
    ];
    let why = [&request.reason, &request.detail];
    let why: Vec<_> = why.into_iter().flatten().map(String::as_str).collect();
    let status = format!("{}  {}", request.status, why.join("  "));
    lines.push((status, Role::of_status(&request.status)));
    lines.extend(report(screen));
    for (name, value) in request.headers.iter().flatten() {
        lines.push((format!("{name}: {value}"), Role::Text));
    }
    lines.push((String::new(), Role::Text));
    let Some(raw) = &screen.raw.value else { return lines };
    let shown = &raw[..raw.len().min(SHOWN_MAX)];
    match std::str::from_utf8(shown) {
        Ok(body) => {
            let body = text::block(body).replace('\t', "  ");
            lines.extend(body.lines().map(|line| (line.to_owned(), Role::Text)));
        }
        Err(_) => lines.extend(shown.chunks(16).take(1024).map(|bytes| (hex(bytes), Role::Text))),
    }
    if shown.len() < raw.len() {
        let rest = raw.len() - shown.len();
        lines.push((format!("{rest} bytes more: x writes them to a file"), Role::Dim));
    }
    lines
}

/// The report of `requests explain`, of a rejected request.
fn report(screen: &EventScreen) -> Vec<(String, Role)> {
    let mut lines = vec![(String::new(), Role::Text)];
    match &screen.verification.value {
        // Its first line says what stands here already.
        Some(told) => lines
            .extend(verification::report(told).into_iter().skip(1).map(|l| (l.text, role(l.tone)))),
        None if screen.request.value.as_ref().is_some_and(|r| r.status == "rejected") => {
            let why = screen.verification.error.as_ref().map(|failure| failure.message.clone());
            let why = why.unwrap_or_else(|| "looking for the cause".to_owned());
            lines.push((why, Role::Dim));
        }
        None => return Vec::new(),
    }
    lines.push((String::new(), Role::Text));
    lines
}

fn role(tone: Tone) -> Role {
    match tone {
        Tone::Plain => Role::Text,
        Tone::Good => Role::Ok,
        Tone::Busy => Role::Info,
        Tone::Warn => Role::Warn,
        Tone::Bad => Role::Bad,
        Tone::Dim => Role::Dim,
        Tone::Bold => Role::Strong,
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let seen = |b: &u8| if b.is_ascii_graphic() { char::from(*b) } else { '.' };
    format!("{:47}  {}", digits.join(" "), bytes.iter().map(seen).collect::<String>())
}

pub(super) fn view(screen: &EventScreen, canvas: &mut Canvas<'_>) {
    let lines = lines(screen);
    let width = canvas.width().saturating_sub(2);
    let mut y = 0;
    for (line, role) in lines.iter().skip(screen.cursor()) {
        let wrapped = crate::tui::draw::wrap(line, width);
        if wrapped.is_empty() {
            y += 1;
        }
        for part in wrapped {
            if canvas.height() <= y {
                return;
            }
            canvas.put(1, y, &part, *role);
            y += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_digits() {
        assert_eq!(hex(&[0, 0x1b, b'a']), format!("{:47}  ..a", "00 1b 61"));
    }
}
