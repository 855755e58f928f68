//! What the demo plays in: a folder with a config of every provider that has payloads of its own,
//! workflows on their kinds, and destinations that are slow and fail as told.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relayflow_core::provider::sign::{KeyPair, key_pair};
use relayflow_core::provider::{Catalog, Provider, Source};
use relayflow_core::secret::Secret;

use crate::commands::destination::{Answer, Call, Destination, Policy};
use crate::failure::{Failure, chain};
use crate::vendor::source_config;

/// What vendors call, and what some of them sign.
pub(crate) const PUBLIC_URL: &str = "https://hooks.example.com";
/// How many tasks die at a destination that fails: few, so that its breaker stays closed.
const DYING: usize = 3;

/// One vendor, and all that is needed to be it.
pub(crate) struct Vendor {
    pub(crate) source: Source,
    pub(crate) key: Secret,
    /// A key of the same form that the source does not know.
    pub(crate) wrong_key: Secret,
}

/// How a destination behaves until it is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Steady,
    /// Slow, and every third first call fails.
    Slow,
    /// The first few tasks get a 500 whatever they do.
    Broken,
    /// The first few tasks get a 422: trying again cannot help.
    Picky,
}

/// A workflow of the demo: for which kinds, to which destination.
pub(crate) struct Flow {
    pub(crate) name: &'static str,
    /// The first words of kinds; none stands for every event.
    areas: &'static [&'static str],
    steps: &'static [&'static str],
    manner: Manner,
}

pub(crate) const FLOWS: &[Flow] = &[
    Flow { name: "archive", areas: &[], steps: &["keep"], manner: Manner::Steady },
    Flow {
        name: "billing",
        areas: &["payment", "invoice", "refund", "dispute", "payout", "subscription", "checkout"],
        steps: &["book"],
        manner: Manner::Broken,
    },
    Flow {
        name: "crm",
        areas: &[
            "contact", "company", "deal", "lead", "customer", "order", "product", "cart", "form",
        ],
        steps: &["upsert", "note"],
        manner: Manner::Slow,
    },
    Flow {
        name: "inbox",
        areas: &[
            "email",
            "message",
            "ticket",
            "conversation",
            "call",
            "command",
            "interaction",
            "mention",
        ],
        steps: &["file"],
        manner: Manner::Picky,
    },
    Flow {
        name: "builds",
        areas: &["code", "pull_request", "issue", "release", "build", "deploy", "branch"],
        steps: &["trigger"],
        manner: Manner::Slow,
    },
];

/// Everything that is there before the daemon starts.
pub(crate) struct Setting {
    pub(crate) dir: PathBuf,
    pub(crate) vendors: Vec<Vendor>,
    pub(crate) destinations: Vec<(&'static str, Destination)>,
    is_mended: Arc<AtomicBool>,
}

impl Setting {
    /// Starts the destinations and writes the config into a new folder that stays.
    ///
    /// # Errors
    ///
    /// No folder, no port, or a provider that does not fit its own payloads.
    pub(crate) async fn new() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("relayflow-demo-").tempdir()?.keep();
        let catalog = Catalog::built_in();
        let mut vendors = Vec::new();
        let mut sources = String::new();
        for provider in players(&catalog) {
            let seed = seed()?;
            write_source(&mut sources, provider, &key_pair(provider, seed));
            vendors.push(vendor_of(provider, &catalog, seed)?);
        }
        let is_mended = Arc::new(AtomicBool::new(false));
        let mut destinations = Vec::new();
        let mut workflows = String::new();
        let kinds = kinds(&catalog);
        for flow in FLOWS {
            let on = flow.on(&kinds);
            if on.is_empty() {
                continue;
            }
            let destination =
                Destination::start(policy(flow.manner, Arc::clone(&is_mended))).await?;
            write_workflow(&mut workflows, flow, &on, &destination);
            destinations.push((flow.name, destination));
        }
        write_private(&dir.join("relayflow.toml"), &format!("{HEAD}{sources}{workflows}"))?;
        Ok(Self { dir, vendors, destinations, is_mended })
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("relayflow.toml")
    }

    /// From now on every destination takes everything.
    pub(crate) fn mend(&self) {
        self.is_mended.store(true, Ordering::SeqCst);
    }
}

const HEAD: &str = r#"# Written by `relayflow demo`. Its keys were made for this folder alone.

[store]
url = "sqlite:relayflow.db"

[ingest]
public_url = "https://hooks.example.com"   # what vendors call; some of them sign it

[egress]
allow = ["127.0.0.0/8"]                    # the demo's destinations are on this machine
"#;

/// The providers that the demo plays: every scheme, shape of batch and kind of answer once, and few
/// enough to be read on one screen.
pub(crate) fn players(catalog: &Catalog) -> impl Iterator<Item = &Arc<Provider>> {
    include_str!("vendors.txt").lines().filter_map(|name| catalog.get(name))
}

/// The vendor of a provider, with keys that follow from `seed`.
///
/// # Errors
///
/// The provider's definition does not fit its own keys.
pub(crate) fn vendor_of(
    provider: &Arc<Provider>,
    catalog: &Catalog,
    seed: [u8; 32],
) -> Result<Vendor, Failure> {
    let keys = key_pair(provider, seed);
    let config = source_config(provider, keys.verifying);
    let source = Source::new(&config, Some(PUBLIC_URL), catalog)
        .map_err(|e| Failure::error(format!("{}: {}", provider.name, chain(&e))))?;
    let wrong_key = key_pair(provider, seed.map(|byte| !byte)).signing;
    Ok(Vendor { source, key: keys.signing, wrong_key })
}

fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::error(format!("no randomness: {e}")))?;
    Ok(seed)
}

fn write_source(out: &mut String, provider: &Provider, keys: &KeyPair) {
    let secret = String::from_utf8_lossy(keys.verifying.expose());
    let name = toml::Value::from(&*provider.name);
    let secret = toml::Value::from(&*secret);
    let _ = write!(out, "\n[sources.{}]\nprovider = {name}\nsecrets = [{secret}]\n", provider.name);
    if !provider.examples.is_empty() {
        let _ = writeln!(out, "[sources.{}.settings]", provider.name);
        for (name, example) in &provider.examples {
            let _ = writeln!(out, "{name} = {}", toml::Value::from(example.as_str()));
        }
    }
}

/// The kinds of everything that will be sent.
fn kinds(catalog: &Catalog) -> BTreeSet<String> {
    let of_provider = |provider: &Arc<Provider>| {
        let kinds = provider.samples().iter().filter_map(|s| provider.kind_of(&s.event_type));
        kinds.map(ToString::to_string).collect::<Vec<_>>()
    };
    players(catalog).flat_map(of_provider).collect()
}

impl Flow {
    fn on(&self, kinds: &BTreeSet<String>) -> Vec<String> {
        if self.areas.is_empty() {
            return vec!["*".to_owned()];
        }
        let is_ours =
            |kind: &&String| kind.split('.').next().is_some_and(|area| self.areas.contains(&area));
        kinds.iter().filter(is_ours).cloned().collect()
    }
}

fn write_workflow(out: &mut String, flow: &Flow, on: &[String], destination: &Destination) {
    let on: Vec<_> = on.iter().map(|kind| format!("\"{kind}\"")).collect();
    let _ = write!(out, "\n[workflows.{}]\non = [{}]\n", flow.name, on.join(", "));
    let mut needs = String::new();
    for step in flow.steps {
        let _ = write!(
            out,
            "\n[[workflows.{}.steps]]\nname = \"{step}\"\nneeds = [{needs}]\ntimeout = \"5s\"\n\
             retry = {{ attempts = 3, first = \"100ms\", longest = \"400ms\", give_up_after = \"1h\" }}\n\
             http = {{ method = \"POST\", url = \"http://{}/{}/{step}\" }}\n",
            flow.name, destination.addr, flow.name
        );
        needs = format!("\"{step}\"");
    }
}

/// Nobody else on this machine may read the keys.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn policy(manner: Manner, is_mended: Arc<AtomicBool>) -> Policy {
    // In which order tasks came here first decides which of them fail.
    let places: Mutex<HashMap<String, usize>> = Mutex::default();
    Arc::new(move |call: &Call| {
        let place = {
            let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
            let next = places.len();
            *places.entry(call.key.clone()).or_insert(next)
        };
        answer(manner, is_mended.load(Ordering::SeqCst), place, call.attempt)
    })
}

fn answer(manner: Manner, is_mended: bool, place: usize, attempt: u32) -> Answer {
    let status = |status| Answer { status, after: Duration::from_millis(5) };
    match manner {
        Manner::Broken if !is_mended && place < DYING => status(500),
        Manner::Picky if !is_mended && place < DYING => status(422),
        Manner::Slow if attempt == 1 && place % 3 == 1 => status(503),
        Manner::Slow => {
            let wait = u64::try_from(place % 5).unwrap_or(0);
            Answer { status: 200, after: Duration::from_millis(30 + 25 * wait) }
        }
        Manner::Steady | Manner::Broken | Manner::Picky => Answer::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_tasks_die_and_all_succeed_once_it_is_mended() {
        for manner in [Manner::Steady, Manner::Slow, Manner::Broken, Manner::Picky] {
            for place in 0..20 {
                assert!(answer(manner, true, place, 3).is_success());
            }
            let dies =
                |place| (1..=3).all(|attempt| !answer(manner, false, place, attempt).is_success());
            let dead = (0..20).filter(|place| dies(*place)).count();
            let expected = if matches!(manner, Manner::Broken | Manner::Picky) { DYING } else { 0 };
            assert_eq!(dead, expected, "{manner:?}");
        }
    }

    #[test]
    fn every_workflow_has_a_name_of_its_own() {
        let names: BTreeSet<_> = FLOWS.iter().map(|flow| flow.name).collect();
        assert_eq!(names.len(), FLOWS.len());
    }

    #[test]
    fn a_workflow_is_for_the_kinds_of_its_areas() {
        let kinds: BTreeSet<_> =
            ["payment.failed", "payments.x", "email.bounced"].map(str::to_owned).into();
        assert_eq!(FLOWS[0].on(&kinds), ["*"]);
        assert_eq!(FLOWS[1].on(&kinds), ["payment.failed"]);
        assert!(FLOWS[4].on(&kinds).is_empty());
    }
}
