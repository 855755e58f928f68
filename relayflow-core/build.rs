//! Lists the provider files for `provider/catalog.rs` and their cases for `provider/cases.rs`, so that
//! adding a provider is adding files.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=providers");
    let root = env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?;
    let folder = Path::new(&root).join("providers");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            names.extend(path.file_stem().and_then(|n| n.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    let mut list = String::from("&[\n");
    for name in &names {
        let include = |path: &Path| format!("include_str!({:?})", path.display().to_string());
        let samples = folder.join(name).join("samples.toml");
        let samples = if samples.exists() { include(&samples) } else { "\"\"".to_owned() };
        let contracts = contracts(&folder.join(name).join("contracts"))?;
        let definition = include(&folder.join(format!("{name}.toml")));
        writeln!(
            list,
            "    BuiltIn {{ name: {name:?}, definition: {definition}, samples: {samples}, \
             contracts: &[{contracts}] }},"
        )
        .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("providers.rs"), list)?;
    fs::write(Path::new(&out).join("cases.rs"), cases(&folder, &names)?)
}

/// The cases of each provider, by name.
fn cases(folder: &Path, names: &[String]) -> io::Result<String> {
    let mut list = String::from("&[\n");
    for name in names {
        let mut files = Vec::new();
        let cases = folder.join(name).join("cases");
        if cases.is_dir() {
            for entry in fs::read_dir(cases)? {
                files.push(entry?.path());
            }
        }
        files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
        files.sort();
        writeln!(list, "    ({name:?}, &[").map_err(io::Error::other)?;
        for path in files {
            let case = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            let path = path.display().to_string();
            writeln!(list, "        ({case:?}, include_str!({path:?})),")
                .map_err(io::Error::other)?;
        }
        list.push_str("    ]),\n");
    }
    list.push_str("]\n");
    Ok(list)
}

/// `("type", include_str!("…")), …` for each contract of a provider.
fn contracts(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    if folder.exists() {
        for entry in fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    let mut list = String::new();
    for path in files {
        let name = path.file_stem().and_then(|n| n.to_str()).ok_or(io::ErrorKind::InvalidData)?;
        let path = path.display().to_string();
        write!(list, "({name:?}, include_str!({path:?})), ").map_err(io::Error::other)?;
    }
    Ok(list)
}
