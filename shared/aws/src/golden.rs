//! Items as each format was written by a release: every later one reads them, and so may run beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use data_encoding::BASE64;
use serde_json::Value;

use crate::{
    identity::audit::{Who, who},
    platform::item::{ITEM_FORMAT, Item},
    validate_item,
};

const TABLES: [&str; 6] = ["users", "sessions", "throttle", "outbox", "audit", "ops"];

/// DynamoDB's own JSON.
fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = || value.as_str().unwrap().to_owned();
    let texts = || value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "B" => AttributeValue::B(Blob::new(BASE64.decode(text().as_bytes()).unwrap())),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "NULL" => AttributeValue::Null(true),
        "SS" => AttributeValue::Ss(texts()),
        "NS" => AttributeValue::Ns(texts()),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(item(value)),
        other => panic!("no type {other}"),
    }
}

fn item(value: &Value) -> Item {
    value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// File, table and item.
fn items(format: u32) -> Vec<(String, &'static str, Item)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/items-v{format}"));
    fs::read_dir(&directory)
        .unwrap_or_else(|_| panic!("{} is missing", directory.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let table = TABLES.into_iter().find(|table| name.split('.').next() == Some(table)).unwrap();
            let value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            (name, table, item(&value))
        })
        .collect()
}

#[test]
fn items_of_every_format_that_was_ever_released_still_read() {
    for format in 1..=ITEM_FORMAT {
        for (name, table, item) in items(format) {
            assert_eq!(item.get("v"), Some(&AttributeValue::N(format.to_string())), "{name}");
            validate_item(table, &item).unwrap_or_else(|error| panic!("items-v{format}/{name}: {error}"));
        }
    }
}

#[test]
fn every_feature_that_stores_something_has_its_item() {
    let names: BTreeSet<_> = items(ITEM_FORMAT).into_iter().map(|(name, ..)| name).collect();
    for name in [
        "users.login",
        "users.profile",
        "users.factor",
        "users.recovery",
        "sessions.sessions",
        "sessions.proofs",
        "sessions.devices",
        "throttle.address",
        "throttle.login",
        "throttle.factor",
        "throttle.mfa_token",
        "throttle.wait",
        "outbox.message",
        "audit.user",
        "audit.deployment",
        "audit.by_operator",
        "audit.by_caller",
        "audit.by_function",
        "audit.from_device",
        "ops.client",
        "ops.flags",
        "ops.incident",
        "ops.timeline",
        "ops.cause",
        "ops.notice",
        "ops.proof",
        "ops.migration",
        "ops.gauge_day",
        "ops.gauge_shard",
    ] {
        assert!(names.contains(name), "no item {name}");
    }
}

/// What a release after this one may add: older readers run beside it until the canary has ended.
#[test]
fn an_attribute_that_a_later_release_adds_is_passed_over() {
    for (name, table, mut item) in items(ITEM_FORMAT) {
        item.insert("zz_of_the_next_release".to_owned(), AttributeValue::S("new".to_owned()));
        assert!(validate_item(table, &item).is_ok(), "{name} does not read with an attribute more");
    }
}

#[test]
fn who_acted_is_read_from_every_event_that_was_ever_written_and_never_from_what_a_caller_said() {
    let audit = items(1).into_iter().filter(|(_, table, _)| *table == "audit");
    let read: BTreeMap<_, _> = audit.map(|(name, _, item)| (name, who(&item))).collect();
    let ours = |actor: &str| Who { actor: actor.to_owned(), agent: None };
    let of_caller = |agent: &str| Who { actor: "caller".to_owned(), agent: Some(agent.to_owned()) };
    assert_eq!(read["audit.user"], ours("operator golden@example.com"));
    assert_eq!(read["audit.deployment"], ours("function keys"));
    assert_eq!(read["audit.by_operator"], ours("operator Ольга@desk"));
    assert_eq!(read["audit.by_function"], ours("function keys"));
    assert_eq!(read["audit.by_client"], ours("client billing"));
    assert_eq!(read["audit.by_caller"], of_caller("operator grace@desk"));

    // Of the release that had no actor: whatever came with a request, or from somewhere, is a caller's.
    let (_, _, old) = items(1).into_iter().find(|(name, ..)| name == "audit.user").unwrap();
    let with = |changes: &[(&str, &str)]| {
        let mut item = old.clone();
        for (name, value) in changes {
            item.insert((*name).to_owned(), AttributeValue::S((*value).to_owned()));
        }
        who(&item)
    };
    for agent in ["operator grace@desk", "function keys", "responder", "curl/8"] {
        for (address, request_id) in [("0.0.0.0", "an-id"), ("198.51.100.7", "an-id"), ("198.51.100.7", "")] {
            let changes = [("agent", agent), ("address", address), ("request_id", request_id)];
            assert_eq!(with(&changes), of_caller(agent), "{changes:?}");
        }
    }
    assert_eq!(with(&[("agent", "responder")]), ours("function responder"));
    assert_eq!(with(&[("agent", "curl/8")]), ours("unknown"));
    // A later release knows others that act.
    assert_eq!(with(&[("actor", "rule night"), ("agent", "curl/8")]), ours("rule night"));
}

#[test]
fn an_event_or_a_message_that_lacks_what_its_readers_show_is_corrupt() {
    for (name, table, whole) in items(ITEM_FORMAT) {
        if !matches!(table, "audit" | "outbox") {
            continue;
        }
        // Only some events have a detail or a session, or come from a known device, and the first release wrote no actor.
        let optional = ["detail", "session_id", "device", "actor"];
        for attribute in whole.keys().filter(|attribute| !optional.contains(&attribute.as_str())) {
            let mut item = whole.clone();
            item.remove(attribute);
            assert!(validate_item(table, &item).is_err(), "{name} reads without {attribute}");
        }
    }
}
