//! No suite may find a secret of its actors in what the functions have logged.
//!
//! Actors note what they send and are given, as does whoever sends requests without them; a backend that ends looks for all
//! of it in its lines.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aho_corasick::AhoCorasick;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use local::LogLines;
use serde_json::Value;

use crate::answer::Answer;

/// Of the whole process: it has one log, whose lines go to the backend that started first.
static NOTED: Mutex<Noted> = Mutex::new(Noted::new());

struct Noted {
    /// One word each: tokens, keys, codes.
    words: BTreeSet<String>,
    /// Passwords and addresses, which may have spaces.
    texts: BTreeSet<String>,
    /// The log of the backend that started first.
    shared: Option<LogLines>,
}

impl Noted {
    const fn new() -> Self {
        Self { words: BTreeSet::new(), texts: BTreeSet::new(), shared: None }
    }
}

fn noted() -> MutexGuard<'static, Noted> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks when it is dropped, and fails the test that left a secret in a log.
#[derive(Debug)]
pub(crate) struct Watch(LogLines);

impl Watch {
    pub(crate) fn over(logs: LogLines) -> Self {
        noted().shared.get_or_insert_with(|| logs.clone());
        Self(logs)
    }

    /// Secrets of this process that stand in the backend's log or in the one that all share, with the line.
    pub(crate) fn leaks(&self) -> Vec<(String, String)> {
        let shared = noted().shared.clone().filter(|shared| !shared.is_of(&self.0));
        leaks(shared.iter().chain([&self.0]).flat_map(LogLines::all))
    }
}

/// Secrets of this process that stand in the lines, with the line.
fn leaks(lines: impl Iterator<Item = String>) -> Vec<(String, String)> {
    // Copied: whoever notes the next secret must not wait for the search.
    let (words, texts) = {
        let noted = noted();
        (noted.words.clone(), noted.texts.clone())
    };
    let texts: Vec<_> = texts.into_iter().collect();
    let search = AhoCorasick::new(&texts).unwrap();
    let is_word = |character: char| character.is_ascii_alphanumeric() || "-_.=+/~".contains(character);
    let mut found = Vec::new();
    for line in lines {
        let in_line = line.split(|character| !is_word(character));
        // A form, a cookie, a URI: what follows the name.
        let in_line = in_line.flat_map(|word| [Some(word), word.split_once('=').map(|(_, value)| value)]);
        let in_words = in_line.flatten().filter(|word| words.contains(*word));
        let in_texts = search.find_overlapping_iter(&line).map(|hit| texts[hit.pattern()].as_str());
        found.extend(in_words.chain(in_texts).map(|secret| (secret.to_owned(), line.clone())));
    }
    found
}

/// Fails the test when the lines of a backend in another process have a secret of this one, unless it fails already.
///
/// # Panics
/// That is how it fails.
pub fn none_in(lines: impl Iterator<Item = String>) {
    if std::thread::panicking() {
        return;
    }
    let found = leaks(lines);
    assert!(found.is_empty(), "secrets of this test are in the logs: {found:#?}");
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let found = self.leaks();
        assert!(found.is_empty(), "secrets of this test are in the logs: {found:#?}");
    }
}

/// Notes what a request without an actor holds, or its answer.
pub fn note(body: &Value) {
    of_json(body);
}

/// Notes the keys of a keyring, as it is stored.
pub(crate) fn keyring(document: &Value) {
    let keys = document.as_object().into_iter().flatten().filter_map(|(_, keys)| keys.as_array()).flatten();
    let keys = keys.flat_map(|key| [&key["private_key"], &key["key"]]);
    keys.filter_map(Value::as_str).for_each(secret);
}

/// Notes what a request holds.
pub(crate) fn of_request(request: &reqwest::Request) {
    for (name, value) in request.headers() {
        let value = value.to_str().unwrap_or_default();
        match name.as_str() {
            "authorization" => of_authorization(value),
            "cookie" => {
                value.split("; ").filter_map(|pair| pair.split_once('=')).for_each(|(_, value)| token(value));
            }
            _ => {}
        }
    }
    let Some(body) = request.body().and_then(reqwest::Body::as_bytes) else { return };
    match serde_json::from_slice::<Value>(body) {
        Ok(body) => of_json(&body),
        Err(_) => of_form(&String::from_utf8_lossy(body)),
    }
}

/// Notes what an answer gives.
pub(crate) fn of_answer(answer: &Answer) {
    // The `code` of a problem is no code of anybody's.
    if answer.status < 400 {
        of_json(&answer.json());
    }
    answer.cookies().iter().for_each(|(_, value, _)| token(value));
}

/// Notes a password, wherever it comes from.
pub fn password(text: &str) {
    let kinds = [char::is_lowercase as fn(char) -> bool, char::is_uppercase, char::is_numeric, is_mark];
    let kinds = kinds.iter().filter(|kind| text.chars().any(**kind)).count();
    let length = text.chars().count();
    // What anybody might say of anything ("undefined") is no password to look for.
    if length >= 12 || length >= 8 && kinds >= 3 {
        noted().texts.insert(text.chars().take(BEGINNING).collect());
    }
}

/// A password that is cut off in a log is as bad as a whole one, and one of a megabyte is not searched for at once.
const BEGINNING: usize = 64;

fn is_mark(character: char) -> bool {
    !character.is_alphanumeric()
}

/// Notes something that is one word and nobody's guess.
pub fn secret(text: &str) {
    if text.len() >= 16 {
        noted().words.insert(text.to_owned());
    }
}

/// Notes an address of mail.
pub fn address(text: &str) {
    if text.len() >= 8 && text.contains('@') {
        noted().texts.insert(text.to_owned());
    }
}

/// Notes a token, if it is one.
pub fn token(text: &str) {
    if text.len() >= 30 && ["eyJ", "spr_", "spd_"].iter().any(|start| text.starts_with(start)) {
        secret(text);
        text.rsplit('.').next().into_iter().for_each(secret);
    }
}

fn code(text: &str) {
    let digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits || text.len() >= 10 {
        noted().words.insert(text.to_owned());
    }
}

fn of_authorization(value: &str) {
    let (scheme, credentials) = value.split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        token(credentials);
    } else if scheme.eq_ignore_ascii_case("basic") {
        secret(credentials);
        let pair = STANDARD.decode(credentials).unwrap_or_default();
        String::from_utf8_lossy(&pair).split_once(':').into_iter().for_each(|(_, text)| secret(text));
    }
}

fn of_json(body: &Value) {
    for (name, value) in body.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => field(name, text),
            Value::Array(items) => items.iter().filter_map(Value::as_str).for_each(|text| field(name, text)),
            _ => {}
        }
    }
}

fn of_form(body: &str) {
    for (name, value) in body.split('&').filter_map(|pair| pair.split_once('=')) {
        field(name, value);
    }
}

fn field(name: &str, text: &str) {
    match name {
        "password" | "current_password" => password(text),
        "email" => address(text),
        "access_token" | "refresh_token" | "device_token" | "mfa_token" | "token" => token(text),
        "secret" | "client_secret" | "otpauth_uri" => secret(text),
        "code" | "recovery_codes" => code(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_secret_is_noted_and_common_words_are_not() {
        of_json(&serde_json::json!({
            "password": "Correct horse 0007", "email": "user0007@example.com", "code": "123456", "token": "unknown",
            "refresh_token": "spr_AQABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "recovery_codes": ["ABCDE-FGHIJ"],
            "label": "not a secret at all",
        }));
        of_authorization("Basic c2VydmljZTpzZXJ2aWNlLXNlY3JldC0wMDE=");
        password("undefined");
        let noted = noted();
        assert_eq!(
            noted.texts.iter().map(String::as_str).collect::<Vec<_>>(),
            ["Correct horse 0007", "user0007@example.com"]
        );
        assert_eq!(
            noted.words.iter().map(String::as_str).collect::<Vec<_>>(),
            [
                "123456",
                "ABCDE-FGHIJ",
                "c2VydmljZTpzZXJ2aWNlLXNlY3JldC0wMDE=",
                "service-secret-001",
                "spr_AQABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ]
        );
        drop(noted);
        let lines = [
            (1, r#"{"message":"token spr_AQABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA was used"}"#),
            (1, r#"{"message":"?secret=service-secret-001&code=1234567"}"#),
            (2, r#"{"message":"user0007@example.com said Correct horse 0007"}"#),
            (0, r#"{"message":"request","duration_ms":1234567,"code":"unknown"}"#),
        ];
        for (count, line) in lines {
            assert_eq!(leaks([line.to_owned()].into_iter()).len(), count, "{line}");
        }
    }
}
