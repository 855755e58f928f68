//! A vendor's text made safe to show. Everything from outside passes here before it becomes a line
//! on a terminal: it can neither act on the terminal nor look like something else.

use std::borrow::Cow;

/// How many combining marks a letter may bear.
const MARKS_MAX: usize = 8;

/// One line of text: controls (line ends and tabs too), bidirectional and invisible characters
/// become visible.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    make_safe(text, false)
}

/// The same over several lines: line feeds and tabs stay.
#[must_use]
pub fn block(text: &str) -> Cow<'_, str> {
    make_safe(text, true)
}

/// A message of ours that repeats what somebody else wrote: line feeds stay, tabs do not.
#[must_use]
pub fn message(text: &str) -> Cow<'_, str> {
    match make_safe(text, true) {
        safe if safe.contains('\t') => Cow::Owned(safe.replace('\t', "\u{2409}")),
        safe => safe,
    }
}

fn make_safe(text: &str, keep_lines: bool) -> Cow<'_, str> {
    if text.bytes().all(|b| matches!(b, b' '..=b'~') || (keep_lines && matches!(b, b'\n' | b'\t')))
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut marks = 0;
    for c in text.chars() {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if MARKS_MAX < marks {
            continue;
        }
        match c {
            '\n' | '\t' if keep_lines => out.push(c),
            // The Unicode block of control pictures stands in the order of the controls.
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('?')),
            '\u{7f}' => out.push('\u{2421}'),
            c if is_misleading(c) => out.push_str(&format!("<U+{:04X}>", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Characters that a terminal acts on, or that a reader cannot see: C1 controls, bidirectional
/// controls, zero-width characters, line and paragraph separators, tags, fillers, and private use.
fn is_misleading(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}'
        | '\u{f0000}'..='\u{10ffff}')
}

/// Marks that stack on the letter before them.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{591}'..='\u{5bd}'
        | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}'
        | '\u{e31}'
        | '\u{e34}'..='\u{e3a}'
        | '\u{e47}'..='\u{e4e}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe2f}')
}

/// The one of `known` that a person probably meant by `given`: at most a third of it is wrong.
#[must_use]
pub fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let given: Vec<char> = given.chars().take(64).flat_map(char::to_lowercase).collect();
    let most = (given.len() / 3).max(1);
    known
        .into_iter()
        .map(|word| (distance(&given, &word.to_lowercase().chars().collect::<Vec<_>>()), word))
        .filter(|(wrong, word)| *wrong <= most && *wrong < word.chars().count())
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, word)| word)
}

/// How many characters to insert, remove, replace or swap with the next to make `b` of `a`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_on_a_terminal_becomes_visible() {
        for (given, shown) in [
            ("plain", "plain"),
            ("\u{1b}[31mred", "␛[31mred"),
            ("a\u{9b}31m", "a<U+009B>31m"),
            ("\u{202e}fdp.exe", "<U+202E>fdp.exe"),
            ("a\r\nb\tc", "a␍␊b␉c"),
            ("zero\u{200b}width", "zero<U+200B>width"),
            ("del\u{7f}", "del␡"),
            ("Grüße 日本 🎉", "Grüße 日本 🎉"),
        ] {
            assert_eq!(line(given), shown);
        }
        assert_eq!(block("a\n\tb\r"), "a\n\tb␍");
        assert_eq!(message("a\n\tb\r"), "a\n␉b␍");
    }

    #[test]
    fn a_letter_bears_at_most_eight_marks() {
        let tower = format!("a{}b", "\u{301}".repeat(100));
        assert_eq!(line(&tower).chars().count(), 2 + MARKS_MAX);
    }

    #[test]
    fn a_slip_of_the_fingers_finds_the_word() {
        let words = ["source", "status", "step", "type"];
        for (given, meant) in [
            ("sorce", Some("source")),
            ("Source", Some("source")),
            ("soucre", Some("source")),
            ("stepp", Some("step")),
            ("tpye", Some("type")),
            ("x", None),
            ("completely", None),
        ] {
            assert_eq!(nearest(given, words), meant, "{given}");
        }
    }

    proptest! {
        #[test]
        fn no_control_survives(text: String) {
            prop_assert!(!line(&text).chars().any(|c| c.is_control()));
            prop_assert!(!block(&text).chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
