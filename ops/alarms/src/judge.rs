//! From the periods of an alarm to its state: M out of N and missing data, as CloudWatch documents them under "Configuring
//! how CloudWatch alarms treat missing data".

use crate::alarm::{Missing, State};

/// CloudWatch looks further back than the alarm says, and takes the most recent N periods that have data.
pub(crate) const BEYOND: usize = 2;

/// One period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Missing,
    Within,
    Breaching,
    /// A percentile of so few values that it is to be ignored.
    Insignificant,
}

/// How periods are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) periods: usize,
    pub(crate) to_alarm: usize,
    pub(crate) missing: Missing,
}

/// The state that the periods, newest first, mean; none where the alarm stays as it is.
pub(crate) fn judge(newest_first: &[Slot], count: Count) -> Option<State> {
    if newest_first.first() == Some(&Slot::Insignificant) {
        return None;
    }
    let real: Vec<(usize, bool)> = newest_first
        .iter()
        .enumerate()
        .filter_map(|(age, slot)| match slot {
            Slot::Breaching => Some((age, true)),
            Slot::Within => Some((age, false)),
            Slot::Missing | Slot::Insignificant => None,
        })
        .collect();
    if real.is_empty() {
        return match count.missing {
            Missing::Missing => Some(State::InsufficientData),
            Missing::Ignore => None,
            Missing::Breaching => Some(State::Alarm),
            Missing::NotBreaching => Some(State::Ok),
        };
    }
    let counted = real.get(..count.periods).unwrap_or(&real);
    let breaching = counted.iter().filter(|(_, breaching)| *breaching).count();
    let filled = count.periods - counted.len();
    if breaching >= count.to_alarm {
        return Some(State::Alarm);
    }
    match count.missing {
        Missing::Breaching if breaching + filled >= count.to_alarm => Some(State::Alarm),
        // What is old enough, and followed by nothing better, is believed.
        Missing::Missing if filled > 0 && is_premature(&real, count.to_alarm) => Some(State::Alarm),
        Missing::Ignore if filled > 0 && is_premature(&real, count.to_alarm) => None,
        _ => Some(State::Ok),
    }
}

/// All that is there breaches, and the oldest of it is as old as the alarm asks for.
fn is_premature(real: &[(usize, bool)], to_alarm: usize) -> bool {
    real.iter().all(|(_, breaching)| *breaching) && real.last().is_some_and(|(age, _)| age + 1 >= to_alarm)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the documentation writes them: oldest first, `0` within, `X` breaching, `-` missing.
    fn slots(text: &str) -> Vec<Slot> {
        let slot = |letter| match letter {
            "0" => Slot::Within,
            "X" => Slot::Breaching,
            _ => Slot::Missing,
        };
        text.split(' ').rev().map(slot).collect()
    }

    /// What the table says for missing, ignore, breaching and notBreaching; none is "retain current state".
    fn check(text: &str, to_alarm: usize, expected: [Option<State>; 4]) {
        let ways = [Missing::Missing, Missing::Ignore, Missing::Breaching, Missing::NotBreaching];
        let found = ways.map(|missing| judge(&slots(text), Count { periods: 3, to_alarm, missing }));
        assert_eq!(found, expected, "{text}, {to_alarm} of 3");
    }

    const OK: Option<State> = Some(State::Ok);
    const ALARM: Option<State> = Some(State::Alarm);
    const RETAIN: Option<State> = None;

    #[test]
    fn the_documented_table_of_three_out_of_three() {
        check("0 - X - X", 3, [OK; 4]);
        check("0 - - - -", 3, [OK; 4]);
        check("- - - - -", 3, [Some(State::InsufficientData), RETAIN, ALARM, OK]);
        check("0 X X - X", 3, [ALARM; 4]);
        check("- - X - -", 3, [ALARM, RETAIN, ALARM, OK]);
    }

    #[test]
    fn the_documented_table_of_two_out_of_three() {
        check("0 - X - X", 2, [ALARM; 4]);
        check("0 0 X 0 X", 2, [ALARM; 4]);
        check("0 - X - -", 2, [OK, OK, ALARM, OK]);
        check("- - - - 0", 2, [OK, OK, ALARM, OK]);
        check("- - - X -", 2, [ALARM, RETAIN, ALARM, OK]);
    }

    #[test]
    fn the_newest_period_of_too_few_values_changes_nothing() {
        let count = Count { periods: 3, to_alarm: 1, missing: Missing::NotBreaching };
        assert_eq!(judge(&[Slot::Insignificant, Slot::Breaching, Slot::Breaching], count), None);
        assert_eq!(judge(&[Slot::Within, Slot::Insignificant, Slot::Insignificant], count), OK);
        assert_eq!(judge(&[Slot::Missing, Slot::Insignificant, Slot::Missing], count), OK);
    }

    #[test]
    fn a_heartbeat_that_stops_is_noticed_although_older_beats_are_seen() {
        let count = Count { periods: 3, to_alarm: 2, missing: Missing::Breaching };
        let after = |minutes: &str| judge(&slots(minutes), count);
        assert_eq!(after("0 0 0 0 -"), OK);
        assert_eq!(after("0 0 0 - -"), OK);
        assert_eq!(after("0 0 - - -"), OK);
        assert_eq!(after("0 - - - -"), ALARM);
    }
}
