//! What is expected of one source's events of one type.
//!
//! A contract that came with the definition was derived from few payloads, and no two accounts of a
//! vendor send the same: what is required is therefore learned from the source's own first events,
//! beside it. Until that is settled, drift is what differs from both: from the shipped contract, and
//! from every event before. Such events are not learned from, unless they go on and on.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::compare::{Change, Difference, Grade, compare};
use super::observe::Observed;
use super::schema::{Field, Schema, Types};
use super::shape::{Marks, shape_of};

/// Learning ends when so many events in a row brought nothing new, for each event that did.
const QUIET_PER_CHANGE: u64 = 4;
/// And at the latest after so many.
const LEARNED_FROM_MAX: u64 = 500;
/// Events that differ from both the shipped contract and those before are not learned from, but for
/// the next after so many: they are what this source sends, then.
const ODD_MAX: u64 = 50;
/// Events that must have had a field before its absence, or null in it, is held against one.
const SEEN_FOR_GONE: u64 = 3;
/// Shapes that are remembered; a sender of more shapes than this has its events looked at in full.
const SHAPES_MAX: usize = 2_000;

/// What is expected, and what was seen.
#[derive(Debug, Default)]
pub struct Profile {
    /// The contract that came with the definition.
    shipped: Option<Arc<Schema>>,
    /// The contract in force, once there is one; it includes what was learned.
    contract: Option<Arc<Schema>>,
    learning: Learning,
    marks: Marks,
    seen: HashMap<u64, Arc<[Difference]>>,
}

/// What the first events had in common, until that is settled.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Learning {
    pub events: u64,
    /// Events since the last that brought something new.
    pub quiet: u64,
    /// Events that brought something new.
    pub changes: u64,
    /// Events that were not learned from.
    #[serde(default)]
    pub odd: u64,
    pub observed: Observed,
}

/// What a look at an event found.
#[derive(Debug)]
pub struct Look {
    pub differences: Arc<[Difference]>,
    /// Set when this event ended the learning: the contract that holds from now on.
    pub settled: Option<Arc<Schema>>,
}

impl Profile {
    /// `contract`: the one in force, if one was settled before; `learning`: where it stood otherwise.
    #[must_use]
    pub fn new(
        shipped: Option<Arc<Schema>>,
        contract: Option<Arc<Schema>>,
        learning: Learning,
    ) -> Self {
        let marks = contract.as_deref().map(Marks::of).unwrap_or_default();
        Self { shipped, contract, learning, marks, seen: HashMap::new() }
    }

    /// The contract in force.
    #[must_use]
    pub fn contract(&self) -> Option<&Arc<Schema>> {
        self.contract.as_ref()
    }

    /// What is being learned; `None` once that is settled.
    #[must_use]
    pub fn learning(&self) -> Option<&Learning> {
        self.contract.is_none().then_some(&self.learning)
    }

    /// Holds an event against what is expected of it.
    pub fn look(&mut self, json: &str) -> Look {
        let shape = self.contract.as_ref().and_then(|_| shape_of(json.as_bytes(), &self.marks));
        if let Some(known) = shape.and_then(|shape| self.seen.get(&shape)) {
            return Look { differences: Arc::clone(known), settled: None };
        }
        // What was stored is JSON; nothing else is held against a contract.
        let Ok(value) = serde_json::from_str::<Value>(json) else {
            return Look { differences: Arc::default(), settled: None };
        };
        let Some(contract) = &self.contract else { return self.learn(&value) };
        let differences: Arc<[Difference]> = compare(contract, &value).into();
        if let Some(shape) = shape
            && self.seen.len() < SHAPES_MAX
        {
            self.seen.insert(shape, Arc::clone(&differences));
        }
        Look { differences, settled: None }
    }

    /// Takes in an event; makes the contract, if nothing new is to be expected.
    fn learn(&mut self, value: &Value) -> Look {
        let differences = self.odd(value);
        let learning = &mut self.learning;
        learning.events += 1;
        if !differences.is_empty() && learning.odd < ODD_MAX {
            learning.odd += 1;
            return Look { differences: differences.into(), settled: None };
        }
        let before = learning.observed.to_schema();
        let is_first = learning.observed.count == 0;
        learning.observed.add(value);
        let learned = learning.observed.to_schema();
        if is_first {
            // The first event is news by itself.
        } else if learned == before {
            learning.quiet += 1;
        } else {
            learning.quiet = 0;
            learning.changes += 1;
        }
        let is_settled = QUIET_PER_CHANGE * (1 + learning.changes) <= learning.quiet
            || LEARNED_FROM_MAX <= learning.events;
        if !is_settled {
            return Look { differences: differences.into(), settled: None };
        }
        let contract = match &self.shipped {
            Some(shipped) => merged(shipped, &learned),
            None => learned,
        };
        let contract = Arc::new(contract);
        self.marks = Marks::of(&contract);
        self.contract = Some(Arc::clone(&contract));
        self.learning.observed = Observed::default();
        Look { differences: differences.into(), settled: Some(contract) }
    }

    /// How an event differs from the shipped contract and from every event before it.
    fn odd(&self, value: &Value) -> Vec<Difference> {
        let Some(shipped) = &self.shipped else { return vec![] };
        let learned = self.learning.observed.to_schema();
        let seen = self.learning.observed.count;
        let so_far = merged(shipped, &learned);
        let differs = compare(&so_far, value);
        let mut odd = compare(shipped, value);
        odd.retain(|one| {
            // Another type than documented is no matter of what came before.
            if one.change == Change::TypeChanged {
                return one.grade == Grade::Breaking;
            }
            // That a field was there once or twice does not make it one that always is.
            let enough = if one.grade == Grade::Additive { 1 } else { SEEN_FOR_GONE };
            enough <= seen && differs.iter().any(|other| other.key() == one.key())
        });
        odd
    }
}

/// The contract that came with a definition, and what was learned: what one of them proves to be
/// optional or null is that, and what either knows is no news.
#[must_use]
pub fn merged(shipped: &Schema, learned: &Schema) -> Schema {
    let is_proven_null = shipped.types.contains(Types::NULL) && shipped.types != Types::NULL;
    let types = match (learned.types.is_any(), is_proven_null) {
        (true, _) => shipped.types,
        (false, true) => learned.types.with(Types::NULL),
        (false, false) => learned.types,
    };
    let mut out = Schema { types, about: shipped.about.clone(), ..learned.clone() };
    if let (Some(shipped), Some(words)) = (&shipped.words, &mut out.words) {
        words.extend(shipped.iter().cloned());
    }
    if shipped.format != learned.format && learned.types.contains(Types::STRING) {
        out.format = None;
    }
    for (key, known) in &shipped.fields {
        match out.fields.get_mut(key) {
            Some(field) => {
                field.schema = merged(&known.schema, &field.schema);
                field.is_required &= known.is_required;
            }
            // Known, though this source has not sent it yet.
            None => {
                let field = Field { schema: known.schema.clone(), is_required: false };
                out.fields.insert(key.clone(), field);
            }
        }
    }
    if out.fields.is_empty() {
        out.free = learned.free.clone().or_else(|| shipped.free.clone());
    } else if shipped.free.is_some() {
        out.free.clone_from(&shipped.free);
    } else if !shipped.fields.is_empty() && learned.fields.is_empty() {
        // Always empty here, and its fields are known.
        out.free = None;
    }
    out.items = match (&shipped.items, &learned.items) {
        (Some(shipped), Some(learned)) => Some(Box::new(merged(shipped, learned))),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    };
    out
}

/// The contract that also has `difference`: what accepting it makes of it.
#[must_use]
pub fn accepted(contract: &Schema, difference: &Accepted<'_>) -> Schema {
    use super::schema::steps;

    let mut out = contract.clone();
    let (parent, _) = difference.path.rsplit_once('/').unwrap_or(("", difference.path));
    let key = steps(difference.path).last().unwrap_or_default();
    match difference.change {
        Change::FieldAdded => {
            if let Some(holder) = out.at_mut(parent) {
                let schema = difference.shape.cloned().unwrap_or_default();
                holder.fields.insert(key.into(), Field { schema, is_required: false });
            }
        }
        Change::FieldGone => {
            if let Some(field) = out.at_mut(parent).and_then(|h| h.fields.get_mut(key.as_str())) {
                field.is_required = false;
            }
        }
        Change::TypeChanged | Change::NewlyNull => {
            if let Some(place) = out.at_mut(difference.path) {
                let is = difference.is.split(" or ").filter_map(Types::from_name);
                place.types = is.fold(place.types, Types::with);
            }
        }
        Change::ValueAdded => {
            if let Some(words) = out.at_mut(difference.path).and_then(|p| p.words.as_mut()) {
                words.insert(difference.is.into());
            }
        }
        Change::FormatChanged => {
            if let Some(place) = out.at_mut(difference.path) {
                place.format = None;
            }
        }
        // These are about a source, and not about what an event looks like.
        Change::TypeAdded
        | Change::TypeGone
        | Change::Unreadable
        | Change::HeaderAdded
        | Change::HeaderGone => {}
    }
    out
}

/// What is accepted.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    pub change: Change,
    pub path: &'a str,
    pub is: &'a str,
    pub shape: Option<&'a Schema>,
}
