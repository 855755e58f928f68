//! A request as a shell command that sends the same bytes.

use std::fmt::Write as _;

use relayflow_core::provider::sign::Signed;
use relayflow_core::text;

/// The command, for any POSIX shell.
pub(super) fn curl(letter: &Signed, url: &str) -> String {
    let mut command = String::new();
    let plain = plain(&letter.body);
    if plain.is_none() {
        let _ = write!(command, "printf {} | ", format_of(&letter.body));
    }
    let _ = write!(command, "curl -sS -X {} {}", letter.method, quoted(url));
    for (name, value) in &letter.headers {
        // Without a value, curl would leave the header out.
        let header = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        let _ = write!(command, " \\\n  -H {}", quoted(&header));
    }
    match plain {
        // `--data-binary` would take an `@` at the beginning for a file's name.
        Some(body) => {
            let _ = write!(command, " \\\n  --data-raw {}", quoted(body));
        }
        None => command.push_str(" \\\n  --data-binary @-"),
    }
    command
}

/// The body, if it can be shown as it is.
fn plain(body: &[u8]) -> Option<&str> {
    let body = std::str::from_utf8(body).ok()?;
    (text::block(body) == body).then_some(body)
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", text::block(word).replace('\'', r"'\''"))
}

/// A format of `printf` that gives exactly these bytes.
fn format_of(body: &[u8]) -> String {
    let mut out = String::from("'");
    for byte in body {
        match byte {
            b'\'' => out.push_str(r"'\''"),
            b'\\' => out.push_str(r"\\"),
            b'%' => out.push_str("%%"),
            b'\n' | b' '..=b'~' => out.push(char::from(*byte)),
            byte => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(body: &[u8]) -> Signed {
        Signed {
            method: http::Method::POST,
            url: "http://127.0.0.1:8787/in/stripe".into(),
            headers: vec![
                ("content-type".into(), "application/json".into()),
                ("stripe-signature".into(), "t=1,v1=abcdef0123".into()),
                ("x-empty".into(), String::new()),
            ],
            body: body.to_vec(),
        }
    }

    #[test]
    fn every_byte_is_quoted() {
        let letter = letter(br#"{"note":"it's"}"#);
        insta::assert_snapshot!(curl(&letter, &letter.url), @r#"
        curl -sS -X POST 'http://127.0.0.1:8787/in/stripe' \
          -H 'content-type: application/json' \
          -H 'stripe-signature: t=1,v1=abcdef0123' \
          -H 'x-empty;' \
          --data-raw '{"note":"it'\''s"}'
        "#);
    }

    #[test]
    fn what_cannot_be_shown_is_printed_by_printf() {
        let body = b"100% \\ it's \x07\xff\r\n";
        assert_eq!(plain(body), None);
        assert_eq!(
            format_of(body),
            r"'100%% \\ it'\''s \007\377\015
'"
        );
        let printed = std::process::Command::new("sh")
            .args(["-c", &format!("printf {}", format_of(body))])
            .output()
            .unwrap();
        assert_eq!(printed.stdout, body);
        assert!(curl(&letter(body), "http://x").contains("| curl -sS -X POST"));
    }
}
