//! The games.

use std::time::Duration;

/// What is broken, who must notice, what is done.
pub(super) struct Game {
    pub(super) name: &'static str,
    pub(super) breaks: &'static str,
    /// What must fire.
    pub(super) alarm: &'static str,
    /// Minutes in which it must.
    pub(super) within: u64,
    pub(super) fault: Fault,
    /// Command lines of this very command, for whoever is paged; `INCIDENT` is the incident.
    pub(super) response: &'static [&'static str],
    /// From the mitigation of the alarm's page.
    pub(super) mitigation: &'static [&'static str],
    /// Whether the mitigation silences the alarm while the cause goes on.
    pub(super) silences: bool,
    /// What takes the mitigation back when the cause is gone.
    pub(super) afterwards: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// DynamoDB refuses each call of this table.
    Throttled(&'static str),
    /// Each call of this table takes so much longer.
    Slow(&'static str, Duration),
    /// Secrets Manager does not answer.
    Keyring,
    /// Wrong passwords for many accounts from the addresses of one network, and one that is right.
    Stuffing,
    /// The key that signs is past its time.
    OldKey,
}

impl Fault {
    /// Whether it begins and ends with time that nobody sees go by.
    pub(super) fn takes_time(self) -> bool {
        self == Self::OldKey
    }
}

/// Alarm parameters of a game: what a developer's machine can do in a minute is less than what an attacker can, and it is no
/// Lambda.
pub(super) const PARAMETERS: [(&str, &str); 2] = [("FailuresPerMinute", "30"), ("SlowResponseMs", "500")];

pub(super) const GAMES: [Game; 5] = [
    Game {
        name: "table-throttled",
        breaks: "DynamoDB throttles the throttle table: nobody can sign in",
        alarm: "database-throttles",
        within: 5,
        fault: Fault::Throttled("throttle"),
        response: &["runbook run database-throttles --section first-five-minutes --incident INCIDENT --yes"],
        mitigation: &["mode set degraded throttle --for 24h --reason gameday"],
        silences: true,
        afterwards: &["mode clear degraded throttle"],
    },
    Game {
        name: "keyring-unreachable",
        breaks: "Secrets Manager does not answer: functions live on their copies, and new ones cannot start",
        alarm: "service-down",
        within: 5,
        fault: Fault::Keyring,
        response: &["runbook run service-down --section first-five-minutes --incident INCIDENT --yes"],
        mitigation: &["doctor"],
        silences: false,
        afterwards: &[],
    },
    Game {
        name: "stuffing",
        breaks: "passwords that were stolen elsewhere are tried on many accounts, and one fits",
        alarm: "failure-spike",
        within: 5,
        fault: Fault::Stuffing,
        response: &["runbook run failure-spike --section first-five-minutes --incident INCIDENT --yes"],
        // Besides, it does what `top entered` and `top addresses` tell it to.
        mitigation: &["mode set emergency --for 24h --reason gameday"],
        silences: true,
        afterwards: &[
            "block remove 127.66.0.0/24",
            "mode clear emergency",
            "user disable gameday-victim@example.com",
        ],
    },
    Game {
        name: "slow-database",
        breaks: "every call of the users table takes longer than a function waits",
        alarm: "slow-responses",
        within: 15,
        fault: Fault::Slow("users", Duration::from_millis(900)),
        // Its page asks for the scrape token, which a game does not have.
        response: &["incident ack INCIDENT", "incident show INCIDENT"],
        mitigation: &["mode set degraded users --for 24h --reason gameday"],
        silences: true,
        afterwards: &["mode clear degraded users"],
    },
    Game {
        name: "expired-key",
        breaks: "the key that signs is past its 90 days",
        alarm: "key-age",
        within: 120,
        fault: Fault::OldKey,
        response: &["runbook run key-age --section first-five-minutes --incident INCIDENT --yes"],
        // It publishes the new key; the same command signs with it, once everybody knows it.
        mitigation: &["keys rotate"],
        silences: false,
        afterwards: &["keys rotate"],
    },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::ffi::OsString;

    use sallyport_alarms::{Parameters, Template};

    use super::*;
    use crate::cli::Invocation;

    #[test]
    fn every_game_is_about_an_alarm_of_the_template_and_its_commands_are_understood() {
        let parameters: Parameters =
            PARAMETERS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let template = Template::of_the_stack(&parameters).unwrap();
        for game in &GAMES {
            assert!(template.alarm(game.alarm).is_some(), "{}", game.alarm);
            assert!(!game.mitigation.is_empty(), "{}", game.name);
            for line in game.response.iter().chain(game.mitigation).chain(game.afterwards) {
                let line = line.replace("INCIDENT", "inc_01l5iiv3k0ab29fg");
                let words = std::iter::once("sallyport").chain(line.split(' ')).map(OsString::from);
                assert!(Invocation::read(words).is_ok(), "{}: {line}", game.name);
            }
        }
    }
}
