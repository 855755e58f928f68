//! stub
pub mod sign;
use std::path::Path;
use std::sync::Arc;
pub struct Catalog(Vec<Arc<Provider>>);
impl Catalog {
    pub fn built_in() -> Catalog { Catalog(vec![]) }
    pub fn with_dir(_: &Path) -> Result<Catalog, Vec<crate::diagnostic::Diagnostic>> { Ok(Catalog(vec![])) }
    pub fn get(&self, name: &str) -> Option<&Arc<Provider>> { self.0.iter().find(|p| &*p.name == name) }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> { self.0.iter() }
}
pub struct Sample { pub event_type: String, pub body: String }
pub struct Provider { pub name: Arc<str>, pub title: String, pub contract: Arc<str>, pub built_in: bool, pub is_confirmed: bool }
impl Provider {
    pub fn scheme(&self) -> &str { "" }
    pub fn kind_of(&self, _: &str) -> Option<&Arc<str>> { None }
    pub fn types(&self) -> Vec<(String, Option<Arc<str>>)> { vec![] }
    pub fn samples(&self) -> Vec<Sample> { vec![] }
}
