//! Dead letters: tasks, and requests that could not be read, as one list and in groups.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::convert::{self, dead_request, dead_task};
use super::{
    Page, RECENT_PART_US, RECENT_PARTS, ViewError, cut, end_cursor, filter_of, groups, leafed,
    list, sorted, time_for, turned,
};
use crate::api::{DeadLetter, DeadLetterGroup, List, Total};
use crate::event::micros;
use crate::filter::{Field, Filter};
use crate::id::{RequestId, TaskId};
use crate::store::{Over, Selection, Store, Way};
use crate::task::TaskStatus;

/// How long dead letters are read to be grouped, where no index has the groups.
const GROUP_TIME: Duration = Duration::from_secs(2);
/// How many dead letters a grouping reads at most.
pub(super) const GROUPED_MAX: usize = 100_000;
const PAGE: usize = 1000;

/// A page of dead letters, the latest first: tasks, and requests that could not be read.
pub async fn dead_letters(store: &Store, page: &Page) -> Result<List<DeadLetter>, ViewError> {
    let filter = filter_of(store, page.q.as_deref())?;
    if let Some(sort) = &page.sort {
        return sorted::dead_letters(store, &filter, page, sort).await;
    }
    let (way, page) = turned(page);
    let (mut items, stopped_at) = dead_page(store, &filter, way, &page).await?;
    let next =
        leafed(&mut items, page.limit, way, |(ended, letter)| format!("{ended}.{}", letter.id));
    let (next, searched_to) = match (next, stopped_at) {
        (None, Some((ended, id))) => {
            let at = micros(crate::clock::from_micros(ended));
            (Some(format!("{ended}.{id}")), Some(at))
        }
        (next, _) => (next, None),
    };
    let count = if filter == Filter::All {
        let counters = store.counters().await?;
        let dead = counters.tasks(TaskStatus::Dead) + counters.total("dead_requests");
        Some(Total { value: u64::try_from(dead).unwrap_or(0), exact: true })
    } else {
        None
    };
    let items = items.into_iter().map(|(_, letter)| letter).collect();
    Ok(List { searched_to, ..list("dead_letter_list", items, next, count) })
}

/// Tasks and requests, merged by when they died; one or more than the page holds, in the way's order.
async fn dead_page(
    store: &Store,
    filter: &Filter,
    way: Way,
    page: &Page,
) -> Result<(Vec<(i64, DeadLetter)>, Option<(i64, TaskId)>), ViewError> {
    let after = page.cursor.as_ref().and_then(|text| text.split_once('.'));
    let is_request = after.is_some_and(|(_, id)| id.starts_with(RequestId::PREFIX));
    // Of one microsecond tasks come before requests: behind a request no task of it is left, and
    // behind a task every request of it is.
    let (of_task, of_request) = match (page.cursor.is_some(), is_request) {
        (false, _) => (None, None),
        (true, true) => {
            let (ended, id) = end_cursor::<RequestId>(page)?.ok_or_else(|| bad_cursor(page))?;
            (TaskId::range("tsk_").map(|(low, _)| (ended, low)), Some((ended, id)))
        }
        (true, false) => {
            let (ended, id) = end_cursor::<TaskId>(page)?.ok_or_else(|| bad_cursor(page))?;
            (Some((ended, id)), RequestId::range("req_").map(|(_, high)| (ended, high)))
        }
    };
    let mut items = Vec::new();
    let mut stopped_at = None;
    let requests = Selection::new(filter, Over::Requests);
    match Selection::new(filter, Over::DeadTasks) {
        Ok(tasks) => {
            let (limit, time) = (page.limit + 1, time_for(filter));
            let rows = match way {
                Way::Newest => {
                    let found = store.dead_tasks_within(&tasks, of_task, limit, time).await?;
                    stopped_at = found.stopped_at;
                    found.rows
                }
                Way::Oldest => store.dead_tasks_oldest(&tasks, of_task, limit).await?,
            };
            for row in rows {
                items.push((row.ended_us.unwrap_or(0), dead_task(&row)));
            }
        }
        Err(error) if requests.is_err() => return Err(error.into()),
        Err(_) => {}
    }
    if let Ok(requests) = requests {
        let wants_discarded = filter.mentions(&Field::Status);
        for row in store.dead_requests(&requests, way, of_request, page.limit + 1).await? {
            if row.status == "dead" || wants_discarded {
                items.push((row.ended_us.unwrap_or(0), dead_request(&row)));
            }
        }
    }
    items.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| b.1.id.cmp(&a.1.id)));
    if let Some((ended, id)) = &stopped_at {
        // Of what died before, the tasks are not known yet.
        let id = id.to_string();
        items.retain(|(at, letter)| (*at, letter.id.as_str()) >= (*ended, id.as_str()));
    }
    if way == Way::Oldest {
        items.reverse();
    }
    Ok((items, stopped_at))
}

pub(super) fn bad_cursor(page: &Page) -> ViewError {
    ViewError::Cursor(page.cursor.clone().unwrap_or_default())
}

/// Dead letters that share a value, the most frequent first.
pub async fn dead_letter_groups(
    store: &Store,
    page: &Page,
    by: &str,
) -> Result<List<DeadLetterGroup>, ViewError> {
    let filter = filter_of(store, page.q.as_deref())?;
    let mut found: Vec<DeadLetterGroup> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    if let Some(groups) = groups::indexed(store, &filter, page, by).await? {
        return Ok(groups);
    }
    let ends = Instant::now() + GROUP_TIME;
    let is_whole;
    let mut at = Page { q: page.q.clone(), limit: PAGE, cursor: None, sort: None };
    let now_us = store.clock().now_us();
    let mut read = 0;
    loop {
        let (mut letters, stopped_at) = dead_page(store, &filter, Way::Newest, &at).await?;
        let more = cut(&mut letters, PAGE);
        let goes_on = stopped_at.filter(|_| !more).map(|(ended, id)| format!("{ended}.{id}"));
        read += letters.len();
        let all: Vec<&DeadLetter> = letters.iter().map(|(_, letter)| letter).collect();
        let values = groups::values(store, &all, by).await?;
        for ((ended, letter), value) in letters.iter().zip(values) {
            let died = micros(crate::clock::from_micros(*ended));
            let place = match places.get(&value) {
                Some(place) => {
                    // The latest come first.
                    found[*place].count += 1;
                    found[*place].first_at = died;
                    *place
                }
                None => {
                    let place = found.len();
                    places.insert(value.clone(), place);
                    found.push(convert::group(by, value, died, letter));
                    place
                }
            };
            let part = usize::try_from((now_us - ended).max(0) / RECENT_PART_US).ok();
            let part = part.and_then(|part| RECENT_PARTS.checked_sub(part + 1));
            if let Some(count) = part.and_then(|part| found[place].recent.get_mut(part)) {
                *count += 1;
            }
        }
        let last = letters.last().map(|(ended, letter)| format!("{ended}.{}", letter.id));
        at.cursor = goes_on.clone().or(last);
        if !(more || goes_on.is_some()) || GROUPED_MAX <= read || ends <= Instant::now() {
            is_whole = !(more || goes_on.is_some());
            break;
        }
    }
    found.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| b.last_at.cmp(&a.last_at)));
    let count = u64::try_from(found.len()).unwrap_or(0);
    found.truncate(page.limit);
    Ok(list("dead_letter_group_list", found, None, Some(Total { value: count, exact: is_whole })))
}
