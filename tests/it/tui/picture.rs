//! The README's picture of the TUI: an incident on the real programs, drawn from what a terminal showed.
//!
//! `tests/picture` writes `docs/tui.svg`; without that the picture is made all the same, and held against
//! the screens that it was made of.

use std::fmt::Write as _;

use vt100::Color;

use super::screen::Tui;
use crate::delivery::one_step;
use crate::harness::Home;
use crate::receiver::{Receiver, Reply};
use crate::tidy::root;
use crate::vendor::stripe;

/// One character, in the picture's units.
const WIDE: f64 = 8.4;
const HIGH: f64 = 17.0;
const MARGIN: f64 = 14.0;
/// How long one screen stands, in seconds.
const STANDS: usize = 4;
/// Black, red, green, yellow, blue, magenta, cyan, white; then the bright ones.
const COLOURS: [&str; 16] = [
    "#3b4252", "#f7768e", "#9ece6a", "#e0af68", "#7aa2f7", "#bb9af7", "#7dcfff", "#c0caf5",
    "#6b7394", "#ff9aa8", "#b9f27c", "#ffc777", "#9fbdff", "#d3bcff", "#a4e0ff", "#ffffff",
];
const PAPER: &str = "#1a1b26";
const INK: &str = "#c0caf5";

/// A piece of a row that looks the same throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    column: u16,
    text: String,
    ink: String,
    paper: Option<String>,
    bold: bool,
    dim: bool,
}

/// A screen as it stood.
#[derive(Debug, Clone)]
struct Frame {
    rows: Vec<Vec<Run>>,
    columns: u16,
    /// The same as plain text.
    text: String,
}

fn colour(of: Color, default: &str) -> String {
    match of {
        Color::Default => default.to_owned(),
        Color::Idx(place) => COLOURS.get(usize::from(place)).copied().unwrap_or(default).to_owned(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
    }
}

fn frame(screen: &vt100::Screen) -> Frame {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let mut all = Vec::new();
    for row in 0..rows {
        let mut runs: Vec<Run> = Vec::new();
        for column in 0..columns {
            let Some(cell) = screen.cell(row, column) else { continue };
            if cell.is_wide_continuation() {
                continue;
            }
            let (mut ink, mut paper) = (colour(cell.fgcolor(), INK), colour(cell.bgcolor(), PAPER));
            if cell.inverse() {
                std::mem::swap(&mut ink, &mut paper);
            }
            let paper = (paper != PAPER).then_some(paper);
            let text = if cell.has_contents() { cell.contents() } else { " " };
            let new = Run {
                column,
                text: text.to_owned(),
                ink,
                paper,
                bold: cell.bold(),
                dim: cell.dim(),
            };
            match runs.last_mut() {
                Some(last) if is_alike(last, &new) => last.text.push_str(text),
                _ => runs.push(new),
            }
        }
        all.push(runs);
    }
    Frame { rows: all, columns, text: screen.contents() }
}

fn is_alike(a: &Run, b: &Run) -> bool {
    (&a.ink, &a.paper, a.bold, a.dim) == (&b.ink, &b.paper, b.bold, b.dim)
}

/// Text as XML takes it. What a terminal shows has no control characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

fn draw_frame(svg: &mut String, frame: &Frame) {
    for (row, runs) in frame.rows.iter().enumerate() {
        let top = MARGIN + f64::from(u16::try_from(row).unwrap()) * HIGH;
        for run in runs {
            let x = MARGIN + f64::from(run.column) * WIDE;
            let wide = f64::from(u16::try_from(run.text.chars().count()).unwrap()) * WIDE;
            if let Some(paper) = &run.paper {
                let _ = writeln!(
                    svg,
                    r#"<rect x="{x:.1}" y="{top:.1}" width="{wide:.1}" height="{HIGH}" fill="{paper}"/>"#
                );
            }
        }
        // A row is one text, so that it is selected and copied as one.
        let base = top + HIGH * 0.76;
        let _ = write!(svg, r#"<text y="{base:.1}">"#);
        for run in runs {
            let x = MARGIN + f64::from(run.column) * WIDE;
            let wide = f64::from(u16::try_from(run.text.chars().count()).unwrap()) * WIDE;
            let bold = if run.bold { r#" font-weight="bold""# } else { "" };
            let dim = if run.dim { r#" opacity="0.6""# } else { "" };
            let text = escaped(&run.text);
            let _ = write!(
                svg,
                r#"<tspan x="{x:.1}" textLength="{wide:.1}" fill="{}"{bold}{dim}>{text}</tspan>"#,
                run.ink
            );
        }
        svg.push_str("</text>\n");
    }
}

/// The screens one after the other, for ever; the first alone where movement is unwelcome.
fn draw(frames: &[Frame]) -> String {
    let columns = frames.iter().map(|f| f.columns).max().unwrap();
    let rows = frames.iter().map(|f| f.rows.len()).max().unwrap();
    let wide = MARGIN * 2.0 + f64::from(columns) * WIDE;
    let high = MARGIN * 2.0 + f64::from(u16::try_from(rows).unwrap()) * HIGH;
    let count = frames.len();
    let (all, share) = (count * STANDS, 100.0 / f64::from(u16::try_from(count).unwrap()));
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0} {high:.0}" width="{wide:.0}" height="{high:.0}" role="img">
<title>relayflow tui: an incident, from what is broken to its end</title>
<style>
text {{ font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; white-space: pre }}
.frame {{ visibility: hidden; animation: show {all}s step-end infinite }}
@keyframes show {{ 0% {{ visibility: visible }} {share:.3}% {{ visibility: hidden }} }}
@media (prefers-reduced-motion: reduce) {{ .frame {{ animation: none }} .frame:first-of-type {{ visibility: visible }} }}
</style>
<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>
"#
    );
    for (place, frame) in frames.iter().enumerate() {
        let _ = writeln!(
            svg,
            r#"<g class="frame" xml:space="preserve" style="animation-delay: {}s">"#,
            place * STANDS
        );
        draw_frame(&mut svg, frame);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The text of a picture, screen by screen, as somebody who copies it gets it.
fn texts(svg: &str) -> Vec<String> {
    svg.split("<g class=\"frame\"").skip(1).map(text_of).collect()
}

fn text_of(frame: &str) -> String {
    let rows = frame.split("<text ").skip(1).map(|row| {
        let row = row.split("</text>").next().unwrap();
        let parts = row.split("<tspan ").skip(1);
        let text: String = parts
            .map(|part| part.split_once('>').unwrap().1.split("</tspan>").next().unwrap())
            .collect();
        unescaped(&text).trim_end().to_owned()
    });
    let rows: Vec<String> = rows.collect();
    rows.join("\n").trim_end().to_owned()
}

/// Forty dead letters of one error, twelve of another, and what went well.
fn incident(receiver: &Receiver, home: &Home) -> crate::harness::Daemon {
    receiver.answer(|call| match call.json()["type"].as_str() {
        Some("charge.failed") => Reply::Json(
            422,
            r#"{"status":"error","message":"Property \"plan_id\" does not exist","category":"VALIDATION_ERROR"}"#
                .to_owned(),
        ),
        Some("invoice.payment_failed") => Reply::Status(400),
        _ => Reply::Status(200),
    });
    let daemon = home.start();
    for n in 0..90 {
        let kind = match n % 9 {
            0..=3 => "charge.failed",
            4 => "invoice.payment_failed",
            _ => "charge.refunded",
        };
        daemon.deliver_new(&stripe(&format!("evt_{n}"), kind));
    }
    daemon.drained();
    daemon
}

#[test]
fn the_picture_shows_what_the_screen_showed() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = incident(&receiver, &home);
    let mut tui = Tui::start(daemon.cli(&home, &["tui"]), (96, 26), &[]);
    let mut frames = Vec::new();
    let mut take = |tui: &Tui| {
        tui.settles();
        frames.push(tui.with_screen(frame));
    };
    tui.shows("40");
    tui.shows("no replay is running");
    tui.shows("/s");
    take(&tui);
    for (key, text) in
        [("\r", "40 matching"), ("\r", "VALIDATION_ERROR"), ("R", "40 tasks of 40 events")]
    {
        tui.press(key);
        tui.shows(text);
        take(&tui);
    }
    receiver.answer(|_| Reply::Status(200));
    tui.press("\r");
    tui.shows("y to run");
    take(&tui);
    tui.press("y");
    tui.shows("40 / 40");
    tui.shows("● done");
    take(&tui);
    tui.press("q");
    assert_eq!(tui.exit(), 0);

    let svg = draw(&frames);
    let shown: Vec<String> = frames
        .iter()
        .map(|frame| {
            let rows: Vec<&str> = frame.text.lines().map(str::trim_end).collect();
            rows.join("\n").trim_end().to_owned()
        })
        .collect();
    assert_eq!(texts(&svg), shown);
    assert!(!svg.contains("<image") && !svg.contains("url("), "nothing is embedded or fetched");

    let path = root().join("docs/tui.svg");
    if std::env::var_os("RELAYFLOW_UPDATE").is_some() {
        std::fs::write(path, svg).unwrap();
        return;
    }
    // The kept picture is of another run: other ids and times, and the same screens.
    let kept = std::fs::read_to_string(path).expect("tests/picture writes it");
    let kept = texts(&kept);
    assert_eq!(kept.len(), frames.len(), "tests/picture writes it anew");
    for (kept, words) in kept.iter().zip([
        "[1 Overview]",
        "40 matching",
        "VALIDATION_ERROR",
        "[2 Plan]",
        "y to run",
        "40 / 40",
    ]) {
        assert!(kept.contains(words), "no `{words}` in\n{kept}");
    }
}

#[test]
fn what_xml_would_take_for_its_own_is_escaped() {
    let mut screen = vt100::Parser::new(2.try_into().unwrap(), 30.try_into().unwrap(), 0);
    screen.process("a <b> & \"c\" \u{1b}[31;1mred\u{1b}[0m \u{1b}[7minv\u{1b}[0m".as_bytes());
    let svg = draw(&[frame(screen.screen())]);
    assert!(svg.contains("a &lt;b&gt; &amp; &quot;c&quot;"), "{svg}");
    assert!(svg.contains(&format!("fill=\"{}\" font-weight=\"bold\">red", COLOURS[1])), "{svg}");
    assert!(svg.contains(&format!("<rect x=\"{:.1}\"", MARGIN + 16.0 * WIDE)), "{svg}");
    assert_eq!(texts(&svg), ["a <b> & \"c\" red inv"]);
}
