//! The C2SP face: checkpoint, tiles and entry tiles over plain sockets.

use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::tile::{decode_entries, decode_hashes};
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::server::Log;

use crate::refusals::write;

#[test]
fn every_width_of_a_tile_is_a_prefix_of_the_widest() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 300);
    let entries = check_log(&server, &mut history).entries;
    let leaves: Vec<Hash> = entries.iter().map(|entry| hash_leaf(entry)).collect();
    let mut connection = server.connect();
    for prefix in ["/", "/api/v2/"] {
        for (index, end) in [(0, 256), (1, 44)] {
            for width in 1..=end {
                let first = index * 256;
                let partial =
                    if width < 256 { format!("00{index}.p/{width}") } else { format!("00{index}") };
                let hashes = connection.get(&format!("{prefix}tile/0/{partial}")).unwrap();
                let expected = &leaves[first..first + width];
                assert_eq!(decode_hashes(&hashes.body).as_deref(), Some(expected), "{partial}");
                assert_eq!(hashes.body.len(), 32 * width);
                let bundle = connection.get(&format!("{prefix}tile/entries/{partial}")).unwrap();
                let decoded = decode_entries(&bundle.body, width as u64).unwrap();
                assert_eq!(decoded, entries[first..first + width]);
            }
        }
    }
}

#[test]
fn other_spellings_of_a_tile_are_refused_and_absent_ones_not_found() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 260);
    let mut connection = server.connect();
    for (path, status, label) in [
        ("tile/0/0", 400, "malformed-tile-path"),
        ("tile/0/0000", 400, "malformed-tile-path"),
        ("tile/00/000", 400, "malformed-tile-path"),
        ("tile/64/000", 400, "malformed-tile-path"),
        ("tile/-1/000", 400, "malformed-tile-path"),
        ("tile/0/x000/000", 400, "malformed-tile-path"),
        ("tile/0/001.p/0", 400, "malformed-tile-path"),
        ("tile/0/001.p/01", 400, "malformed-tile-path"),
        ("tile/0/001.p/256", 400, "malformed-tile-path"),
        ("tile/0/001.p/+1", 400, "malformed-tile-path"),
        ("tile/0/001.p/", 400, "malformed-tile-path"),
        ("tile/entries/1", 400, "malformed-tile-path"),
        ("tile/data/000", 400, "malformed-tile-path"),
        ("tile/0/..%2f000", 400, "malformed-tile-path"),
        ("tile/0/001", 404, "no-tile"),
        ("tile/0/001.p/5", 404, "no-tile"),
        ("tile/0/002", 404, "no-tile"),
        ("tile/1/000", 404, "no-tile"),
        ("tile/1/000.p/2", 404, "no-tile"),
        ("tile/63/000.p/1", 404, "no-tile"),
        ("tile/entries/001", 404, "no-tile"),
        ("tile/entries/001.p/5", 404, "no-tile"),
        ("tile/entries/x999/x999/x999/999", 404, "no-tile"),
    ] {
        for prefix in ["/", "/api/v2/"] {
            let response = connection.get(&format!("{prefix}{path}")).unwrap();
            assert_eq!(response.status, status, "{prefix}{path}: {}", response.text());
            assert_eq!(response.header("treering-error"), Some(label), "{prefix}{path}");
            assert_eq!(response.header("cache-control"), Some("no-store"), "{prefix}{path}");
        }
    }
    assert_eq!(connection.get("/tile/0/001.p/4").unwrap().status, 200);
    check_log(&server, &mut history);
}

#[test]
fn checkpoint_and_tiles_have_exactly_these_heads() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 4);
    for prefix in ["/", "/api/v2/"] {
        let response = server.get(&format!("{prefix}checkpoint"));
        let (length, head) = (response.body.len(), without_date(&response.head));
        let expected = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\
             cache-control: no-store\r\n{OPEN_TO_BROWSERS}content-length: {length}\r\n\r\n"
        );
        assert_eq!(head, expected);
        let text = response.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("127.0.0.1", "4", ""));
        assert!(lines[4].starts_with("\u{2014} 127.0.0.1 "), "the Ed25519 line is the first");
        history.saw(&text);
        let response = server.get(&format!("{prefix}tile/0/000.p/4"));
        let expected = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\
             cache-control: public, max-age=604800, immutable\r\n\
             {OPEN_TO_BROWSERS}content-length: 128\r\n\r\n"
        );
        assert_eq!(without_date(&response.head), expected);
    }
}

/// What lets a page of any site read every answer.
pub const OPEN_TO_BROWSERS: &str = "access-control-allow-origin: *\r\n\
    access-control-expose-headers: etag, location, x-log-index, treering-cut, \
    treering-error, treering-request\r\n";

/// A head without the lines that no test can know: the time, and the name of the request.
pub fn without_date(head: &str) -> String {
    let is_known =
        |line: &&str| !line.starts_with("date: ") && !line.starts_with("treering-request: ");
    head.split_inclusive("\r\n").filter(is_known).collect()
}
