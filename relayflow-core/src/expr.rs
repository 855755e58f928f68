#[derive(Debug)]
pub struct Expression;
impl Expression {
    pub fn text(&self) -> &str {
        ""
    }
}
#[derive(Debug)]
pub struct Template;
