//! Which values columns have: a look into an index for each, however many rows there are.

use std::fmt::Write as _;

/// The beginning of a statement, in which `once` is a table of the values that these columns have
/// together, each once. An index of `table` begins with them; `also` is its condition, and none of them
/// is null.
pub(super) fn once(table: &str, columns: &[&str], also: &str) -> String {
    let and = if also.is_empty() { String::new() } else { format!(" and {also}") };
    let mut sql = "with recursive ".to_owned();
    for (place, column) in columns.iter().enumerate() {
        let before = columns.get(..place).unwrap_or_default();
        let all = columns.get(..=place).unwrap_or_default().join(", ");
        let (this, last) = (format!("once_{}", place + 1), format!("once_{place}"));
        let kept: String = before.iter().map(|c| format!("{c}, ")).collect();
        let same = |of: &str| -> String {
            before.iter().map(|c| format!("x.{c} = {of}.{c} and ")).collect()
        };
        let (from, of_last) = match before.last() {
            None => (String::new(), "true".to_owned()),
            Some(c) => {
                (format!("from {last} where {c} is not null"), format!("{}true", same(&last)))
            }
        };
        let of_this = same(&this);
        let _ = write!(
            sql,
            "{this}({all}) as (
                select {kept}(select min(x.{column}) from {table} x where {of_last}{and}) {from}
                union all
                select {kept}(select min(x.{column}) from {table} x
                    where {of_this}x.{column} > {this}.{column}{and})
                from {this} where {column} is not null),
            "
        );
    }
    let (all, count) = (columns.join(", "), columns.len());
    let last = columns.last().copied().unwrap_or("1");
    let _ = write!(sql, "once({all}) as (select {all} from once_{count} where {last} is not null)");
    sql
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn each_value_comes_once_by_looks_into_the_index() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "create table t (a text, b integer, c text);
             create index t_abc on t (a, b, c) where c <> 'no';
             insert into t values ('x', 1, 'p'), ('x', 1, 'p'), ('x', 2, 'q'), ('y', 1, 'p'),
                ('z', 1, 'no'), ('y', 1, 'r')",
        )
        .unwrap();
        let rows = |columns: &[&str], also: &str| -> Vec<String> {
            let shown = columns.join(" || '.' || ");
            let sql = format!("{} select {shown} from once", once("t", columns, also));
            let plan = format!("explain query plan {sql}");
            let mut statement = db.prepare(&plan).unwrap();
            let plan: Vec<String> =
                statement.query_map([], |r| r.get(3)).unwrap().map(Result::unwrap).collect();
            let is_whole = |line: &&String| line.starts_with("SCAN x") && !line.contains("INDEX");
            assert_eq!(plan.iter().find(is_whole), None, "{plan:#?}");
            let mut statement = db.prepare(&sql).unwrap();
            statement.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(rows(&["a"], "c <> 'no'"), ["x", "y"]);
        assert_eq!(rows(&["a", "b"], "c <> 'no'"), ["x.1", "y.1", "x.2"]);
        assert_eq!(rows(&["a", "b", "c"], "c <> 'no'"), ["x.1.p", "y.1.p", "x.2.q", "y.1.r"]);
        db.execute("delete from t", []).unwrap();
        assert!(rows(&["a", "b"], "c <> 'no'").is_empty());
    }
}
