//! Bundles as they are written, and as somebody may have made them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::clock::Clock;
use crate::id::{RequestId, WorkerId};
use crate::in_force::InForce;
use crate::request::Request;
use crate::secret::Secret;
use crate::store::{NewRequest, OpenOptions, Store};
use crate::view::{self, setup};

const BODY: &str = r#"{"id":"e1","email":"ana@example.com","note":"ask ana@example.com"}"#;

async fn a_store(dir: &Path) -> Store {
    let url = format!("sqlite:{}", dir.join("store.db").display());
    let options = OpenOptions { url, worker: WorkerId::next(), clock: Clock::Wall };
    Store::open(options).await.unwrap().store
}

async fn commit(store: &Store, body: &str) {
    let request = Request {
        id: RequestId::next(),
        method: http::Method::POST,
        target: "/in/shop".to_owned(),
        url: "http://127.0.0.1/in/shop".to_owned(),
        headers: http::HeaderMap::new(),
        body: Bytes::from(body.to_owned()),
        received_at: store.clock().now(),
    };
    let new = NewRequest {
        request,
        source: "shop".into(),
        provider: "acme".into(),
        headers: vec![("x-signature".to_owned(), "v1=0123456789abcdef".to_owned())],
        kept_target: "/in/shop?email=ana%40example.com".to_owned(),
        scheme: "acme hmac-sha256".into(),
        skew_ms: None,
        events: vec![],
        unreadable: Some("no id for ana@example.com".to_owned()),
        reread: None,
        fetched: None,
    };
    store.commit(new).await.unwrap();
}

async fn bundle_of(store: &Store, to: &Path, wanted: Wanted) -> Result<Manifest, BundleError> {
    let in_force = InForce::bare();
    let documents = Documents {
        stats: view::stats(store).await?,
        queues: view::queues(store).await?,
        workers: None,
        sources: Some(setup::sources(&in_force, "", |_| vec![])),
        workflows: None,
        providers: setup::providers(&in_force),
        contracts: vec![],
        drift: vec![],
    };
    let around = Around {
        in_force: &in_force,
        documents,
        explained: &[],
        redact: &std::collections::BTreeMap::new(),
        secrets: &[Secret::new("whsec_a_canary_of_mine")],
    };
    let selected = select(store, &wanted).await?;
    let file = std::fs::File::create(to).map_err(BundleError::Write)?;
    write(store, selected, &wanted, around, file, |_| {}).await.map(|(manifest, _)| manifest)
}

/// The members of a bundle, in order.
fn members(path: &Path) -> Vec<(String, Vec<u8>)> {
    let file = std::fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut all = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        all.push((name, bytes));
    }
    all
}

struct Made {
    dir: tempfile::TempDir,
    path: PathBuf,
    members: Vec<(String, Vec<u8>)>,
}

async fn made() -> Made {
    let dir = tempfile::tempdir().unwrap();
    let store = a_store(dir.path()).await;
    commit(&store, BODY).await;
    commit(&store, "email=ana@example.com").await;
    let path = dir.path().join("a.tar.gz");
    bundle_of(&store, &path, Wanted::default()).await.unwrap();
    let members = members(&path);
    Made { dir, path, members }
}

#[tokio::test]
async fn what_is_masked_is_nowhere_and_the_rest_is_as_it_was() {
    let Made { path, members, dir } = made().await;
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = ["manifest.json", "relayflow.db", "documents.json", "config.json", "report.md"];
    assert_eq!(names, wanted.map(|name| format!("{FOLDER}{name}")));
    for (name, bytes) in &members {
        for canary in ["ana@example.com", "ana%40example.com", "0123456789abcdef", "whsec_a_"] {
            let is_there = bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
            assert!(!is_there, "{canary} is in {name}");
        }
    }
    let bundle = Bundle::open(&path).await.unwrap();
    let masked = bundle.manifest.masked.unwrap();
    assert!(0 < masked.values && 0 < masked.texts && masked.bodies == 1, "{masked:?}");
    assert_eq!(bundle.manifest.counts.dead_letters, 2);
    let letters = view::dead_letters(&bundle.store, &page(10)).await.unwrap();
    assert_eq!(letters.items.len(), 2);
    let first = &letters.items[1].id;
    let raw = view::raw(&bundle.store, first).await.unwrap();
    let masked = BODY.replace("ana@example.com", "***************");
    assert_eq!(raw.body, masked.as_bytes(), "every other byte is at its place");
    let unpacked = bundle.dir().to_owned();
    drop(bundle);
    assert!(!unpacked.exists(), "its folder is gone");
    drop(dir);
}

fn page(limit: usize) -> view::Page {
    view::Page { limit, ..view::Page::default() }
}

#[tokio::test]
async fn the_same_store_gives_the_same_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let store = a_store(dir.path()).await;
    for number in 0..40 {
        commit(&store, &format!("{{\"id\":{number}}}")).await;
    }
    let mut digests = Vec::new();
    for name in ["a", "b"] {
        let manifest = bundle_of(&store, &dir.path().join(name), Wanted::default()).await.unwrap();
        let db = manifest.members.iter().find(|member| member.name == STORE).unwrap();
        digests.push(db.sha256.clone());
        assert_eq!(manifest.selected, 40);
    }
    assert_eq!(digests[0], digests[1]);
    let to = dir.path().join("c");
    let few = Wanted { max: Some(39), ..Wanted::default() };
    assert!(matches!(bundle_of(&store, &to, few).await, Err(BundleError::TooMany { max: 39 })));
    let oldest = Wanted { limit: Some(3), max: Some(39), ..Wanted::default() };
    assert_eq!(bundle_of(&store, &to, oldest).await.unwrap().counts.requests, 3);
    let none = Wanted { q: Some("source:other".to_owned()), ..Wanted::default() };
    assert!(matches!(bundle_of(&store, &to, none).await, Err(BundleError::Empty)));
}

#[tokio::test]
async fn an_unmasked_bundle_is_the_store_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = a_store(dir.path()).await;
    commit(&store, BODY).await;
    let path = dir.path().join("a.tar.gz");
    let wanted = Wanted { is_unmasked: true, ..Wanted::default() };
    bundle_of(&store, &path, wanted).await.unwrap();
    let bundle = Bundle::open(&path).await.unwrap();
    assert_eq!(bundle.manifest.masked, None);
    for (name, there) in [(&store, "store"), (&bundle.store, "bundle")] {
        let letters = view::dead_letters(name, &page(10)).await.unwrap();
        let request = view::request(name, &letters.items[0].id).await.unwrap();
        assert_eq!(request.target, "/in/shop?email=ana%40example.com", "{there}");
        let raw = view::raw(name, &request.id).await.unwrap();
        assert_eq!(raw.body, BODY.as_bytes(), "{there}");
    }
}

/// Packs members anew, each as `change` has it.
fn packed(to: &Path, entries: &[(&str, tar::EntryType, &[u8])]) {
    let file = std::fs::File::create(to).unwrap();
    let mut out = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
    for (name, kind, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_entry_type(*kind);
        // Past what the library allows: hostile names are the point.
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        if *kind == tar::EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        out.append(&header, *bytes).unwrap();
    }
    out.into_inner().unwrap().finish().unwrap();
}

/// What is found in the folder of unpacked bundles of this process's own user.
fn left_behind() -> Vec<PathBuf> {
    let all = std::fs::read_dir(std::env::temp_dir()).unwrap();
    let is_ours = |path: &PathBuf| {
        let made = path.metadata().and_then(|meta| meta.modified()).ok();
        let name =
            path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("relayflow-bundle-"));
        name && made.is_some()
    };
    all.map(|entry| entry.unwrap().path()).filter(is_ours).collect()
}

#[tokio::test]
async fn a_hostile_bundle_is_refused_whatever_it_is() {
    let Made { dir, members, path } = made().await;
    let good = std::fs::read(&path).unwrap();
    let plain = tar::EntryType::Regular;
    let at = dir.path().join("bad.tar.gz");
    let all: Vec<(&str, tar::EntryType, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), plain, bytes.as_slice())).collect();
    packed(&at, &all);
    Bundle::open(&at).await.unwrap();

    let with = |place: usize, entry: (&'static str, tar::EntryType, &'static [u8])| {
        let mut changed = all.clone();
        changed[place] = entry;
        changed
    };
    let mut extra = all.clone();
    extra.push(("relayflow-incident/extra.sh", plain, b"x"));
    let mut twice = all.clone();
    twice.push(all[1]);
    let newer = String::from_utf8(members[0].1.clone()).unwrap();
    let schema = format!("\"schema\": {}", crate::store::schema_version());
    let newer_schema = newer.replace(&schema, "\"schema\": 999");
    let newer_format = newer.replace("\"format\": 1", "\"format\": 2, \"sort\": {}");
    let mut of_newer_schema = all.clone();
    of_newer_schema[0].2 = newer_schema.as_bytes();
    let mut of_newer_format = all.clone();
    of_newer_format[0].2 = newer_format.as_bytes();
    let mut other_size = members[1].1.clone();
    other_size.push(0);
    let mut longer = all.clone();
    longer[1].2 = &other_size;
    let mut flipped = members[1].1.clone();
    flipped[8192] ^= 1;
    let mut altered = all.clone();
    altered[1].2 = &flipped;

    type Case<'a> = (&'a str, Vec<(&'a str, tar::EntryType, &'a [u8])>, fn(&BundleError) -> bool);
    let cases: Vec<Case<'_>> = vec![
        ("a path above", with(1, ("../../evil", plain, b"x")), |e| {
            matches!(e, BundleError::Foreign(_))
        }),
        ("a path within", with(1, ("relayflow-incident/../evil", plain, b"x")), |e| {
            matches!(e, BundleError::Foreign(_))
        }),
        ("a whole path", with(1, ("/tmp/relayflow-evil", plain, b"x")), |e| {
            matches!(e, BundleError::Foreign(_))
        }),
        (
            "a symlink",
            with(1, ("relayflow-incident/relayflow.db", tar::EntryType::Symlink, b"")),
            |e| matches!(e, BundleError::Foreign(_)),
        ),
        (
            "a hard link",
            with(1, ("relayflow-incident/relayflow.db", tar::EntryType::Link, b"")),
            |e| matches!(e, BundleError::Foreign(_)),
        ),
        (
            "a folder",
            with(1, ("relayflow-incident/relayflow.db", tar::EntryType::Directory, b"")),
            |e| matches!(e, BundleError::Foreign(_)),
        ),
        (
            "a device",
            with(1, ("relayflow-incident/relayflow.db", tar::EntryType::Char, b"")),
            |e| matches!(e, BundleError::Foreign(_)),
        ),
        (
            "a long name",
            with(
                1,
                ("././@LongLink", tar::EntryType::GNULongName, b"relayflow-incident/relayflow.db"),
            ),
            |e| matches!(e, BundleError::Foreign(_)),
        ),
        (
            "attributes of others",
            with(0, ("relayflow-incident/manifest.json", tar::EntryType::XHeader, b"20 path=x\n")),
            |e| matches!(e, BundleError::NotABundle(_)),
        ),
        ("something more", extra, |e| matches!(e, BundleError::Foreign(_))),
        ("a member twice", twice, |e| matches!(e, BundleError::Foreign(_))),
        ("members missing", all[..2].to_vec(), |e| matches!(e, BundleError::Truncated(_))),
        ("no manifest", all[1..].to_vec(), |e| matches!(e, BundleError::NotABundle(_))),
        (
            "a manifest of something else",
            with(0, ("relayflow-incident/manifest.json", plain, b"{}")),
            |e| matches!(e, BundleError::NotABundle(_)),
        ),
        ("a newer schema", of_newer_schema, |e| matches!(e, BundleError::Newer { .. })),
        ("a newer format", of_newer_format, |e| matches!(e, BundleError::Newer { .. })),
        ("another size", longer, |e| matches!(e, BundleError::TooLarge(_))),
        ("another digest", altered, |e| matches!(e, BundleError::Damaged(_))),
        ("nothing", vec![], |e| matches!(e, BundleError::NotABundle(_))),
    ];
    let before = left_behind();
    for (what, entries, wanted) in cases {
        packed(&at, &entries);
        let error = Bundle::open(&at).await.unwrap_err();
        assert!(wanted(&error), "{what}: {error:?}");
        assert!(read_manifest(&at).is_err(), "{what}");
    }
    for cut in [3, 100, good.len() / 2, good.len() - 4] {
        std::fs::write(&at, &good[..cut]).unwrap();
        let error = Bundle::open(&at).await.unwrap_err();
        let is_cut = matches!(
            error,
            BundleError::Truncated(_) | BundleError::NotABundle(_) | BundleError::Damaged(_)
        );
        assert!(is_cut, "{cut}: {error:?}");
    }
    std::fs::write(&at, "no gzip").unwrap();
    assert!(matches!(Bundle::open(&at).await, Err(BundleError::NotABundle(_))));
    assert!(!Path::new("/tmp/relayflow-evil").exists());
    // Other tests unpack at the same time; of ours nothing stays.
    let after: Vec<_> = left_behind().into_iter().filter(|path| !before.contains(path)).collect();
    assert!(after.len() <= 2, "{after:?}");
}

#[tokio::test]
async fn a_bomb_is_not_unpacked() {
    let Made { dir, members, .. } = made().await;
    let at = dir.path().join("bomb.tar.gz");
    // A member that says itself to be huge, and is: of zeros, so that it is small when packed.
    let bytes: u64 = 96 * 1024 * 1024;
    let manifest: Manifest = serde_json::from_slice(&members[0].1).unwrap();
    let mut manifest = manifest;
    manifest.members[0].bytes = bytes;
    let text = serde_json::to_vec(&manifest).unwrap();
    let mut out = GzEncoder::new(std::fs::File::create(&at).unwrap(), Compression::best());
    for (name, length) in [("manifest.json", text.len() as u64), ("relayflow.db", bytes)] {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("{FOLDER}{name}")).unwrap();
        header.set_size(length);
        header.set_mode(0o600);
        header.set_cksum();
        out.write_all(header.as_bytes()).unwrap();
        if name == "manifest.json" {
            out.write_all(&text).unwrap();
            out.write_all(&vec![0; 512 - text.len() % 512]).unwrap();
        } else {
            let zeros = vec![0; 1024 * 1024];
            for _ in 0..bytes / zeros.len() as u64 {
                out.write_all(&zeros).unwrap();
            }
        }
    }
    out.finish().unwrap();
    let packed = std::fs::metadata(&at).unwrap().len();
    assert!(packed < 256 * 1024, "{packed}");
    let error = Bundle::open(&at).await.unwrap_err();
    assert!(matches!(error, BundleError::TooLarge(_)), "{error:?}");
}

#[tokio::test]
async fn a_store_with_other_tables_is_not_opened() {
    let Made { dir, members, .. } = made().await;
    let db = dir.path().join("other.db");
    for sql in [
        "create view v as select 1",
        "create trigger t after insert on meta begin delete from event; end",
        "drop table drift",
    ] {
        std::fs::write(&db, &members[1].1).unwrap();
        rusqlite::Connection::open(&db).unwrap().execute_batch(sql).unwrap();
        let bytes = std::fs::read(&db).unwrap();
        let mut manifest: Manifest = serde_json::from_slice(&members[0].1).unwrap();
        manifest.members[0].bytes = bytes.len() as u64;
        manifest.members[0].sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        let text = serde_json::to_vec(&manifest).unwrap();
        let at = dir.path().join("other.tar.gz");
        let mut all: Vec<(&str, tar::EntryType, &[u8])> = members
            .iter()
            .map(|(name, bytes)| (name.as_str(), tar::EntryType::Regular, bytes.as_slice()))
            .collect();
        (all[0].2, all[1].2) = (&text, &bytes);
        packed(&at, &all);
        let error = Bundle::open(&at).await.unwrap_err();
        assert!(matches!(&error, BundleError::Damaged(why) if why.contains("tables")), "{error:?}");
    }
}
