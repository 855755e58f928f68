//! How things look: roles in code, colours only here. Sixteen terminal colours and attributes, and the
//! background is never painted.

use ratatui::style::{Color, Modifier, Style};

use crate::output::style::{Style as Marks, Tone};

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    #[default]
    Text,
    Dim,
    Accent,
    Ok,
    Warn,
    Bad,
    Info,
    Selected,
    Marked,
    Match,
    /// The name of the context.
    Label,
    Strong,
}

impl Role {
    pub(crate) const ALL: [Self; 12] = [
        Self::Text,
        Self::Dim,
        Self::Accent,
        Self::Ok,
        Self::Warn,
        Self::Bad,
        Self::Info,
        Self::Selected,
        Self::Marked,
        Self::Match,
        Self::Label,
        Self::Strong,
    ];

    /// As a user's theme names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Dim => "dim",
            Self::Accent => "accent",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Info => "info",
            Self::Selected => "selected",
            Self::Marked => "marked",
            Self::Match => "match",
            Self::Label => "label",
            Self::Strong => "strong",
        }
    }

    /// The role of a status word.
    pub(crate) fn of_status(status: &str) -> Self {
        match Tone::of_status(status) {
            Tone::Plain => Self::Text,
            Tone::Good => Self::Ok,
            Tone::Busy => Self::Info,
            Tone::Warn => Self::Warn,
            Tone::Bad => Self::Bad,
            Tone::Dim => Self::Dim,
            Tone::Bold => Self::Strong,
        }
    }
}

/// A style for each role.
#[derive(Debug, Clone)]
pub(crate) struct Theme {
    styles: [Style; Role::ALL.len()],
    has_colour: bool,
}

impl Theme {
    /// The sixteen colours of the terminal; works on dark and light.
    pub(crate) fn auto() -> Self {
        Self { styles: Role::ALL.map(coloured), has_colour: true }
    }

    /// For a light background, on which yellow and cyan are hard to read.
    pub(crate) fn light() -> Self {
        Self { styles: Role::ALL.map(on_light), has_colour: true }
    }

    /// Attributes only: not one colour command is sent.
    pub(crate) fn mono() -> Self {
        Self { styles: Role::ALL.map(attributes), has_colour: false }
    }

    pub(crate) fn of(&self, role: Role) -> Style {
        self.styles[role as usize]
    }

    pub(crate) fn has_colour(&self) -> bool {
        self.has_colour
    }

    /// A user's word for a role: a colour's name. `false` if there is no such role or colour.
    pub(crate) fn set(&mut self, role: &str, colour: &str) -> bool {
        let role = Role::ALL.into_iter().find(|known| known.name() == role);
        let (Some(role), Ok(colour)) = (role, colour.parse::<Color>()) else { return false };
        if self.has_colour {
            self.styles[role as usize] = attributes(role).fg(colour);
        }
        true
    }
}

/// What a role is without colour. Any one channel is enough to tell it.
fn attributes(role: Role) -> Style {
    match role {
        Role::Text | Role::Accent | Role::Ok | Role::Warn | Role::Info => Style::new(),
        Role::Dim => Style::new().add_modifier(Modifier::DIM),
        Role::Bad | Role::Marked | Role::Strong => Style::new().add_modifier(Modifier::BOLD),
        Role::Selected => Style::new().add_modifier(Modifier::REVERSED),
        Role::Match => Style::new().add_modifier(Modifier::UNDERLINED),
        Role::Label => Style::new().add_modifier(Modifier::REVERSED).add_modifier(Modifier::BOLD),
    }
}

fn coloured(role: Role) -> Style {
    let style = attributes(role);
    match role {
        Role::Accent | Role::Info => style.fg(Color::Cyan),
        Role::Ok => style.fg(Color::Green),
        Role::Warn => style.fg(Color::Yellow),
        Role::Bad => style.fg(Color::Red),
        Role::Text
        | Role::Dim
        | Role::Selected
        | Role::Marked
        | Role::Match
        | Role::Label
        | Role::Strong => style,
    }
}

fn on_light(role: Role) -> Style {
    let style = coloured(role);
    match style.fg {
        Some(Color::Cyan) => style.fg(Color::Blue),
        Some(Color::Yellow) => style.fg(Color::Magenta),
        _ => style,
    }
}

/// The characters of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glyphs {
    pub(crate) marks: Marks,
    pub(crate) rule: &'static str,
    pub(crate) side: &'static str,
    pub(crate) cursor: &'static str,
    pub(crate) mark: &'static str,
    pub(crate) caret: &'static str,
    pub(crate) path: &'static str,
    pub(crate) label: (&'static str, &'static str),
    pub(crate) up: &'static str,
    pub(crate) bar: (&'static str, &'static str),
    pub(crate) levels: [&'static str; 8],
    /// From nothing to the most.
    pub(crate) shades: [&'static str; 5],
    /// The part of a bar that failed.
    pub(crate) failed: &'static str,
    pub(crate) up_to: &'static str,
    /// Rows that are not known.
    pub(crate) gap: &'static str,
    /// The rule beside what has the keys.
    pub(crate) thick: &'static str,
    pub(crate) spinner: [&'static str; 4],
    pub(crate) corners: [&'static str; 4],
    pub(crate) dot: &'static str,
    pub(crate) choice: (&'static str, &'static str),
}

impl Glyphs {
    pub(crate) fn new(is_ascii: bool) -> Self {
        let marks = Marks { color: false, marks: true, ascii: is_ascii };
        if is_ascii {
            return Self {
                marks,
                rule: "-",
                side: "|",
                cursor: ">",
                mark: "#",
                caret: "_",
                path: ">",
                label: ("[", "]"),
                up: "^",
                bar: ("#", "."),
                levels: [".", ":", "-", "=", "+", "*", "#", "#"],
                shades: [" ", ".", ":", "*", "#"],
                failed: "x",
                up_to: "<",
                gap: ":",
                thick: "#",
                spinner: ["|", "/", "-", "\\"],
                corners: ["+"; 4],
                dot: ".",
                choice: ("<", ">"),
            };
        }
        Self {
            marks,
            rule: "─",
            side: "│",
            cursor: "▶",
            mark: "■",
            caret: "▏",
            path: "›",
            label: ("▌", "▐"),
            up: "▲",
            bar: ("█", "░"),
            levels: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
            shades: [" ", "░", "▒", "▓", "█"],
            failed: "▒",
            up_to: "≤",
            gap: "⋮",
            thick: "┃",
            spinner: ["⠋", "⠙", "⠸", "⠴"],
            corners: ["┌", "┐", "└", "┘"],
            dot: "·",
            choice: ("‹", "›"),
        }
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.marks.ascii
    }

    /// A status with its mark.
    pub(crate) fn status(&self, status: &str) -> String {
        self.marks.status(status)
    }

    pub(crate) fn ellipsis(&self) -> &'static str {
        self.marks.ellipsis()
    }

    pub(crate) fn none(&self) -> &'static str {
        self.marks.none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mono_has_no_colour_and_still_tells_what_is_selected() {
        let theme = Theme::mono();
        for role in Role::ALL {
            assert_eq!((theme.of(role).fg, theme.of(role).bg), (None, None), "{role:?}");
        }
        assert!(theme.of(Role::Selected).add_modifier.contains(Modifier::REVERSED));
        assert_ne!(theme.of(Role::Bad), theme.of(Role::Text));
    }

    #[test]
    fn no_theme_paints_the_background() {
        for role in Role::ALL {
            assert_eq!(Theme::auto().of(role).bg, None, "{role:?}");
            assert_eq!(Theme::light().of(role).bg, None, "{role:?}");
        }
    }

    #[test]
    fn a_user_may_choose_a_roles_colour() {
        let mut theme = Theme::auto();
        assert!(theme.set("bad", "magenta"));
        assert_eq!(theme.of(Role::Bad).fg, Some(Color::Magenta));
        assert!(!theme.set("bad", "plaid") && !theme.set("sorrow", "red"));
        let mut mono = Theme::mono();
        assert!(mono.set("bad", "red") && mono.of(Role::Bad).fg.is_none());
    }

    #[test]
    fn ascii_is_ascii() {
        let g = Glyphs::new(true);
        let all = [g.rule, g.side, g.cursor, g.mark, g.caret, g.path, g.up, g.dot, g.none()];
        let all = all.iter().chain(&g.levels).chain(&g.corners).chain(&g.shades).chain(&g.spinner);
        assert!(all.chain(&[g.failed, g.up_to, g.gap, g.thick]).all(|s| s.is_ascii()));
        assert!(g.status("dead").is_ascii() && g.ellipsis().is_ascii());
    }
}
