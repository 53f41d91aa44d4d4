use super::*;

const KEYRING: &str = "sallyport-local-keyring";
const FIRST: &str = "00000000-0000-4000-8000-000000000000";
const A: &str = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
const B: &str = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";

fn store() -> Store {
    let mut store = Store::open(None).unwrap();
    store.create(KEYRING, "{}", 1).unwrap();
    store
}

fn put(token: &str, value: &str, stages: &[&str]) -> Put {
    Put {
        secret: KEYRING.to_owned(),
        token: token.to_owned(),
        value: value.to_owned(),
        stages: stages.iter().map(|&s| s.to_owned()).collect(),
    }
}

fn value(store: &Store, stage: &str) -> Result<String, &'static str> {
    store
        .get(KEYRING, None, Some(stage))
        .map(|(_, _, v)| v.value.clone().unwrap_or_default())
        .map_err(|refusal| refusal.kind)
}

#[test]
fn a_new_secret_has_its_initial_value_and_is_found_by_name_and_arn() {
    let store = store();
    let (secret, id, version) = store.get(KEYRING, None, None).unwrap();
    assert_eq!((id, version.value.as_deref()), (FIRST, Some("{}")));
    let arn = secret.arn.clone();
    assert!(store.get(&arn, None, None).is_ok());
    assert!(store.get(arn.strip_suffix("-LoCaL1").unwrap(), None, None).is_ok());
    assert_eq!(store.get("other", None, None).unwrap_err().kind, "ResourceNotFoundException");
}

#[test]
fn the_same_token_with_the_same_content_succeeds_and_with_another_fails() {
    let mut store = store();
    store.put(put(A, "one", &[]), 2).unwrap();
    store.put(put(A, "one", &[]), 3).unwrap();
    let refusal = store.put(put(A, "two", &[]), 4).map(|_| ()).unwrap_err();
    assert_eq!(refusal.kind, "ResourceExistsException");
    assert_eq!(value(&store, "AWSCURRENT").unwrap(), "one");
    assert_eq!(store.describe(KEYRING).unwrap().versions.len(), 2);
}

#[test]
fn a_repeated_put_does_not_bring_an_old_version_back() {
    let mut store = store();
    store.put(put(A, "one", &[]), 2).unwrap();
    store.put(put(B, "two", &[]), 3).unwrap();
    store.put(put(A, "one", &[]), 4).unwrap();
    assert_eq!(value(&store, "AWSCURRENT").unwrap(), "two");
}

#[test]
fn what_was_current_becomes_previous() {
    let mut store = store();
    assert_eq!(value(&store, "AWSPREVIOUS"), Err("ResourceNotFoundException"));
    store.put(put(A, "one", &[]), 2).unwrap();
    assert_eq!(value(&store, "AWSPREVIOUS").unwrap(), "{}");
    store.put(put(B, "two", &[]), 3).unwrap();
    assert_eq!(value(&store, "AWSPREVIOUS").unwrap(), "one");
    assert!(store.describe(KEYRING).unwrap().versions[FIRST].stages.is_empty());
}

#[test]
fn a_rotation_moves_pending_to_current() {
    let mut store = store();
    store.put(put(A, "next", &["AWSPENDING"]), 2).unwrap();
    assert_eq!(
        (value(&store, "AWSCURRENT").unwrap(), value(&store, "AWSPENDING").unwrap()),
        ("{}".into(), "next".into())
    );
    let order = |to: Option<&str>, from: Option<&str>, stage: &str| Move {
        secret: KEYRING.to_owned(),
        stage: stage.to_owned(),
        to: to.map(str::to_owned),
        from: from.map(str::to_owned),
    };
    let refused = store.move_stage(&order(Some(A), None, "AWSCURRENT"), 3).map(|_| ()).unwrap_err();
    assert_eq!(refused.kind, "InvalidParameterException");
    store.move_stage(&order(Some(A), Some(FIRST), "AWSCURRENT"), 3).unwrap();
    store.move_stage(&order(None, Some(A), "AWSPENDING"), 3).unwrap();
    assert_eq!(value(&store, "AWSCURRENT").unwrap(), "next");
    assert_eq!(value(&store, "AWSPREVIOUS").unwrap(), "{}");
    assert_eq!(value(&store, "AWSPENDING"), Err("ResourceNotFoundException"));
    let refused = store.move_stage(&order(None, Some(A), "AWSCURRENT"), 4).map(|_| ()).unwrap_err();
    assert_eq!(refused.kind, "InvalidParameterException");
    let refused = store.move_stage(&order(Some(B), Some(A), "AWSCURRENT"), 4).map(|_| ()).unwrap_err();
    assert_eq!(refused.kind, "ResourceNotFoundException");
}

#[test]
fn a_token_has_32_to_64_characters() {
    let refusal = store().put(put("short", "one", &[]), 2).map(|_| ()).unwrap_err();
    assert_eq!(refusal.kind, "InvalidParameterException");
}

#[test]
fn a_file_keeps_the_secrets_for_their_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secrets.json");
    let mut store = Store::open(Some(file.clone())).unwrap();
    store.create(KEYRING, "{}", 1).unwrap();
    store.put(put(A, "one", &[]), 2).unwrap();
    let mut reopened = Store::open(Some(file.clone())).unwrap();
    reopened.create(KEYRING, "{}", 3).unwrap();
    assert_eq!(value(&reopened, "AWSCURRENT").unwrap(), "one");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::write(&file, "garbage").unwrap();
    assert!(Store::open(Some(file)).is_err());
}

#[test]
fn a_rotation_reserves_a_version_that_holds_nothing_until_it_is_filled() {
    let mut store = store();
    assert_eq!(store.reserve(KEYRING, A, 2).unwrap_err().kind, "InvalidRequestException");
    store.enable_rotation(KEYRING).unwrap();
    store.reserve(KEYRING, A, 2).unwrap();
    assert_eq!(value(&store, "AWSPENDING"), Err("ResourceNotFoundException"));
    let stages = &store.describe(KEYRING).unwrap().versions[A].stages;
    assert!(stages.contains("AWSPENDING"));
    // It stays under way until its stage is gone.
    assert_eq!(store.reserve(KEYRING, B, 3).unwrap_err().kind, "InvalidRequestException");
    store.put(put(A, "next", &["AWSPENDING"]), 3).unwrap();
    assert_eq!(value(&store, "AWSPENDING").unwrap(), "next");
    assert_eq!(value(&store, "AWSCURRENT").unwrap(), "{}");
    let order = Move {
        secret: KEYRING.to_owned(),
        stage: "AWSPENDING".to_owned(),
        to: None,
        from: Some(A.to_owned()),
    };
    store.move_stage(&order, 4).unwrap();
    store.reserve(KEYRING, B, 5).unwrap();
}
