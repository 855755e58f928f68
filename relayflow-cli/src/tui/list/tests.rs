use super::*;

fn row(n: usize) -> Row {
    Row { id: format!("tsk_{n}").into(), status: "dead".into(), ..Row::default() }
}

/// Rows `from` downwards: the newest has the highest number.
fn page(from: usize, count: usize, next: Option<&str>) -> Page<Row> {
    let rows = (0..count).map(|n| row(from - n)).collect();
    Page { rows, next: next.map(str::to_owned), total: None }
}

/// A list on which a page was asked for and came.
fn take(list: &mut ListModel, page: Page<Row>) {
    let (_, key) = list.wanted(20).unwrap();
    list.expect(1, &key);
    list.take(1, page, false);
}

fn see(list: &mut ListModel, page: Page<Row>, follows: bool) {
    let (_, key) = list.look().unwrap();
    list.expect(2, &key);
    list.take(2, page, follows);
}

fn current(list: &ListModel) -> &str {
    &list.current().unwrap().id
}

#[test]
fn the_cursor_stays_on_its_row_when_others_arrive() {
    let mut list = ListModel::default();
    take(&mut list, page(1000, PAGE, Some("c1")));
    list.step(3);
    assert_eq!(current(&list), "tsk_997");

    see(&mut list, page(1004, HEAD, Some("c")), false);

    assert_eq!((current(&list), list.selected()), ("tsk_997", 3));
    assert_eq!(list.newer, Newer { count: 4, at_least: false });
    list.jump();
    assert_eq!((current(&list), list.selected()), ("tsk_997", 7));
    assert_eq!(list.newer, Newer::default());
}

#[test]
fn one_who_follows_stays_with_the_newest() {
    let mut list = ListModel::default();
    take(&mut list, page(1000, PAGE, Some("c1")));
    see(&mut list, page(1002, HEAD, Some("c")), true);
    assert_eq!((current(&list), list.selected(), list.top()), ("tsk_1002", 0, 0));
}

#[test]
fn an_empty_list_takes_what_comes() {
    let mut list = ListModel::default();
    take(&mut list, Page::default());
    assert!(list.is_whole() && list.current().is_none());
    see(&mut list, page(3, 3, None), false);
    assert_eq!(current(&list), "tsk_3");
}

#[test]
fn what_left_the_list_stays_in_place_and_is_gone() {
    let mut list = ListModel::default();
    take(&mut list, page(10, 10, None));
    let mut now = page(10, 10, None);
    now.rows.remove(2);
    see(&mut list, now, false);
    assert!(list.is_gone("tsk_8") && !list.is_gone("tsk_7"));
    assert_eq!(list.len(), 10);
}

#[test]
fn a_look_at_the_newest_says_nothing_of_what_it_does_not_reach() {
    let mut list = ListModel::default();
    take(&mut list, page(1000, PAGE, Some("c1")));
    see(&mut list, page(1000, HEAD, Some("c")), false);
    assert!((0..PAGE).all(|at| !list.is_gone(&list.row(at).unwrap().id)));
}

#[test]
fn a_million_rows_are_twenty_pages() {
    let mut list = ListModel::default();
    let mut left = 1_000_000;
    while 0 < left {
        list.select(list.len().saturating_sub(1));
        list.fit(20);
        let next = (PAGE < left).then_some("c");
        take(&mut list, page(left, PAGE.min(left), next));
        left -= PAGE.min(left);
    }
    assert_eq!(list.len(), 1_000_000);
    let held = list.spans.iter().filter(|span| span.rows.is_some()).count();
    assert!(held <= PAGES_MAX, "{held}");
    // Back at the top, the first page is asked for again, behind its own cursor.
    list.select(0);
    list.fit(20);
    assert!(list.row(0).is_none());
    let (wanted, key) = list.wanted(20).unwrap();
    assert_eq!(wanted, Wanted { cursor: None, limit: PAGE });
    list.expect(9, &key);
    list.take(9, page(1_000_000, PAGE, Some("c")), false);
    assert_eq!(current(&list), "tsk_1000000");
}

#[test]
fn the_next_page_is_asked_for_before_the_cursor_is_there() {
    let mut list = ListModel::default();
    take(&mut list, page(1000, PAGE, Some("c1")));
    list.fit(20);
    let (wanted, key) = list.wanted(20).unwrap();
    assert_eq!(wanted.cursor.as_deref(), Some("c1"));
    list.expect(7, &key);
    assert_eq!(list.wanted(20), None, "once is enough");
    list.fail(7);
    assert!(list.wanted(20).is_some(), "what failed is asked for again");
}

#[test]
fn marks_are_ids_or_all_but_some() {
    let mut marks = Marks::default();
    assert!(marks.is_empty() && marks.toggle("a") && marks.has("a") && !marks.has("b"));
    marks.toggle("a");
    assert!(marks.is_empty());
    let mut marks = Marks::AllBut(BTreeSet::new());
    assert!(marks.has("a") && !marks.is_empty());
    marks.toggle("a");
    assert!(!marks.has("a") && marks.has("b"));
}

/// A RelayFlow with `total` rows, the newest of the highest number, asked as the model wants it.
fn serve(list: &mut ListModel, total: usize) -> bool {
    let Some((Wanted { cursor, limit }, key)) = list.wanted(20) else { return false };
    let number = |text: &str| text.parse::<usize>().unwrap();
    // The highest and the lowest number of the page.
    let (high, low, next) = match cursor.as_deref() {
        Some("end") => {
            let high = limit.min(total);
            (high, 1, (high < total).then(|| format!("-{high}")))
        }
        Some(text) if text.starts_with('-') => {
            let low = number(&text[1..]) + 1;
            let high = (low + limit - 1).min(total);
            (high, low, (high < total).then(|| format!("-{high}")))
        }
        other => {
            let high = other.map_or(total, |text| number(text) - 1);
            let low = (high + 1).saturating_sub(limit).max(1);
            (high, low, (1 < low).then(|| low.to_string()))
        }
    };
    let rows = (low..=high).rev().map(row).collect();
    list.expect(9, &key);
    list.take(9, Page { rows, next, total: None }, false);
    true
}

fn settle(list: &mut ListModel, total: usize) {
    for _ in 0..50 {
        list.fit(20);
        if !serve(list, total) {
            return;
        }
    }
    panic!("it asks for ever");
}

#[test]
fn the_end_of_a_million_is_one_question_away() {
    let mut list = ListModel::default();
    settle(&mut list, 1_000_000);
    list.select_end();
    settle(&mut list, 1_000_000);
    assert_eq!(current(&list), "tsk_1");
    assert!(list.known() < 10 * PAGE, "{}", list.known());
    assert!(!list.is_whole() && list.gap().is_some());
    assert_eq!(list.number(list.selected(), Some(1_000_000)), Some(1_000_000));
    assert_eq!(list.number(list.selected(), None), None);
    list.step(-5);
    settle(&mut list, 1_000_000);
    assert_eq!(current(&list), "tsk_6");
    list.select(0);
    settle(&mut list, 1_000_000);
    assert_eq!(current(&list), "tsk_1000000");
}

#[test]
fn the_cursor_stays_on_its_row_while_pages_come_before_it() {
    let mut list = ListModel::default();
    settle(&mut list, 5_000);
    list.select_end();
    settle(&mut list, 5_000);
    // Up, page by page, until both sides meet: every row in its order and none twice.
    for _ in 0..600 {
        list.step(-10);
        settle(&mut list, 5_000);
    }
    assert!(list.is_whole() && list.gap().is_none());
    assert_eq!((list.len(), current(&list)), (5_000, "tsk_5000"));
    for (from, number) in [(0, 5_000), (2_500, 2_500), (4_999, 1)] {
        list.select(from);
        settle(&mut list, 5_000);
        assert_eq!(current(&list), format!("tsk_{number}"));
    }
}

#[test]
fn coming_down_meets_the_end_too() {
    let mut list = ListModel::default();
    settle(&mut list, 2_000);
    list.select_end();
    settle(&mut list, 2_000);
    list.select(0);
    for _ in 0..300 {
        list.step(10);
        settle(&mut list, 2_000);
    }
    assert_eq!((list.len(), current(&list), list.gap()), (2_000, "tsk_1", None));
}

#[test]
fn the_end_of_a_short_list_is_its_last_row() {
    for total in [0, 1, PAGE - 1, PAGE, PAGE + 1, PAGE * 2] {
        let mut list = ListModel::default();
        settle(&mut list, total);
        list.select_end();
        settle(&mut list, total);
        assert_eq!(list.len(), total);
        assert!(list.is_whole(), "{total}");
        assert_eq!(list.selected(), total.saturating_sub(1));
    }
}

#[test]
fn an_end_that_does_not_come_is_given_up() {
    let mut list = ListModel::default();
    settle(&mut list, 5_000);
    list.select_end();
    let (wanted, key) = list.wanted(20).unwrap();
    assert_eq!(wanted.cursor.as_deref(), Some("end"));
    list.expect(7, &key);
    list.fail(7);
    assert_ne!(list.wanted(20).and_then(|(w, _)| w.cursor).as_deref(), Some("end"));
}
