//! Which types are of a kind, and where its attributes are: compiled.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::definition::{AttributeTable, Definition, KindRule, KindWhen, Unit};
use super::rules::{Flaws, Place, Reads};
use super::template::{Atom, Piece};
use crate::kind::{AttributeType, Kind, kinds};
use crate::text::nearest;

/// That a type is of a kind.
#[derive(Debug)]
pub(super) struct KindOf {
    pub(super) kind: Arc<str>,
    pub(super) when: Option<KindCondition>,
    pub(super) attributes: Vec<AttributeOf>,
}

/// A condition on an event.
#[derive(Debug)]
pub(super) enum KindCondition {
    /// The first place that is there must be one of the texts (any, if there are none).
    Is(Vec<Place>, Vec<String>),
    All(Vec<KindCondition>),
    Any(Vec<KindCondition>),
}

/// Where one attribute is.
#[derive(Debug)]
pub(super) struct AttributeOf {
    pub(super) name: Arc<str>,
    pub(super) value: AttributeType,
    pub(super) from: Vec<Vec<Piece<Place>>>,
    pub(super) unit: Option<Unit>,
    pub(super) is_major: bool,
    pub(super) strip: Option<String>,
    pub(super) words: BTreeMap<String, String>,
}

/// The kinds of every type; one with a condition is asked first.
pub(super) fn kinds_of(
    file: &Definition,
    reads: &mut Reads,
    flaws: &mut Flaws,
) -> HashMap<String, Vec<Arc<KindOf>>> {
    let mut by_type: HashMap<String, Vec<Arc<KindOf>>> = HashMap::new();
    for (name, rules) in &file.kind {
        let Some(kind) = kinds().get(name.get_ref()) else {
            flaws.add(name.span(), unknown_kind(name.get_ref()));
            continue;
        };
        for rule in &rules.0 {
            let kind_of = Arc::new(kind_of(kind, rule, reads, flaws));
            if rule.types.get_ref().0.is_empty() {
                flaws.add(rule.types.span(), "`types` names no type");
            }
            for event_type in &rule.types.get_ref().0 {
                let list = by_type.entry(event_type.clone()).or_default();
                let other = list.iter().find(|k| k.when.is_none());
                if let Some(other) = other.filter(|_| rule.when.is_none()) {
                    let (one, two) = (&other.kind, &kind.name);
                    let message = format!("`{event_type}` has two kinds: `{one}` and `{two}`");
                    flaws.add(rule.types.span(), message);
                }
                list.push(Arc::clone(&kind_of));
            }
        }
    }
    for list in by_type.values_mut() {
        // One with a condition is asked first.
        list.sort_by_key(|k| k.when.is_none());
    }
    by_type
}

fn unknown_kind(name: &str) -> String {
    let object = name.split('.').next().unwrap_or_default();
    let near: Vec<_> = kinds()
        .iter()
        .map(|k| &*k.name)
        .filter(|k| k.strip_prefix(object).is_some_and(|rest| rest.starts_with('.')))
        .collect();
    let near = match near.as_slice() {
        [] => nearest(name, kinds().iter().map(|k| &*k.name)).unwrap_or_default().to_owned(),
        near => near.join(", "),
    };
    match near.as_str() {
        "" => format!("`{name}` is no kind that RelayFlow knows"),
        near => format!("`{name}` is no kind that RelayFlow knows: wanted {near}"),
    }
}

fn kind_of(kind: &Kind, rule: &KindRule, reads: &mut Reads, flaws: &mut Flaws) -> KindOf {
    let when = rule
        .when
        .as_ref()
        .and_then(|when| kind_condition(when.get_ref(), &when.span(), 0, reads, flaws));
    let mut attributes: Vec<_> = rule
        .attributes
        .iter()
        .filter_map(|(name, source)| {
            let table = &source.get_ref().0;
            attribute_of(kind, name, table, source.span(), reads, flaws)
        })
        .collect();
    // A currency comes before the amounts whose smallest unit it names.
    attributes.sort_by_key(|a| a.value != AttributeType::Currency);
    KindOf { kind: Arc::clone(&kind.name), when, attributes }
}

/// How deep conditions may stand in each other.
const CONDITIONS_DEPTH_MAX: usize = 4;

fn kind_condition(
    when: &KindWhen,
    span: &Range<usize>,
    depth: usize,
    reads: &mut Reads,
    flaws: &mut Flaws,
) -> Option<KindCondition> {
    let parts = [when.pointer.is_some(), !when.all.is_empty(), !when.any.is_empty()];
    if parts.iter().filter(|is_there| **is_there).count() != 1 {
        flaws.add(span.clone(), "a condition has one of `pointer`, `all` and `any`");
        return None;
    }
    if when.is.is_some() && when.pointer.is_none() {
        flaws.add(span.clone(), "`is` says what a `pointer` must be");
        return None;
    }
    if CONDITIONS_DEPTH_MAX <= depth {
        flaws.add(span.clone(), "conditions stand too deep in each other");
        return None;
    }
    if let Some(pointer) = &when.pointer {
        let atoms: Vec<_> = pointer
            .get_ref()
            .0
            .iter()
            .filter_map(|text| flaws.note(pointer.span(), Atom::parse(text)))
            .collect();
        if atoms.iter().any(|atom| matches!(atom, Atom::Derived | Atom::Number)) {
            flaws.add(pointer.span(), "no condition can be made on this");
            return None;
        }
        let places = atoms.into_iter().map(|atom| reads.place(atom)).collect();
        return Some(KindCondition::Is(places, when.is.clone().unwrap_or_default().0));
    }
    let mut inner = |list: &[KindWhen]| -> Vec<_> {
        list.iter().filter_map(|one| kind_condition(one, span, depth + 1, reads, flaws)).collect()
    };
    Some(match when.all.as_slice() {
        [] => KindCondition::Any(inner(&when.any)),
        all => KindCondition::All(inner(all)),
    })
}

fn attribute_of(
    kind: &Kind,
    name: &Spanned<String>,
    table: &AttributeTable,
    span: Range<usize>,
    reads: &mut Reads,
    flaws: &mut Flaws,
) -> Option<AttributeOf> {
    let Some(known) = kind.attributes.iter().find(|a| ***a == **name.get_ref()) else {
        let wanted: Vec<_> = kind.attributes.iter().map(|a| &**a).collect();
        let message = format!(
            "`{}` is no attribute of `{}`: wanted {}",
            name.get_ref(),
            kind.name,
            wanted.join(", ")
        );
        flaws.add(name.span(), message);
        return None;
    };
    let value = kinds().attribute(known)?.value;
    if table.is_major && value != AttributeType::Integer {
        flaws.add(span.clone(), "only an amount can be `is_major`");
    }
    if table.unit.is_some() != (value == AttributeType::Time) {
        flaws.add(span.clone(), "a time, and nothing else, has a `unit`");
    }
    let from = reads.readings(&Spanned::new(span, table.from.clone()), flaws);
    Some(AttributeOf {
        name: Arc::clone(known),
        value,
        from,
        unit: table.unit,
        is_major: table.is_major,
        strip: table.strip.clone(),
        words: table.words.clone(),
    })
}
