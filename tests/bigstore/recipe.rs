//! What stands in a big store: which sources, types, ends and errors, and how often. Everything follows
//! from an event's number, so that the same count gives the same story.

/// The configuration that the store is the work of. Its destinations are nowhere.
pub(crate) const CONFIG: &str = include_str!("relayflow.toml");

/// The configured sources; the last is hardly ever heard of.
pub(crate) const SOURCES: [&str; 5] = ["shop", "code", "crm", "store", "legacy"];
/// A type that comes twenty times in all.
pub(crate) const RARE_TYPE: &str = "v1.billing.meter.error_report_triggered";
/// Where the second step of the workflow with two calls.
pub(super) const NEXT_DESTINATION: &str = "mail.example.com";
/// So many errors are told apart.
pub(crate) const FINGERPRINTS: usize = 50;

const FIELDS: [&str; 10] = [
    "plan_id", "email", "currency", "owner", "region", "segment", "phone", "country", "amount",
    "status",
];
const TROUBLES: [(u16, &str); 5] = [
    (422, "unknown field"),
    (400, "wrong type of"),
    (409, "somebody else has"),
    (404, "nothing has this"),
    (500, "could not store"),
];

/// What becomes of an event's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is not the first of its key: it has none.
    None,
    Ok,
    /// Fails once, then succeeds.
    Recovers,
    /// Is refused, with this error.
    Dies(usize),
    /// Fails twice, then dies.
    DiesSlowly(usize),
    /// Fails, and waits for its next attempt.
    Waits,
    /// Is refused, and given up by somebody.
    Discarded(usize),
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) serial: u64,
    pub(super) source: &'static str,
    pub(super) event_type: String,
    pub(super) fate: Fate,
    pub(super) correlation: Option<String>,
    /// The vendor sends it twice.
    pub(super) is_repeated: bool,
    pub(super) is_forged: bool,
    pub(super) is_unreadable: bool,
}

pub(super) struct Recipe {
    /// Types of each source.
    types: Vec<Vec<String>>,
}

impl Recipe {
    pub(super) fn new(types: impl Fn(&str) -> Vec<String>) -> Self {
        let of = |name: &&str| types(name).into_iter().filter(|t| t != RARE_TYPE).collect();
        Self { types: SOURCES.iter().map(of).collect() }
    }

    /// The event of this number, of `count`.
    pub(super) fn make(&self, serial: u64, count: u64) -> Made {
        let dice = mixed(serial);
        let one_of = |n: u64, salt: u32| dice.rotate_left(salt) % n;
        // Twenty times in all, whatever the count.
        let every = (count / 20).max(1);
        let (is_rare, is_quiet) = (serial % every == every / 2, serial % every == every / 3);
        let place = match one_of(1000, 0) {
            _ if is_quiet => 4,
            _ if is_rare => 0,
            0..550 => 0,
            550..750 => 1,
            750..850 => 2,
            _ => 3,
        };
        let types = &self.types[place];
        let number = usize::try_from(one_of(1 << 20, 7)).unwrap_or(0);
        let event_type =
            if is_rare { RARE_TYPE.to_owned() } else { types[number % types.len()].clone() };
        // Few errors are frequent and many are rare, as it is with errors.
        let wide = usize::try_from(one_of(1 << 12, 13)).unwrap_or(0);
        let error = (wide * wide / ((1 << 24) / FINGERPRINTS)).min(FINGERPRINTS - 1);
        let fate = match one_of(10_000, 19) {
            0..180 => Fate::Dies(error),
            180..250 => Fate::DiesSlowly(error),
            250..400 => Fate::Recovers,
            400..402 => Fate::Waits,
            402..404 => Fate::Discarded(error),
            _ => Fate::Ok,
        };
        let correlation = (one_of(100, 29) < 5).then(|| format!("order-{}", serial / 64));
        let is_odd = !is_rare && !is_quiet;
        Made {
            serial,
            source: SOURCES[place],
            event_type,
            fate,
            correlation,
            is_repeated: is_odd && one_of(1000, 37) < 5,
            is_forged: is_odd && one_of(2500, 41) == 0,
            is_unreadable: is_odd && place == 0 && one_of(10_000, 43) == 0,
        }
    }
}

/// The error of a number, as a destination tells it: no two messages are alike, but for their words.
pub(super) fn told(number: usize, seed: u64) -> (u16, String) {
    let (status, trouble) = TROUBLES[number / FIELDS.len() % TROUBLES.len()];
    let field = FIELDS[number % FIELDS.len()];
    (status, format!("{status} {trouble} {field} at contact {}", seed % 100_000))
}

/// A number that looks like chance (splitmix64).
pub(super) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
