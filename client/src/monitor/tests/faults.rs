//! Rules, and what is true after the process died: no finding is lost, none is told twice, and no
//! entry is passed over.

use super::*;

/// A rule that each claim hits.
const CLAIMS: &str = "[[rule]]\nname = \"claims\"\nnames = [\"model\"]\n";

/// The indexes of the hits that were told, in order.
fn hits(watch: &Watch) -> Vec<u64> {
    watch.told().into_iter().filter_map(|(_, index)| index).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_told_for_each_entry_that_hits_it() {
    let watch = Watch::new(10).rules(CLAIMS);
    let round = watch.round().await;
    assert_eq!(round.exit(), Exit::Policy);
    assert_eq!(hits(&watch), [0, 3, 6, 9]);
    let line: Value = serde_json::from_str(&watch.lines.lock().unwrap()[0]).unwrap();
    assert_eq!(line["finding"], "rule:claims");
    assert_eq!(line["facts"], serde_json::json!(["subject-name=model"]));
    assert_eq!(watch.round().await.exit(), Exit::Ok, "what was read before is not news");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integrity_finding_comes_before_a_rule_and_unparseable_can_be_one() {
    let rules = "[[rule]]\nname = \"garbage\"\nunparseable = true\n";
    let watch = Watch::new(1).rules(rules);
    watch.served.log.lock().unwrap().append(b"nonsense".to_vec());
    assert_eq!(watch.round().await.exit(), Exit::Alarm);
    let expected =
        [("entry-unparseable".to_owned(), Some(1)), ("rule:garbage".to_owned(), Some(1))];
    assert_eq!(watch.told(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn news_about_names_and_bytes_are_told_across_chunks_and_restarts() {
    let news = "[[rule]]\nname = \"signer\"\nknown-name-new-signer = true\n\
                [[rule]]\nname = \"name\"\nknown-bytes-new-name = true\n\
                [[rule]]\nname = \"bytes\"\nknown-bytes-new-signer = true\n";
    // No rule asks for the past at first: it is made up for later.
    let mut watch = Watch { chunk_entries: 1, ..Watch::new(0) };
    let stranger = Author::new();
    let log = |author: &Author, name: &str, text: &str| {
        watch.served.log.lock().unwrap().admit(&author.claim(name, text));
    };
    log(&watch.author, "llama", "weights 1");
    log(&watch.author, "llama", "weights 2");
    watch.round().await;
    log(&watch.author, "llama", "weights 3");
    log(&stranger, "llama", "weights 4");
    log(&stranger, "alpaca", "weights 1");
    log(&stranger, "alpaca", "weights 5");
    log(&watch.author, "llama", "weights 6");
    watch = watch.rules(news);
    watch.round().await;
    let told: Vec<_> = watch.told();
    let expected = [("rule:signer", 3), ("rule:name", 4), ("rule:bytes", 4)];
    let expected = expected.map(|(kind, index)| (kind.to_owned(), Some(index)));
    assert_eq!(told, expected);
    let line: Value = serde_json::from_str(&watch.lines.lock().unwrap()[0]).unwrap();
    assert_eq!(line["facts"], serde_json::json!(["subject-name=llama"]));
    assert!(line["why"].as_str().unwrap().contains("by others only"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_stops_between_chunks_goes_on_there() {
    let mut watch = Watch { chunk_entries: 100, ..Watch::new(1000) }.rules(CLAIMS);
    let mut read = 0;
    for chunks in [0, 1, 2, 1] {
        watch.chunks_max = chunks;
        let round = watch.round().await;
        // A tile is never cut, so that chunks of at least 100 entries have 256.
        read += 256 * chunks as u64;
        assert_eq!(round.verified, read.min(1000));
        let expected: Vec<u64> = (0..round.verified).step_by(3).collect();
        assert_eq!(hits(&watch), expected);
    }
    watch.chunks_max = usize::MAX;
    watch.round().await;
    assert_eq!(hits(&watch), (0..1000).step_by(3).collect::<Vec<u64>>());
    watch.assert_index_is_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_line_and_state_neither_loses_a_finding_nor_tells_it_twice() {
    let watch = Watch::new(10).rules(CLAIMS);
    watch.round().await;
    let told = hits(&watch);
    let directory = watch.dir.path().join("log");
    // The lines of a round were synced, and its transaction never came: the index is as before.
    let before = TempDir::new().unwrap();
    let index = before.path().join("index");
    std::fs::copy(directory.join(store::INDEX_FILE), &index).unwrap();
    watch.grow(10);
    watch.round().await;
    std::fs::copy(&index, directory.join(store::INDEX_FILE)).unwrap();
    let whole = std::fs::read_to_string(directory.join("findings.jsonl")).unwrap();
    // And of the last line only a part.
    let cut = whole.trim_end().rsplit_once('\n').unwrap().0.len() + 20;
    std::fs::write(directory.join("findings.jsonl"), &whole[..cut]).unwrap();
    watch.lines.lock().unwrap().clear();
    let round = watch.round().await;
    assert_eq!((round.verified, round.exit()), (20, Exit::Policy));
    assert_eq!(hits(&watch), [18], "the others were on disk");
    let file = std::fs::read_to_string(directory.join("findings.jsonl")).unwrap();
    let ids: Vec<Option<u64>> =
        file.lines().map(|line| serde_json::from_str::<Line>(line).unwrap().index).collect();
    let expected: Vec<Option<u64>> = (0..20).step_by(3).map(Some).collect();
    assert_eq!(ids, expected);
    assert_eq!(told, [0, 3, 6, 9]);
    watch.assert_index_is_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_does_not_move_past_what_could_not_be_told() {
    let watch = Watch::new(10).rules(CLAIMS);
    let directory = watch.dir.path().join("log");
    std::fs::create_dir_all(directory.join("findings.jsonl")).unwrap();
    let round = watch.round().await;
    assert!(matches!(round.failure, Some(StoreError::File { .. })), "{:?}", round.failure);
    assert_eq!((round.verified, round.exit()), (0, Exit::Unavailable));
    std::fs::remove_dir(directory.join("findings.jsonl")).unwrap();
    watch.round().await;
    assert_eq!(hits(&watch), [0, 3, 6, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_nothing_but_faults_does_not_fill_the_disk() {
    let watch = Watch { chunk_entries: 5000, ..Watch::new(0) };
    {
        let mut log = watch.served.log.lock().unwrap();
        for at in 0..1500 {
            log.append(format!("nonsense {at}").into_bytes());
        }
    }
    let round = watch.round().await;
    assert_eq!((round.verified, round.tally.unreadable), (1500, 1500));
    let told = watch.told();
    assert_eq!(told.len(), 1001);
    assert_eq!(told[1000], ("entry-unparseable".to_owned(), Some(1000)));
    assert!(watch.lines.lock().unwrap()[1000].contains("500 more entries from 1000 to 1499"));
    assert_eq!((round.told.new_count(), round.told.new.len()), (1001, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_of_the_index_page_and_judge_the_logs_answers() {
    let watch = Watch::new(30);
    watch.round().await;
    let index = watch.index();
    let facts = [(Tag::SubjectName, "model")];
    let matching = index.matching(&facts).unwrap();
    let page = index.page(&matching, SearchOrder::Newest, Some(20), 3).unwrap();
    let found: Vec<u64> = page.hits.iter().map(|hit| hit.index).collect();
    assert_eq!((found, page.next), (vec![18, 15, 12], Some(9)));
    let page = index.page(&matching, SearchOrder::Oldest, Some(20), 100).unwrap();
    assert_eq!((page.hits.len(), page.next), (3, None));

    let (transport, trust) = (watch.served.transport(), watch.served.trust(Vec::new()));
    let log = LogReader::new(&transport, &trust);
    let facts = [("subject-name", "model")];
    let ask = async |order, enough| {
        let cover = (0, 0);
        let asked =
            crate::search_check::Asked { facts: &facts, order, cursor: None, enough, cover };
        crate::search_check::ask(&log, asked).await.unwrap()
    };
    for order in [SearchOrder::Newest, SearchOrder::Oldest] {
        for enough in [None, Some(4)] {
            let answered = ask(order, enough).await;
            assert!(index.compare(&answered, &matching).unwrap().is_empty());
        }
    }
    watch.tamper("search", |body| {
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        answer["entries"].as_array_mut().unwrap().retain(|hit| hit["index"] != "12");
        Some(answer.to_string().into_bytes())
    });
    let answered = ask(SearchOrder::Newest, None).await;
    assert_eq!(index.compare(&answered, &matching).unwrap().hidden, [12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cannot_end_a_search_that_covered_nothing() {
    use crate::search_check::{Asked, ask};
    let watch = Watch::new(40);
    let (transport, trust) = (watch.served.transport(), watch.served.trust(Vec::new()));
    let log = LogReader::new(&transport, &trust);
    let facts = [("subject-name", "model")];
    let search = async |order, cover| {
        ask(&log, Asked { facts: &facts, order, cursor: None, enough: Some(2), cover }).await
    };
    // Two hits are enough, but not before all of what is compared is covered.
    let answered = search(SearchOrder::Newest, (3, 30)).await.unwrap();
    assert!(answered.hits.contains_key(&3) && answered.compared((3, 30)) == (3, 30));
    for (field, value) in [("next", "40"), ("next", "39"), ("next", "0")] {
        watch.tamper("search", move |body| {
            let mut answer: Value = serde_json::from_slice(&body).unwrap();
            answer["entries"] = Vec::<Value>::new().into();
            answer[field] = value.into();
            Some(answer.to_string().into_bytes())
        });
        for order in [SearchOrder::Newest, SearchOrder::Oldest] {
            let error = search(order, (3, 30)).await.unwrap_err();
            assert!(matches!(error, LogError::Malformed { .. }), "{error}");
        }
    }
}

/// Answers about statements leave out the first, so that nobody gets further.
fn leave_out_the_first(watch: &Watch) {
    watch.tamper("POST /api/treering/v1/statements", |body| {
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        let statements = answer["statements"].as_object_mut().unwrap();
        let mut names: Vec<String> = statements.keys().cloned().collect();
        names.pop();
        names.iter().for_each(|name| drop(statements.remove(name)));
        answer["left_out"].as_array_mut().unwrap().extend(names.into_iter().map(Value::from));
        Some(answer.to_string().into_bytes())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_leaves_out_the_same_statements_for_ever_holds_nobody_up() {
    // Among many statements the first of the entries is left out sooner or later.
    let watch = Watch { with_identity: false, ..Watch::new(60) };
    leave_out_the_first(&watch);
    let round = tokio::time::timeout(std::time::Duration::from_secs(60), watch.round());
    let round = round.await.expect("the round ends");
    assert_eq!(round.exit(), Exit::Unavailable, "{:?}", round.told);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_asked_for_one_by_one_where_many_are_refused() {
    let watch = Watch { with_identity: false, ..Watch::new(20) };
    watch.tamper("POST /api/treering/v1/statements", |_| None);
    let missing = sha256(&Author::statement("model", "bytes 6"));
    watch.served.log.lock().unwrap().statements.remove(&missing).unwrap();
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified), (Exit::Alarm, 20), "{:?}", round.unread);
    assert_eq!(watch.told(), [("statement-missing".to_owned(), Some(6))]);
    assert_eq!(round.tally.verified, 19);
}
