//! Figures as people read them.

use std::time::Duration;

/// The digits of `value`, with commas.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits or the whole number, with commas.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 99.95 => grouped(value.round() as u64),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Whole microseconds, or milliseconds.
pub fn duration(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.0} µs") } else { format!("{:.2} ms", micros / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_commas() {
        assert_eq!(
            [0, 7, 999, 1000, 1_234_567].map(grouped),
            ["0", "7", "999", "1,000", "1,234,567"]
        );
        assert_eq!([0.5, 12.34, 99.96, 6909.4].map(number), ["0.50", "12.3", "100", "6,909"]);
        assert_eq!(
            [951, 999, 1600, 1_234_567].map(|micros| duration(Duration::from_micros(micros))),
            ["951 µs", "999 µs", "1.60 ms", "1234.57 ms"]
        );
    }
}
