//! Times for people: UTC, and how long ago.

use std::time::Duration;

use sallyport_core::clock::Timestamp;

/// `2026-07-31 14:02:11Z`.
pub(crate) fn moment(at: Timestamp) -> String {
    i64::try_from(at.millis())
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map_or_else(|| format!("{} s", at.seconds()), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// How long `at` lies back.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", span(at.since(now))) } else { format!("{} ago", span(now.since(at))) }
}

/// A duration in its largest unit of which there are at least 2, so that nothing is off by half; to the nearest, since what was
/// just set for two hours ends in a little less.
pub(crate) fn span(duration: Duration) -> String {
    let nearest = |unit: u128| (duration.as_millis() + unit * 500) / (unit * 1_000);
    let (mut number, mut name) = (nearest(1), "s");
    for (unit, larger) in [(60, "min"), (3_600, "h"), (86_400, "days")] {
        // By the unit before: 119.6 s are 120, and 2 min.
        let two = if larger == "days" { 48 } else { 120 };
        if number < two {
            break;
        }
        (number, name) = (nearest(unit), larger);
    }
    format!("{number} {name}")
}

/// Reads `90s`, `15m`, `2h`, `7d`.
pub(crate) fn parse_span(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "a number and s, m, h or d, such as 90s, 15m, 2h or 7d";
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit: u64 = match text.strip_prefix(digits) {
        Some("s") => 1,
        Some("m" | "min") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(FORM),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| plain).ok_or(FORM)?;
    Ok(Duration::from_secs(number.checked_mul(unit).ok_or(FORM)?))
}

/// A moment that lies back: RFC 3339, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    At(Timestamp),
    Ago(Duration),
}

impl Since {
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(duration) => now.minus(duration),
        }
    }
}

/// Reads `2h` (ago) or `2026-07-31T14:00:00Z`.
pub(crate) fn parse_since(text: &str) -> Result<Since, &'static str> {
    if let Ok(duration) = parse_span(text) {
        return Ok(Since::Ago(duration));
    }
    let moment: jiff::Timestamp =
        text.parse().map_err(|_| "how long ago (2h), or a moment such as 2026-07-31T14:00:00Z")?;
    let millis = u64::try_from(moment.as_millisecond()).map_err(|_| "a moment after 1970")?;
    Ok(Since::At(Timestamp::from_millis(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_in_each_unit_and_nothing_else_does() {
        let read =
            ["90s", "15m", "15min", "2h", "7d", "0s"].map(|text| parse_span(text).map(|span| span.as_secs()));
        assert_eq!(read, [Ok(90), Ok(900), Ok(900), Ok(7_200), Ok(604_800), Ok(0)]);
        for text in [
            "",
            "h",
            "2",
            "2 h",
            "-2h",
            "+2h",
            "2.5h",
            "2w",
            "h2",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_given_by_the_clock_or_by_how_long_ago_it_was() {
        let now = Timestamp::from_seconds(1_785_506_531);
        let read = |text| parse_since(text).map(|since| since.moment(now).seconds());
        assert_eq!(read("2026-07-31T14:02:11Z"), Ok(1_785_506_531));
        assert_eq!(read("1h"), Ok(1_785_502_931));
        assert!(read("yesterday").is_err() && read("1960-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn a_moment_is_shown_in_utc() {
        assert_eq!(moment(Timestamp::from_seconds(1_785_506_531)), "2026-07-31 14:02:11Z");
        assert_eq!(moment(Timestamp::from_seconds(0)), "1970-01-01 00:00:00Z");
        assert_eq!(moment(Timestamp::from_millis(u64::MAX)), "18446744073709551 s");
    }

    #[test]
    fn a_span_is_shown_in_its_largest_unit() {
        let shown = [0, 119, 120, 5_400, 7_199, 7_200, 86_400, 172_799, 172_800, 220_000]
            .map(|s| span(Duration::from_secs(s)));
        assert_eq!(
            shown,
            ["0 s", "119 s", "2 min", "90 min", "2 h", "2 h", "24 h", "2 days", "2 days", "3 days"]
        );
        let just_set = [3_599_990, 86_399_990, 7_199_990, 119_600].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(just_set, ["60 min", "24 h", "2 h", "2 min"]);
    }

    #[test]
    fn what_lies_ahead_is_not_ago() {
        let (early, late) = (Timestamp::from_seconds(100), Timestamp::from_seconds(160));
        assert_eq!(ago(early, late), "60 s ago");
        assert_eq!(ago(late, early), "in 60 s");
    }
}
