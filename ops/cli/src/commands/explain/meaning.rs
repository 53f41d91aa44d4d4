//! What the codes of the API mean to an operator. docs/errors has a page for callers each.

/// Of a code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meaning {
    pub(super) words: &'static str,
    /// Of the runbook; none where it is the caller's own doing.
    pub(super) page: Option<&'static str>,
}

impl Meaning {
    pub(super) fn of(code: &str) -> Self {
        let (words, page) = match code {
            "invalid_credentials" => (
                "no such account, a wrong password, or an account that may not sign in: `explain user` says which",
                "users-cannot-log-in",
            ),
            "too_many_attempts" => (
                "a lock after failed attempts, a block of the account, or the wait of an emergency: `explain user` says which",
                "lockouts-rising",
            ),
            "rate_limited" => ("the address has used its budget: `explain address`", "limiter-triggers"),
            "too_many_changes" => (
                "requests of one account changed the same at once: its client should wait",
                "limiter-triggers",
            ),
            "blocked" => ("an operator has blocked the address: `explain address`", "credential-stuffing"),
            "invalid_refresh_token" => {
                ("the session has ended, or the token was never issued here", "users-cannot-log-in")
            }
            "refresh_token_reused" => (
                "a refresh token came a second time: the session was ended, since somebody else may hold it",
                "refresh-token-reuse",
            ),
            "invalid_mfa_token" => (
                "the sign-in took longer than five minutes, was finished before, or a new password overtook it",
                "mfa-issues",
            ),
            "invalid_code" => {
                ("a wrong code, one that was used, or a device whose clock is off", "mfa-issues")
            }
            "maintenance" => ("the mode maintenance was set", "maintenance-window"),
            "dependency_unavailable" => (
                "a table did not answer in time, or is known to be down: the fault is in the log",
                "service-down",
            ),
            "keyring_unavailable" => ("the function had no keyring and could not read one", "service-down"),
            "internal_error" => {
                ("a fault of the service's own, or a damaged item: it is in the log", "high-error-rate")
            }
            other => return Self { words: of_the_caller(other), page: None },
        };
        Self { words, page: Some(page) }
    }
}

fn of_the_caller(code: &str) -> &'static str {
    match code {
        "malformed_request" | "unsupported_media_type" | "payload_too_large" | "validation_failed" => {
            "the request does not have the form that the API takes"
        }
        "invalid_token" => {
            "an access token that is missing, expired, of another deployment, or of an ended session"
        }
        "reauthentication_required" => {
            "nothing was proven in the last ten minutes, or no second factor where the account has one"
        }
        "origin_not_allowed" => "a cookie from an origin that AllowedOrigins does not name",
        "not_found" | "method_not_allowed" => "there is no such route",
        "factor_not_found"
        | "challenge_not_applicable"
        | "factor_limit_reached"
        | "factor_already_confirmed" => "the state of the account's second factors",
        _ => "a code that this release of the command does not know",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_code_of_the_api_is_explained_and_every_page_exists() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let mut count = 0;
        for page in std::fs::read_dir(pages).unwrap() {
            let name = page.unwrap().file_name().into_string().unwrap();
            let meaning = Meaning::of(name.trim_end_matches(".md"));
            assert!(!meaning.words.contains("does not know"), "{name}");
            if let Some(page) = meaning.page {
                assert!(sallyport_runbooks::page(page).unwrap().is_some(), "{name}: {page}");
            }
            count += 1;
        }
        assert!(count > 20);
    }

    #[test]
    fn every_page_that_a_cause_names_exists() {
        let sources = ["mod.rs", "user.rs", "address.rs", "request.rs"];
        for source in sources {
            let path =
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/explain").join(source);
            let text = std::fs::read_to_string(path).unwrap();
            let calls = text.split("Cause::new(").skip(1).map(str::trim_start);
            // Where a page is passed on, it stands in the caller.
            for page in calls.filter(|call| call.starts_with('"')).filter_map(|call| call.split('"').nth(3)) {
                let known = sallyport_runbooks::page(page).unwrap().is_some();
                assert!(known || page.contains(' '), "{source}: {page}");
            }
        }
    }
}
