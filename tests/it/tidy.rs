//! House rules that a text search can hold. `ARCHITECTURE.md` has their reasons.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below `dir` whose name ends so, sorted, as paths from the root.
pub(crate) fn files(dir: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The crates' sources without comments and without tests, by path.
fn code() -> BTreeMap<String, String> {
    ["relayflow-core/src", "relayflow-daemon/src", "relayflow-cli/src"]
        .into_iter()
        .flat_map(|dir| files(dir, ".rs"))
        .filter(|path| !is_test(path))
        .map(|path| {
            let text = read(&path);
            let code = text.split("mod tests {").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            (path, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// A file of tests, or one that its parent declares for tests only.
fn is_test(path: &str) -> bool {
    let (dir, name) = path.rsplit_once('/').unwrap_or_default();
    let declared = format!("#[cfg(test)]\nmod {};", name.trim_end_matches(".rs"));
    let parents = [format!("{dir}/mod.rs"), format!("{dir}/lib.rs"), format!("{dir}.rs")];
    let is_declared = parents.iter().any(|parent| {
        fs::read_to_string(root().join(parent)).is_ok_and(|text| text.contains(&declared))
    });
    is_declared || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Fails with every line that contains one of `words`, outside the paths that may.
#[track_caller]
fn only(may: &[&str], words: &[&str], rule: &str) {
    let mut wrong = Vec::new();
    for (path, text) in code() {
        if may.iter().any(|allowed| path.contains(allowed)) {
            continue;
        }
        for line in text.lines() {
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_store_names_a_database_or_holds_sql() {
    let words = [
        "sqlx::",
        "rusqlite::",
        "insert into ",
        "delete from ",
        "select count(",
        "select * ",
        "create table ",
        "update task ",
        "pragma ",
    ];
    only(&["relayflow-core/src/store/"], &words, "only store/ knows SQL");
}

#[test]
fn only_the_clock_reads_the_time_and_only_ids_are_drawn_in_id() {
    let times = ["Timestamp::now(", "SystemTime::now(", "Zoned::now("];
    only(&["relayflow-core/src/clock.rs"], &times, "time comes from `Clock`");
    only(&["relayflow-core/src/id.rs"], &["now_v7(", "new_v4("], "ids come from `id.rs`");
}

#[test]
fn core_knows_no_server_and_no_terminal() {
    let may = ["relayflow-daemon/", "relayflow-cli/"];
    only(&may, &["axum::", "clap::", "ratatui::", "comfy_table::"], "core has no edges");
    only(&["relayflow-daemon/", "relayflow-core/"], &["axum::"], "only the daemon serves");
}

/// Providers whose names are words that code has uses of its own for.
const WORDS: [&str; 9] =
    ["box", "close", "cloudevents", "cursor", "generic", "linear", "meta", "segment", "zoom"];

#[test]
fn no_providers_name_stands_in_the_code() {
    let names: Vec<String> = files("relayflow-core/providers", ".toml")
        .iter()
        .filter(|path| path.matches('/').count() == 2)
        .filter_map(|path| Some(Path::new(path).file_stem()?.to_string_lossy().into_owned()))
        .filter(|name| !WORDS.contains(&&**name))
        .collect();
    assert!(11 <= names.len(), "{names:?}");
    let mut wrong = Vec::new();
    for (path, text) in code() {
        // What help shows as examples is prose.
        if path.starts_with("relayflow-cli/src/args/") {
            continue;
        }
        for line in text.lines() {
            let found = names.iter().any(|name| {
                line.match_indices(name.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    let after = line[at + name.len()..].chars().next();
                    let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
                    apart(before) && apart(after)
                })
            });
            if found {
                wrong.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "providers are data:\n{}", wrong.join("\n"));
}

/// In `lib.rs` the modules stand in reading order, in blocks; rustfmt sorts within a block.
#[test]
fn a_module_of_core_uses_only_its_own_block_and_those_above() {
    let mut block = 0;
    let mut place = BTreeMap::new();
    for line in read("relayflow-core/src/lib.rs").lines() {
        if line.trim().is_empty() {
            block += 1;
        } else if let Some(name) =
            line.trim_start_matches("pub ").strip_prefix("mod ").and_then(|l| l.strip_suffix(';'))
        {
            place.insert(name.to_owned(), block);
        }
    }
    let mut wrong = Vec::new();
    for (path, text) in code() {
        let Some(inner) = path.strip_prefix("relayflow-core/src/") else { continue };
        let module = inner.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = place.get(module) else { continue };
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            let used: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if place.get(&used).is_some_and(|block| own < block) {
                wrong.push(format!("{path} uses {used}, which stands below it"));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn dependencies_are_not_older_than_their_known_faults() {
    // SQLite itself, as linked here: the WAL-reset corruption is in 3.7.0 to 3.51.2.
    assert!(3_051_003 <= rusqlite::version_number(), "SQLite {}", rusqlite::version());
    let floors = [
        ("libsqlite3-sys", [0, 37, 0]),
        ("h2", [0, 4, 16]),
        ("bytes", [1, 11, 1]),
        ("tracing-subscriber", [0, 3, 20]),
        ("rustls-webpki", [0, 103, 13]),
        ("url", [2, 5, 4]),
        ("time", [0, 3, 47]),
    ];
    let lock: toml::Value = toml::from_str(&read("Cargo.lock")).unwrap();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let version = package["version"].as_str().unwrap();
        let Some((_, floor)) = floors.iter().find(|(floored, _)| *floored == name) else {
            continue;
        };
        let numbers: Vec<u64> =
            version.split(['.', '-', '+']).take(3).map(|part| part.parse().unwrap()).collect();
        assert!(floor.as_slice() <= numbers.as_slice(), "{name} {version} is below {floor:?}");
    }
    let sqlite = lock["package"].as_array().unwrap().iter();
    let linked = sqlite.filter(|p| p["name"].as_str() == Some("libsqlite3-sys")).count();
    assert_eq!(linked, 1, "sqlx and rusqlite must share one SQLite");
}

#[test]
fn every_crate_takes_the_workspaces_lints_and_is_not_published() {
    for path in ["relayflow-core", "relayflow-daemon", "relayflow-cli", "tests"] {
        let manifest: toml::Value = toml::from_str(&read(&format!("{path}/Cargo.toml"))).unwrap();
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{path}");
        assert_eq!(manifest["package"]["publish"]["workspace"].as_bool(), Some(true), "{path}");
    }
    let workspace: toml::Value = toml::from_str(&read("Cargo.toml")).unwrap();
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    assert_eq!(workspace["profile"]["release"]["overflow-checks"].as_bool(), Some(true));
}
