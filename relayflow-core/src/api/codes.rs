//! Exit codes and error codes: the stable vocabulary of failure.

use crate::task::words;

/// The exit codes of `relayflow` (`cli.md`, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Error = 1,
    Usage = 2,
    NotFound = 3,
    Auth = 4,
    Unreachable = 5,
    Refused = 6,
    Partial = 7,
    Pending = 8,
    Empty = 9,
    Findings = 10,
}

impl Exit {
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::Error,
        Self::Usage,
        Self::NotFound,
        Self::Auth,
        Self::Unreachable,
        Self::Refused,
        Self::Partial,
        Self::Pending,
        Self::Empty,
        Self::Findings,
    ];

    /// When a command ends so.
    #[must_use]
    pub fn when(self) -> &'static str {
        match self {
            Self::Ok => "done; an empty list; a dry run; a closed pipe",
            Self::Error => "anything not below",
            Self::Usage => "a bad flag, filter or time; a config that could not be loaded",
            Self::NotFound => "a named id or thing does not exist; an ambiguous beginning of an id",
            Self::Auth => "no, a wrong or a refused token; a role too low",
            Self::Unreachable => {
                "the daemon or the store does not answer; of the daemon: a taken port, a store \
                 that another has, a corrupt store"
            }
            Self::Refused => {
                "a guard said no: no terminal and no `--yes`, a protected or read-only context, a \
                 plan that expired or changed, more than `--max`"
            }
            Self::Partial => {
                "a job ended, or stopped itself, and at least one item died or never ran; \
                 `send --follow` on a dead task"
            }
            Self::Pending => "`--wait` or `tail --timeout` ran out; the work goes on",
            Self::Empty => "an action selected nothing; a list with `--fail-empty`",
            Self::Findings => {
                "a check found problems: `doctor`, `config check`, `contract check`, \
                 `drift ls --fail-on`"
            }
        }
    }

    /// Whether the same command may end otherwise when it is tried again.
    #[must_use]
    pub fn another_try(self) -> &'static str {
        match self {
            Self::Ok | Self::Empty => "",
            Self::Error => "maybe",
            Self::Usage | Self::NotFound | Self::Auth | Self::Refused | Self::Findings => "no",
            Self::Unreachable | Self::Pending => "yes",
            Self::Partial => "look",
        }
    }

    /// The name, which is also the first word of every error code that ends in this exit.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Auth => "auth",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Partial => "partial",
            Self::Pending => "pending",
            Self::Empty => "empty",
            Self::Findings => "findings",
        }
    }

    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The exit in which an error with this dotted code ends.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        let first = code.split('.').next().unwrap_or_default();
        Self::ALL.into_iter().find(|exit| exit.name() == first).unwrap_or(Self::Error)
    }
}

words! {
    /// The `code` of a problem. The first word is the name of the exit code in which it ends.
    Code {
        Internal = "error.internal",
        VendorAnswer = "error.vendor",
        BadRequest = "usage.request",
        BadFilter = "usage.filter",
        BadCursor = "usage.cursor",
        BadId = "usage.id",
        BodyTooLarge = "usage.body_too_large",
        HeadersTooLarge = "usage.headers_too_large",
        UriTooLong = "usage.uri_too_long",
        LengthRequired = "usage.length_required",
        MediaType = "usage.media_type",
        Method = "usage.method",
        NotConfigured = "usage.not_configured",
        Timeout = "usage.timeout",
        NoSuchRoute = "not_found.route",
        NoSuchSource = "not_found.source",
        NoSuchObject = "not_found.object",
        Ambiguous = "not_found.ambiguous",
        VendorNotFound = "not_found.vendor",
        Signature = "auth.signature",
        NoToken = "auth.token",
        RoleTooLow = "auth.role",
        TooManyFailures = "auth.too_many_failures",
        Host = "auth.host",
        VendorRefused = "auth.vendor",
        Overloaded = "unreachable.overloaded",
        Store = "unreachable.store",
        DiskFull = "unreachable.disk_full",
        Vendor = "unreachable.vendor",
        Stopping = "unreachable.stopping",
        EmptySelection = "empty.selection",
        PlanUsed = "refused.plan_used",
        PlanExpired = "refused.plan_expired",
        PlanChanged = "refused.plan_changed",
        Late = "refused.late",
        OverMax = "refused.over_max",
        StateChanged = "refused.state_changed",
        ReasonRequired = "refused.reason_required",
        NotYet = "refused.not_supported",
    }
}

/// What the command line says beside the API's codes: as stable as those.
pub const OF_COMMANDS: [&str; 53] = [
    "auth.token",
    "empty.selection",
    "error.contract",
    "error.internal",
    "error.io",
    "error.version",
    "findings.config",
    "not_found.config",
    "not_found.context",
    "not_found.file",
    "not_found.object",
    "not_found.provider",
    "not_found.route",
    "not_found.sample",
    "not_found.setting",
    "not_found.source",
    "ok.closed_pipe",
    "partial.replay",
    "pending.command",
    "pending.wait",
    "refused.context",
    "refused.declined",
    "refused.editor",
    "refused.exists",
    "refused.late",
    "refused.masked",
    "refused.no_terminal",
    "refused.not_supported",
    "refused.not_verified",
    "refused.over_max",
    "refused.plan_changed",
    "refused.plan_expired",
    "refused.plan_used",
    "refused.protected",
    "refused.read_only",
    "refused.reason_required",
    "refused.rejected",
    "refused.same_event",
    "refused.sign",
    "refused.state_changed",
    "refused.tamper",
    "refused.terminal",
    "unreachable.bundle",
    "unreachable.daemon",
    "unreachable.ingest",
    "unreachable.store",
    "usage.argument",
    "usage.bundle",
    "usage.config",
    "usage.contract",
    "usage.db",
    "usage.no_window",
    "usage.provider",
];

words! {
    /// Why a request is not verified: the `cause` of a `verification`.
    Blame {
        Mended = "mended",
        ClockSkew = "clock_skew",
        Replayed = "replayed",
        RotatedSecret = "rotated_secret",
        WrongSecret = "wrong_secret",
        SecretSpelling = "secret_spelling",
        BodyAltered = "body_altered",
        SignatureAltered = "signature_altered",
        HeaderRenamed = "header_renamed",
        SignatureMissing = "signature_missing",
        WrongUrl = "wrong_url",
        WrongProvider = "wrong_provider",
        WrongScheme = "wrong_scheme",
        WrongSetting = "wrong_setting",
        KeyUnavailable = "key_unavailable",
        NoSource = "no_source",
        Forged = "forged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_begins_with_the_name_of_its_exit() {
        for code in Code::ALL {
            let first = code.as_str().split('.').next().unwrap();
            assert_eq!(Exit::of_code(code.as_str()).name(), first, "{code}");
        }
        for code in OF_COMMANDS.iter().filter(|code| !code.starts_with("ok.")) {
            let first = code.split('.').next().unwrap();
            assert_eq!(Exit::of_code(code).name(), first, "{code}");
        }
        assert!(OF_COMMANDS.is_sorted());
    }
}
