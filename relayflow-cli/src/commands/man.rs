//! `relayflow man`.

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use relayflow_core::api::codes::Exit;

use crate::app::App;
use crate::args::{Cli, ManArgs};
use crate::failure::{Done, Failure};

pub(crate) fn man(app: &App, args: &ManArgs) -> Done {
    let mut root = Cli::command();
    root.build();
    let Some(dir) = &args.dir else {
        app.out.print_bytes(&page(root)?)?;
        return Ok(Exit::Ok);
    };
    let dir = app.dir.join(dir);
    std::fs::create_dir_all(&dir).map_err(|e| cannot_write(&dir, &e))?;
    let mut count = 0;
    for (name, command) in pages(root) {
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, page(command)?).map_err(|e| cannot_write(&path, &e))?;
        count += 1;
    }
    app.out.notice(&format!("wrote {count} pages into {}", dir.display()));
    Ok(Exit::Ok)
}

fn cannot_write(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new("error.io", format!("{} cannot be written", path.display())).why(error.to_string())
}

/// Every command that is shown, under the name of its page: `relayflow-dlq-replay`.
fn pages(root: Command) -> Vec<(String, Command)> {
    let name = root.get_name().to_owned();
    let mut pages = vec![(name, root)];
    let mut at = 0;
    while let Some((name, command)) = pages.get(at) {
        let below: Vec<_> = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set())
            .map(|below| {
                let name = format!("{name}-{}", below.get_name());
                (name.clone(), below.clone().name(name))
            })
            .collect();
        pages.extend(below);
        at += 1;
    }
    pages
}

fn page(command: Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_its_page() {
        let mut root = Cli::command();
        root.build();
        let pages = pages(root);
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"relayflow") && names.contains(&"relayflow-dlq-replay"));
        assert!(!names.contains(&"relayflow-daemon"), "hidden ones have none");
        let (_, replay) = pages.into_iter().find(|(n, _)| n == "relayflow-dlq-replay").unwrap();
        let page = String::from_utf8(page(replay).unwrap()).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("canary"), "{page}");
    }
}
