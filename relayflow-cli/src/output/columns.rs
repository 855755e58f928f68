//! Words in lines and in two columns, for help.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

/// The room that the first column has at most; what is wider has a line of its own.
const FIRST_MAX: usize = 36;
const GAP: usize = 2;

/// Writes rows of two columns, the second wrapped beside the first.
pub(crate) fn two(text: &mut String, rows: &[(String, String)], width: usize) {
    let fitting = rows.iter().map(|(first, _)| first.width()).filter(|w| *w <= FIRST_MAX);
    let indent = fitting.max().unwrap_or(FIRST_MAX) + GAP;
    for (first, second) in rows {
        let mut lines = wrapped(second, width.saturating_sub(indent)).into_iter();
        if first.width() + GAP <= indent {
            let line = lines.next().unwrap_or_default();
            let gap = " ".repeat(indent - first.width());
            let _ = writeln!(text, "{}", format!("{first}{gap}{line}").trim_end());
        } else {
            let _ = writeln!(text, "{first}");
        }
        for line in lines {
            let _ = writeln!(text, "{}{line}", " ".repeat(indent));
        }
    }
}

/// The words of a text in lines of at most `width` columns; a longer word has its own.
pub(crate) fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_column_is_wrapped_beside_the_first() {
        let mut text = String::new();
        let row = |first: &str, second: &str| (first.to_owned(), second.to_owned());
        let long = "x".repeat(FIRST_MAX + 1);
        two(&mut text, &[row("a", "one two three"), row("bcd", ""), row(&long, "four")], 12);
        assert_eq!(text, format!("a    one two\n     three\nbcd\n{long}\n     four\n"));
        assert!(wrapped("", 10).is_empty());
        assert_eq!(wrapped("a very-long-word b", 4), ["a", "very-long-word", "b"]);
    }
}
