//! Long lines of prose, fitted to a terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Below this no line is worth breaking.
const WIDTH_LEAST: usize = 20;

/// `text` broken at spaces so that no line is wider than `width`; where it goes on, it is indented.
/// Off a terminal (`None`) it stays one line.
pub(crate) fn hanging(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| indent + WIDTH_LEAST <= *width) else {
        return format!("{text}\n");
    };
    let mut out = String::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end_matches(' ').width();
        if width < used + bare && !line.trim().is_empty() {
            end_line(&mut out, &mut line, indent);
            used = indent;
        }
        // A word that is longer than a line goes on in the next.
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if width < used + wide && c != ' ' {
                end_line(&mut out, &mut line, indent);
                used = indent;
            }
            line.push(c);
            used += wide;
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}

fn end_line(out: &mut String, line: &mut String, indent: usize) {
    out.push_str(line.trim_end());
    out.push('\n');
    *line = " ".repeat(indent);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_broken_at_spaces_and_goes_on_indented() {
        let text = "tried      one two three four five sixteen";
        assert_eq!(
            hanging(text, 11, Some(31)),
            "tried      one two three four\n           five sixteen\n"
        );
        assert_eq!(hanging(text, 11, None), format!("{text}\n"));
        let long = format!("a {}", "x".repeat(50));
        assert!(hanging(&long, 2, Some(30)).lines().all(|line| line.width() <= 30));
        assert_eq!(hanging("", 0, Some(80)), "\n");
    }
}
