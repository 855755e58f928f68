//! A bundle, written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::mask::{self, Shared};
use super::redact::{Redactor, Words};
use super::select::{Selected, Wanted, window};
use super::{
    BundleError, CONFIG, Counts, DOCUMENTS, Documents, FOLDER, FORMAT, MANIFEST, Manifest, Member,
    REPORT, STORE, report,
};
use crate::api::V;
use crate::clock::from_micros;
use crate::config::Explained;
use crate::event::micros;
use crate::in_force::InForce;
use crate::secret::Secret;
use crate::store::{Copied, Store};
use crate::view::{self, Page};

/// What a bundle says of the RelayFlow that it comes from, beside its store.
#[derive(Debug)]
pub struct Around<'a> {
    pub in_force: &'a InForce,
    pub documents: Documents,
    pub explained: &'a [Explained],
    /// The sources' own rules.
    pub redact: &'a BTreeMap<String, Vec<String>>,
    /// What must not be in it, masked or not.
    pub secrets: &'a [Secret],
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Requests that are copied, and how many there are.
    pub done: u64,
    pub of: u64,
}

/// The largest page of findings that is kept.
const DRIFT_MAX: usize = 10_000;

/// Writes a bundle of what was selected. The same selection of the same store gives the same members,
/// but for the numbers of the moment.
///
/// # Errors
///
/// The store does not answer, or nothing can be written: what is in `to` then is no bundle.
pub async fn write<W: Write + Send + 'static>(
    store: &Store,
    selected: Selected,
    wanted: &Wanted,
    around: Around<'_>,
    to: W,
    told: impl Fn(Progress) + Send + 'static,
) -> Result<(Manifest, W), BundleError> {
    let dir = tempfile::Builder::new()
        .prefix("relayflow-export-")
        .tempdir()
        .map_err(BundleError::Write)?;
    let path = dir.path().join(STORE);
    let now = store.clock().now();
    let rules = around.redact.iter().map(|(source, rules)| (source.clone(), rules.clone()));
    let (rules, secrets) = (rules.collect::<Vec<_>>(), around.secrets.to_vec());
    let job =
        Job { store: store.clone(), wanted: wanted.clone(), path: path.clone(), rules, secrets };
    let (filter, selected_count) = (selected.filter.clone(), selected.count());
    let blocking = tokio::task::spawn_blocking(move || job.copy(&selected, told));
    let copied = blocking.await.map_err(|e| BundleError::Write(std::io::Error::other(e)))??;
    let (counts, mut redactor, shared) = copied;

    // From here on the new store is asked: nothing else can get into what is written.
    let copy = Store::open_read_only(&format!("sqlite:{}", path.display())).await?;
    let mut documents = around.documents;
    add_findings(&copy, around.in_force, &mut documents).await?;
    let groups = view::dead_letter_groups(&copy, &page(20), "error").await?;
    copy.close_reading().await;
    let prose = |redactor: &mut Redactor, text: &str| {
        let text = shared.get(text).map_or(text, String::as_str).to_owned();
        redactor.prose(&text, &Words::default())
    };
    let q = wanted.q.as_deref().map(|_| filter.to_string());
    let q = q.map(|q| prose(&mut redactor, &q));
    let reason = wanted.reason.as_deref().map(|reason| prose(&mut redactor, reason));
    let documents = serde_json::to_string(&documents).map_err(|e| BundleError::Write(e.into()))?;
    let documents = redactor.prose(&documents, &Words::default());
    let config: Vec<_> = around
        .explained
        .iter()
        .map(|e| json!({ "key": e.key, "value": e.value, "from": e.from.to_string() }))
        .collect();
    let config = serde_json::to_string_pretty(&config).map_err(|e| BundleError::Write(e.into()))?;
    let config = redactor.prose(&config, &Words::default());

    let (since, until) = window(&filter);
    let moment = |us: i64| micros(from_micros(us));
    let mut manifest = Manifest {
        v: V,
        object: "bundle".to_owned(),
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: crate::store::schema_version(),
        created_at: micros(now),
        created_by: wanted.who.clone(),
        reason,
        q,
        since: since.map(moment),
        until: until.map(moment),
        selected: selected_count,
        counts,
        masked: (!wanted.is_unmasked).then_some(redactor.masked),
        secrets_masked: redactor.masked.secrets,
        members: Vec::new(),
    };
    let report = report::markdown(&manifest, &groups.items);
    for (name, text) in [(DOCUMENTS, &documents), (CONFIG, &config), (REPORT, &report)] {
        std::fs::write(dir.path().join(name), text).map_err(BundleError::Write)?;
    }
    let packing = tokio::task::spawn_blocking(move || {
        for name in [STORE, DOCUMENTS, CONFIG, REPORT] {
            manifest.members.push(member(dir.path(), name)?);
        }
        let to = pack(&manifest, dir.path(), now, to)?;
        Ok::<_, std::io::Error>((manifest, to))
    });
    let packed = packing.await.map_err(|e| BundleError::Write(std::io::Error::other(e)))?;
    packed.map_err(BundleError::Write)
}

fn page(limit: usize) -> Page {
    Page { limit, ..Page::default() }
}

/// Findings and contracts of what is in the new store, as the configuration in force tells them.
async fn add_findings(
    copy: &Store,
    in_force: &InForce,
    documents: &mut Documents,
) -> Result<(), BundleError> {
    let all = Page { q: Some("status:queued,accepted".to_owned()), ..page(DRIFT_MAX) };
    let found = match view::drift::drift(copy, in_force, &all).await {
        Ok(found) => found,
        Err(_) => view::drift::drift(copy, in_force, &page(DRIFT_MAX)).await?,
    };
    documents.drift = found.items;
    let mut contracts = view::contracts::contracts(copy, in_force).await?;
    // Those that came with RelayFlow are there on the other side too.
    let is_own = |contract: &crate::api::Contract| {
        contract.source.is_none()
            && documents.providers.items.iter().any(|p| p.name == contract.provider && !p.built_in)
    };
    for contract in contracts.items.iter_mut().filter(|contract| is_own(contract)) {
        let of = contract.source.clone().unwrap_or_else(|| contract.provider.clone());
        let whole =
            view::contracts::contract(copy, in_force, &of, &contract.event_type, contract.version);
        if let Ok(whole) = whole.await {
            contract.schema = whole.schema;
        }
    }
    documents.contracts = contracts.items;
    Ok(())
}

/// The part that waits for disks.
struct Job {
    store: Store,
    wanted: Wanted,
    path: std::path::PathBuf,
    rules: Vec<(String, Vec<String>)>,
    secrets: Vec<Secret>,
}

impl Job {
    fn copy(
        self,
        selected: &Selected,
        told: impl Fn(Progress),
    ) -> Result<(Counts, Redactor, Shared), BundleError> {
        let mut copying = self.store.begin_copy(&self.path)?;
        let mut requests = selected.requests.clone();
        requests.extend(&selected.rejected);
        let closure = copying.close(&selected.events, &requests)?;
        let key = copying.key()?;
        let mut redactor = Redactor::new(self.rules, &self.secrets, key, self.wanted.is_unmasked);
        let mut shared = Shared::default();
        mask::texts(&copying.shared(&closure)?, &mut shared);
        let own = [&self.wanted.reason, &Some(selected.filter.to_string())];
        own.into_iter().flatten().for_each(|text| shared.add(text));
        let of = closure.requests.len() as u64;
        copying.stories(
            &closure,
            |story| mask::story(&mut redactor, &mut shared, story),
            |done| told(Progress { done, of }),
        )?;
        copying.replays(&closure, |story| {
            if story.source.is_empty() {
                mask::apart(&mut redactor, &shared, story);
            } else {
                mask::story(&mut redactor, &mut Shared::default(), story);
            }
        })?;
        copying.of_types(|story| mask::story(&mut redactor, &mut Shared::default(), story))?;
        let copied = copying.finish()?;
        Ok((counts(copied), redactor, shared))
    }
}

fn counts(copied: Copied) -> Counts {
    Counts {
        requests: copied.requests,
        rejected: copied.rejected,
        events: copied.events,
        tasks: copied.tasks,
        attempts: copied.attempts,
        dead_letters: copied.dead_letters,
        timeline: copied.entries,
        revisions: copied.revisions,
        plans: copied.plans,
        replays: copied.replays,
        drift: copied.drift,
    }
}

fn member(dir: &Path, name: &str) -> Result<Member, std::io::Error> {
    let mut file = BufReader::new(File::open(dir.join(name))?);
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(Member { name: name.to_owned(), bytes, sha256: hex::encode(hash.finalize()) })
}

fn pack<W: Write>(
    manifest: &Manifest,
    dir: &Path,
    now: Timestamp,
    to: W,
) -> Result<W, std::io::Error> {
    let encoder = GzEncoder::new(BufWriter::new(to), flate2::Compression::default());
    let mut tar = tar::Builder::new(encoder);
    let mtime = u64::try_from(now.as_second()).unwrap_or(0);
    let text = serde_json::to_vec_pretty(manifest)?;
    tar.append_data(
        &mut header(text.len() as u64, mtime),
        format!("{FOLDER}{MANIFEST}"),
        text.as_slice(),
    )?;
    for member in &manifest.members {
        let file = BufReader::new(File::open(dir.join(&member.name))?);
        let name = format!("{FOLDER}{}", member.name);
        tar.append_data(&mut header(member.bytes, mtime), name, file)?;
    }
    let buffered = tar.into_inner()?.finish()?;
    buffered.into_inner().map_err(std::io::IntoInnerError::into_error)
}

fn header(bytes: u64, mtime: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(mtime);
    header.set_entry_type(tar::EntryType::Regular);
    header
}
