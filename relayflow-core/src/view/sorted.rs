//! Lists in another order than their own: of rows, page by page in the store; of what comes whole, here.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::convert::{self, dead_request, dead_task};
use super::dead::bad_cursor;
use super::{Page, ViewError, cut};
use crate::api::{DeadLetter, List};
use crate::filter::Filter;
use crate::id::{EventId, RequestId, TaskId};
use crate::store::{After, EventRow, Over, Selection, Sort, Store, TaskRow};

/// The place of a page's cursor, with the id's bytes read by `bytes`.
fn place(
    page: &Page,
    sort: Sort,
    bytes: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<Option<After>, ViewError> {
    let Some(cursor) = &page.cursor else { return Ok(None) };
    let found = sort.place(cursor).and_then(|(after, id)| Some(after.with_id(bytes(id)?)));
    found.map(Some).ok_or_else(|| bad_cursor(page))
}

async fn check(store: &Store, selection: &Selection, sort: Sort) -> Result<(), ViewError> {
    Ok(store.can_sort(selection, sort).await??)
}

/// A page of events in `sort`'s order, and where it goes on.
pub(super) async fn events(
    store: &Store,
    selection: &Selection,
    page: &Page,
    sort: &str,
) -> Result<(Vec<EventRow>, Option<String>), ViewError> {
    let sort = Sort::parse(sort, Over::Events)?;
    check(store, selection, sort).await?;
    let id = |text: &str| Some(text.parse::<EventId>().ok()?.bytes().to_vec());
    let after = place(page, sort, id)?;
    let mut rows = store.events_sorted(selection, sort, after, page.limit + 1).await?;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more);
    let next = next.map(|(row, after)| sort.cursor(after, &row.event.id.to_string()));
    Ok((rows.into_iter().map(|(row, _)| row).collect(), next))
}

/// A page of tasks in `sort`'s order, and where it goes on.
pub(super) async fn tasks(
    store: &Store,
    selection: &Selection,
    page: &Page,
    sort: &str,
) -> Result<(Vec<TaskRow>, Option<String>), ViewError> {
    let sort = Sort::parse(sort, Over::Tasks)?;
    check(store, selection, sort).await?;
    let id = |text: &str| Some(text.parse::<TaskId>().ok()?.bytes().to_vec());
    let after = place(page, sort, id)?;
    let mut rows = store.tasks_sorted(selection, sort, after, page.limit + 1).await?;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more);
    let next = next.map(|(row, after)| sort.cursor(after, &row.id.to_string()));
    Ok((rows.into_iter().map(|(row, _)| row).collect(), next))
}

/// A page of requests in `sort`'s order.
pub(super) async fn requests(
    store: &Store,
    selection: &Selection,
    page: &Page,
    sort: &str,
) -> Result<List<crate::api::Request>, ViewError> {
    let sort = Sort::parse(sort, Over::Requests)?;
    check(store, selection, sort).await?;
    let id = |text: &str| Some(text.parse::<RequestId>().ok()?.bytes().to_vec());
    let after = place(page, sort, id)?;
    let limit = (page.limit + 1, false);
    let mut rows = store.requests_sorted(selection, sort, after, limit).await?;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more);
    let next = next.map(|(row, after)| sort.cursor(after, &row.id.to_string()));
    let items = rows.iter().map(|(row, _)| convert::request(row)).collect();
    Ok(super::list("request_list", items, next, None))
}

/// A page of dead letters in `sort`'s order: tasks and requests, merged. Of equal ones that descend
/// tasks come before requests, else requests before tasks: as their ids have it.
pub(super) async fn dead_letters(
    store: &Store,
    filter: &Filter,
    page: &Page,
    sort: &str,
) -> Result<List<DeadLetter>, ViewError> {
    let sort = Sort::parse(sort, Over::DeadTasks)?;
    let of_requests = sort.of_dead_requests();
    let (mut of_task, mut of_request) = (None, None);
    if let Some(cursor) = &page.cursor {
        let (after, id) = sort.place(cursor).ok_or_else(|| bad_cursor(page))?;
        let (low, high) = (vec![0; 16], vec![0xff; 16]);
        // Behind a request that descends no task of its value is left, and so on.
        let (task, request) = if let Ok(id) = id.parse::<TaskId>() {
            (id.bytes().to_vec(), high)
        } else {
            let id = id.parse::<RequestId>().map_err(|_| bad_cursor(page))?;
            (low, id.bytes().to_vec())
        };
        (of_task, of_request) = (Some(after.with_id(task)), Some(after.with_id(request)));
    }
    let mut items: Vec<(After, DeadLetter)> = Vec::new();
    let requests = Selection::new(filter, Over::Requests);
    match Selection::new(filter, Over::DeadTasks) {
        Ok(tasks) => {
            check(store, &tasks, sort).await?;
            let rows = store.tasks_sorted(&tasks, sort, of_task, page.limit + 1).await?;
            items.extend(rows.into_iter().map(|(row, after)| (after, dead_task(&row))));
        }
        Err(error) if requests.is_err() => return Err(error.into()),
        Err(_) => {}
    }
    if let Ok(requests) = requests {
        let wants_discarded = page.q.as_deref().is_some_and(|q| q.contains("discarded"));
        let limit = (page.limit + 1, true);
        let rows = store.requests_sorted(&requests, of_requests, of_request, limit).await?;
        let wanted = rows.into_iter().filter(|(row, _)| row.status == "dead" || wants_discarded);
        items.extend(wanted.map(|(row, after)| (after, dead_request(&row))));
    }
    items.sort_by(|a, b| {
        let order = a.0.compare(&b.0).then_with(|| a.1.id.cmp(&b.1.id));
        if sort.descends() { order.reverse() } else { order }
    });
    let more = cut(&mut items, page.limit);
    let next = items.last().filter(|_| more);
    let next = next.map(|(after, letter)| sort.cursor(after, &letter.id));
    let items = items.into_iter().map(|(_, letter)| letter).collect();
    Ok(super::list("dead_letter_list", items, next, None))
}

/// Puts what has come whole in the order of one member, such as `depth` or `items.dead`; `-` before it
/// descends. What lacks it stands last.
///
/// # Errors
///
/// [`ViewError::Sort`] with the members that there are.
pub fn sort_whole<T: Serialize>(items: Vec<T>, sort: &str) -> Result<Vec<T>, ViewError> {
    let (descends, field) = match sort.strip_prefix('-') {
        Some(field) => (true, field),
        None => (false, sort),
    };
    let documents: Vec<Value> =
        items.iter().map(|item| serde_json::to_value(item).unwrap_or(Value::Null)).collect();
    let Some(first) = documents.first() else { return Ok(items) };
    let mut known = Vec::new();
    members(first, "", &mut known);
    let name = known.iter().find(|name| *name == field || **name == format!("{field}_at"));
    let name = name
        .cloned()
        .ok_or_else(|| ViewError::Sort { field: field.to_owned(), known: known.join(", ") })?;
    let pointer = format!("/{}", name.replace('.', "/"));
    let mut all: Vec<(Value, T)> = documents
        .into_iter()
        .map(|document| document.pointer(&pointer).cloned().unwrap_or(Value::Null))
        .zip(items)
        .collect();
    all.sort_by(|(a, _), (b, _)| match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (a, b) if descends => compare(b, a),
        (a, b) => compare(a, b),
    });
    Ok(all.into_iter().map(|(_, item)| item).collect())
}

/// Of what is sorted whole: the page behind the item that the cursor names, and where it goes on.
pub(super) fn page_of<T>(
    items: &mut Vec<T>,
    page: &Page,
    id: impl Fn(&T) -> &str,
) -> Result<Option<String>, ViewError> {
    if let Some(after) = &page.cursor {
        let place = items.iter().position(|item| id(item) == after);
        items.drain(..=place.ok_or_else(|| bad_cursor(page))?);
    }
    let more = cut(items, page.limit);
    Ok(items.last().filter(|_| more).map(|item| id(item).to_owned()))
}

/// Members with one value each, those of objects by their way.
fn members(document: &Value, before: &str, known: &mut Vec<String>) {
    for (name, value) in document.as_object().into_iter().flatten() {
        let way = format!("{before}{name}");
        match value {
            Value::Object(_) if before.is_empty() => members(value, &format!("{way}."), known),
            Value::Array(_) | Value::Object(_) => {}
            _ if way == "v" || way == "object" => {}
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => known.push(way),
        }
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_whole_is_sorted_by_any_member() {
        let all = vec![
            json!({"name": "b", "depth": 10, "oldest": null, "items": {"dead": 1}}),
            json!({"name": "a", "depth": 9, "oldest": 2.5, "items": {"dead": 3}}),
            json!({"name": "c", "depth": 9, "oldest": 0.5, "items": {"dead": 2}}),
        ];
        let names = |sort: &str| {
            let sorted = sort_whole(all.clone(), sort).unwrap();
            sorted.iter().map(|i| i["name"].as_str().unwrap().to_owned()).collect::<String>()
        };
        assert_eq!(names("name"), "abc");
        assert_eq!(names("-depth"), "bac");
        assert_eq!(names("oldest"), "cab");
        assert_eq!(names("-oldest"), "acb");
        assert_eq!(names("-items.dead"), "acb");
        let error = sort_whole(all.clone(), "dept").unwrap_err().to_string();
        assert!(error.contains("depth, items.dead, name, oldest"), "{error}");
        assert!(sort_whole(Vec::<Value>::new(), "what").unwrap().is_empty());
    }
}
