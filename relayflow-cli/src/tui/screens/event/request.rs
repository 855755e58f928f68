//! The request as it came: how it ended, its kept headers, its bytes.

use relayflow_core::text;

use super::EventScreen;
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
