//! stub: thrown away at the merge
use serde_json::{Map, Value};

use crate::event::IntegrationEvent;

#[derive(Debug, Clone)]
pub struct ExprError {
    pub span: std::ops::Range<usize>,
    pub message: String,
}

#[derive(Debug, Clone, Copy)]
pub enum Escape {
    Url,
    Header,
    Plain,
    Html,
}

pub struct Scope<'a> {
    pub event: &'a IntegrationEvent,
    pub headers: &'a [(String, String)],
    pub steps: &'a Map<String, Value>,
}

#[derive(Debug)]
pub struct Expression(String);
#[derive(Debug)]
pub struct Template(String);

impl Expression {
    pub fn new(text: &str) -> Result<Self, ExprError> {
        Ok(Self(text.to_owned()))
    }
    pub fn eval(&self, _: &Scope<'_>) -> Result<Value, ExprError> {
        serde_json::from_str(&self.0).map_err(|e| ExprError { span: 0..0, message: e.to_string() })
    }
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, ExprError> {
        Ok(self.eval(scope)? == Value::Bool(true))
    }
}

impl Template {
    pub fn new(text: &str, _: Escape) -> Result<Self, ExprError> {
        Ok(Self(text.to_owned()))
    }
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, ExprError> {
        if self.0.contains("missing") {
            return Err(ExprError { span: 0..0, message: "undefined value".to_owned() });
        }
        Ok(self.0.replace("{{ event.subject }}", scope.event.subject.as_deref().unwrap_or("")))
    }
}
