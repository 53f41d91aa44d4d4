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

/// A duration in its largest unit that is at least 2, so that nothing is off by half.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, name) in [(86_400, "days"), (3_600, "h"), (60, "min")] {
        if seconds >= 2 * unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_utc() {
        assert_eq!(moment(Timestamp::from_seconds(1_785_506_531)), "2026-07-31 14:02:11Z");
        assert_eq!(moment(Timestamp::from_seconds(0)), "1970-01-01 00:00:00Z");
        assert_eq!(moment(Timestamp::from_millis(u64::MAX)), "18446744073709551 s");
    }

    #[test]
    fn a_span_is_shown_in_its_largest_unit() {
        let shown = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|s| span(Duration::from_secs(s)));
        assert_eq!(shown, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
    }

    #[test]
    fn what_lies_ahead_is_not_ago() {
        let (early, late) = (Timestamp::from_seconds(100), Timestamp::from_seconds(160));
        assert_eq!(ago(early, late), "60 s ago");
        assert_eq!(ago(late, early), "in 60 s");
    }
}
