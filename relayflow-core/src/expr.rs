pub struct Expression;
#[derive(Debug)]
pub struct Template;
impl std::fmt::Debug for Expression {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
