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
