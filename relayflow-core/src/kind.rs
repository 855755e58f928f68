//! stub of the providers room: what config and routing ask of it.

use std::sync::Arc;

#[derive(Debug)]
pub struct Kind {
    pub name: Arc<str>,
}

#[derive(Debug)]
pub struct Kinds(Vec<Kind>);

#[must_use]
pub fn kinds() -> &'static Kinds {
    static KINDS: std::sync::LazyLock<Kinds> = std::sync::LazyLock::new(|| {
        let names = ["contact.created", "email.bounced", "payment.failed", "payment.succeeded"];
        Kinds(names.into_iter().map(|name| Kind { name: name.into() }).collect())
    });
    &KINDS
}

impl Kinds {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.0.iter().find(|kind| &*kind.name == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.0.iter()
    }
}
