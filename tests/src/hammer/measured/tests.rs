use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn sample(due: u64, end: u64) -> Sample {
    Sample { due: seconds(due), end: seconds(end) }
}

fn tally(samples: Vec<Sample>) -> Tally {
    let last = samples.iter().map(|sample| sample.end).max().unwrap_or_default();
    Tally { samples, last, ..Tally::default() }
}

#[test]
fn percentiles_are_exact_over_all_samples() {
    let times = |range: std::ops::RangeInclusive<u64>| range.rev().map(seconds).collect();
    let latencies = Latencies::of(times(1..=100)).unwrap();
    assert_eq!(
        latencies,
        Latencies { p50: seconds(50), p95: seconds(95), p99: seconds(99), max: seconds(100) }
    );
    let latencies = Latencies::of(times(1..=3)).unwrap();
    assert_eq!((latencies.p50, latencies.p95, latencies.max), (seconds(2), seconds(3), seconds(3)));
    let latencies = Latencies::of(times(1..=1000)).unwrap();
    assert_eq!((latencies.p50, latencies.p99), (seconds(500), seconds(990)));
    let one = Latencies::of(vec![seconds(7)]).unwrap();
    assert_eq!((one.p50, one.max), (seconds(7), seconds(7)));
    assert_eq!(Latencies::of(Vec::new()), None);
}

#[test]
fn a_closed_loop_counts_what_ended_in_the_window() {
    let samples = vec![sample(0, 1), sample(1, 3), sample(3, 8), sample(8, 15)];
    let window = Window {
        started: Instant::now(),
        start: seconds(2),
        end: Some(seconds(12)),
        by_due: false,
    };
    let measured = Measured::of(tally(samples), window).unwrap();
    assert_eq!((measured.answers, measured.time, measured.whole), (4, seconds(10), seconds(15)));
    assert!((measured.rate - 0.2).abs() < 1e-9, "{}", measured.rate);
    assert_eq!(measured.latencies.unwrap().max, seconds(5));
}

#[test]
fn an_open_loop_counts_the_times_of_all_that_was_due_in_the_window() {
    let samples = vec![sample(1, 3), sample(2, 3), sample(11, 40), sample(12, 13)];
    let window =
        Window { started: Instant::now(), start: seconds(2), end: Some(seconds(12)), by_due: true };
    let measured = Measured::of(tally(samples), window).unwrap();
    assert!((measured.rate - 0.2).abs() < 1e-9, "two were whole in the window");
    let latencies = measured.latencies.unwrap();
    assert_eq!((latencies.p50, latencies.max), (seconds(1), seconds(29)));
}

#[test]
fn the_window_ends_at_the_last_answer_when_the_requests_are_used_up() {
    let window =
        Window { started: Instant::now(), start: Duration::ZERO, end: None, by_due: false };
    let measured = Measured::of(tally(vec![sample(0, 1), sample(1, 4)]), window).unwrap();
    assert_eq!((measured.time, measured.answers), (seconds(4), 2));
    let window = Window { start: seconds(9), ..window };
    let error = Measured::of(tally(vec![sample(0, 1), sample(1, 4)]), window).unwrap_err();
    assert!(error.to_string().contains("warming up"), "{error}");
}

#[test]
fn failures_are_counted_by_kind_and_keep_what_was_said_first() {
    let mut tally = tally(vec![sample(0, 1)]);
    let status = |label: &str| Failure::Status { code: 503, label: label.to_owned() };
    for (failure, said) in [
        (status("overloaded"), "first"),
        (status("overloaded"), "second"),
        (status(""), "plain"),
        (Failure::Timeout, "late"),
    ] {
        tally.failures.count(Failed::new(failure, said));
    }
    let mut all = Tally::default();
    all.failures.count(Failed::new(Failure::Timeout, "later"));
    all.add(tally);
    assert_eq!(all.failures.total(), 5);
    let shown: Vec<String> = all
        .failures
        .iter()
        .map(|(failure, counted)| format!("{failure} {} {}", counted.count, counted.said))
        .collect();
    assert_eq!(shown, ["timeout 2 later", "503 1 plain", "503 overloaded 2 first"]);
    let window =
        Window { started: Instant::now(), start: Duration::ZERO, end: None, by_due: false };
    let error = Measured::of(all, window).unwrap().faultless().unwrap_err();
    assert!(error.to_string().starts_with("5 requests failed"), "{error}");
}

#[test]
fn a_window_without_answers_is_no_measurement() {
    let window = Window {
        started: Instant::now(),
        start: Duration::ZERO,
        end: Some(seconds(1)),
        by_due: false,
    };
    let measured = Measured::of(Tally::default(), window).unwrap();
    assert_eq!(measured.latencies, None);
    assert!(measured.faultless().is_err());
}
