use super::*;

const LIMITS: QuotaLimits = QuotaLimits { entries_per_minute: Some(2), bytes_per_day: Some(100) };

fn take(quotas: &Arc<Quotas>, who: &str, bytes: u64, now: u64) -> Result<Hold, QuotaRefusal> {
    quotas.take("rule", who, LIMITS, bytes, now).map(Option::unwrap)
}

fn keep(mut hold: Hold) {
    hold.keep();
}

fn later(ms: u64) -> QuotaRefusal {
    QuotaRefusal::Later(Duration::from_millis(ms))
}

#[test]
fn entries_are_counted_by_the_minute_and_refill_evenly() {
    let quotas = Arc::default();
    keep(take(&quotas, "a", 1, 0).unwrap());
    keep(take(&quotas, "a", 1, 0).unwrap());
    assert_eq!(take(&quotas, "a", 1, 0).unwrap_err(), later(30_000));
    assert_eq!(take(&quotas, "a", 1, 29_999).unwrap_err(), later(1));
    keep(take(&quotas, "a", 1, 30_000).unwrap());
    assert_eq!(take(&quotas, "a", 1, 30_000).unwrap_err(), later(30_000));
    // Others have their own, and nobody saves up more than a minute.
    keep(take(&quotas, "b", 1, 30_000).unwrap());
    let much_later = 30_000 + 10 * MINUTE_MS;
    keep(take(&quotas, "a", 1, much_later).unwrap());
    keep(take(&quotas, "a", 1, much_later).unwrap());
    assert_eq!(take(&quotas, "a", 1, much_later).unwrap_err(), later(30_000));
    // Time that goes back brings nothing, and takes nothing.
    assert_eq!(take(&quotas, "a", 1, 0).unwrap_err(), later(30_000));
}

#[test]
fn bytes_are_counted_by_the_day_and_an_entry_takes_from_both_or_none() {
    let quotas = Arc::default();
    keep(take(&quotas, "a", 60, 0).unwrap());
    let wait = DAY_MS * 20 / 100;
    assert_eq!(take(&quotas, "a", 60, 0).unwrap_err(), later(wait));
    // The refused one took no entry: there is room for a small one.
    keep(take(&quotas, "a", 40, 0).unwrap());
    assert_eq!(take(&quotas, "b", 101, 0).unwrap_err(), QuotaRefusal::Never);
}

#[test]
fn what_was_not_logged_is_given_back() {
    let quotas = Arc::default();
    for _ in 0..100 {
        drop(take(&quotas, "a", 100, 0).unwrap());
    }
    let mut hold = take(&quotas, "a", 100, 0).unwrap();
    hold.keep();
    assert!(take(&quotas, "a", 1, 0).is_err());
    hold.refund();
    keep(take(&quotas, "a", 100, 0).unwrap());
    // Never more than full.
    let held = take(&quotas, "b", 50, 0).unwrap();
    drop(held);
    keep(take(&quotas, "b", 100, DAY_MS).unwrap());
    assert!(take(&quotas, "b", 1, DAY_MS).is_err());
}

#[test]
fn no_limits_take_nothing_and_lower_limits_count_at_once() {
    let quotas: Arc<Quotas> = Arc::default();
    assert!(quotas.take("r", "a", QuotaLimits::default(), u64::MAX, 0).unwrap().is_none());
    let wide = QuotaLimits { entries_per_minute: Some(1000), bytes_per_day: None };
    let mut hold = quotas.take("r", "a", wide, u64::MAX, 0).unwrap().unwrap();
    hold.keep();
    let narrow = QuotaLimits { entries_per_minute: Some(1), bytes_per_day: None };
    let mut hold = quotas.take("r", "a", narrow, 1, 0).unwrap().unwrap();
    hold.keep();
    assert!(quotas.take("r", "a", narrow, 1, 0).is_err());
}

#[test]
fn a_crowd_does_not_refill_an_empty_bucket() {
    let quotas: Arc<Quotas> = Arc::default();
    for _ in 0..2 {
        keep(take(&quotas, "spent", 50, 0).unwrap());
    }
    for n in 0..BUCKETS_MAX + 100 {
        drop(take(&quotas, &n.to_string(), 1, 0).unwrap());
    }
    assert_eq!(quotas.buckets.lock().unwrap().len(), BUCKETS_MAX);
    assert!(take(&quotas, "spent", 1, 0).is_err());
}

#[test]
fn the_largest_limits_do_not_overflow() {
    let limits = QuotaLimits { entries_per_minute: Some(u64::MAX), bytes_per_day: Some(u64::MAX) };
    let quotas: Arc<Quotas> = Arc::default();
    for now in [0, u64::MAX] {
        let mut hold = quotas.take("r", "a", limits, u64::MAX, now).unwrap().unwrap();
        hold.keep();
        let refused = quotas.take("r", "a", limits, u64::MAX, now).unwrap_err();
        assert_eq!(refused, later(DAY_MS));
    }
}
