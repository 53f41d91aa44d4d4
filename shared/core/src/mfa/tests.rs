#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    clock::Timestamp,
    ids::{FactorId, UserId},
    keyring::{KeyId, KeyState, Keyring},
    testing::{
        keyring::{document, keyring},
        random::SeededRandom,
    },
};

const USER: UserId = UserId::from_bytes([1; 16]);
const FACTOR: FactorId = FactorId::from_bytes([2; 16]);
const STEP: u64 = TOTP_STEP.as_secs();

/// The seed of both RFCs.
fn seed() -> Seed {
    Seed::from_bytes(b"12345678901234567890".to_vec())
}

fn vectors(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).unwrap();
    document["vectors"].as_array().unwrap().clone()
}

/// RFC 4226 5.3, written out: what the library is checked against where the RFCs have no row.
fn hotp(seed: &Seed, counter: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed.expose());
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

fn at_step(step: u64) -> Timestamp {
    Timestamp::from_seconds(step * STEP)
}

#[test]
fn rfc_6238_appendix_b_holds_for_sha_1_with_the_last_six_digits() {
    let vectors = vectors(include_str!("../../testdata/rfc6238_appendix_b.json"));
    let rows: Vec<_> = vectors.iter().filter(|row| row["algorithm"] == "SHA1").collect();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let (time, step) = (row["time"].as_u64().unwrap(), row["step"].as_u64().unwrap());
        // Eight digits modulo a million are six: the truncation is the same.
        let code = &row["totp"].as_str().unwrap()[2..];
        assert_eq!(row["totp6"], code);
        assert_eq!(
            matching_step(&seed(), code, Timestamp::from_seconds(time), None),
            Some(step),
            "at {time}"
        );
    }
}

#[test]
fn codes_of_the_other_hashes_of_rfc_6238_are_no_codes() {
    let vectors = vectors(include_str!("../../testdata/rfc6238_appendix_b.json"));
    let rows: Vec<_> = vectors.iter().filter(|row| row["algorithm"] != "SHA1").collect();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let now = Timestamp::from_seconds(row["time"].as_u64().unwrap());
        let seed = Seed::from_bytes(row["seed_ascii"].as_str().unwrap().as_bytes().to_vec());
        assert_eq!(matching_step(&seed, row["totp6"].as_str().unwrap(), now, None), None, "{row}");
    }
}

#[test]
fn rfc_4226_appendix_d_holds_for_each_counter() {
    let vectors = vectors(include_str!("../../testdata/rfc4226_appendix_d.json"));
    assert_eq!(vectors.len(), 10);
    for row in vectors {
        let (counter, code) = (row["counter"].as_u64().unwrap(), row["hotp"].as_str().unwrap());
        assert_eq!(hotp(&seed(), counter), code, "the reference of these tests");
        assert_eq!(matching_step(&seed(), code, at_step(counter), None), Some(counter));
    }
}

#[test]
fn time_does_not_end_in_2038_nor_in_2106_nor_when_steps_outgrow_32_bits() {
    // 2^31, 2^32, RFC 6238's 20000000000 (the year 2603), and 2^32 steps (the year 6053).
    for seconds in [1_u64 << 31, 1 << 32, 20_000_000_000, (1 << 32) * STEP, (1 << 33) * STEP + 7] {
        let step = seconds / STEP;
        let code = hotp(&seed(), step);
        let now = Timestamp::from_seconds(seconds);
        assert_eq!(matching_step(&seed(), &code, now, None), Some(step), "{seconds}");
        assert_eq!(matching_step(&seed(), &code, now, Some(step)), None, "{seconds}");
    }
}

#[test]
fn a_code_counts_one_step_early_and_one_step_late_and_no_more() {
    // CVE-2024-7318: a code that lived 30 seconds longer than documented.
    let code = hotp(&seed(), 1000);
    let first = Timestamp::from_seconds(999 * STEP);
    let last = Timestamp::from_millis(1002 * STEP * 1000 - 1);
    assert_eq!(matching_step(&seed(), &code, first, None), Some(1000));
    assert_eq!(matching_step(&seed(), &code, last, None), Some(1000));
    assert_eq!(matching_step(&seed(), &code, Timestamp::from_millis(first.millis() - 1), None), None, "T+2");
    assert_eq!(matching_step(&seed(), &code, Timestamp::from_millis(last.millis() + 1), None), None, "T-2");
}

#[test]
fn a_step_that_was_accepted_is_refused_and_so_is_every_step_before_it() {
    // CVE-2026-82470 and others: a code of T-1 after one of T, still within the window.
    let now = at_step(1000);
    let code = |step| hotp(&seed(), step);
    for (last, accepted) in [
        (None, [true, true, true]),
        (Some(998), [true, true, true]),
        (Some(999), [false, true, true]),
        (Some(1000), [false, false, true]),
        (Some(1001), [false, false, false]),
        (Some(5000), [false, false, false]),
        (Some(u64::MAX), [false, false, false]),
    ] {
        for (step, accepted) in (999..=1001).zip(accepted) {
            let expected = accepted.then_some(step);
            assert_eq!(matching_step(&seed(), &code(step), now, last), expected, "{step} after {last:?}");
        }
    }
}

#[test]
fn of_a_code_that_two_steps_share_the_earlier_is_taken_and_the_later_is_left() {
    // One pair in half a million does: it must not turn the rule about earlier steps around.
    let step = (0_u64..5_000_000).find(|step| hotp(&seed(), *step) == hotp(&seed(), step + 1)).unwrap();
    let code = hotp(&seed(), step);
    assert_eq!(matching_step(&seed(), &code, at_step(step), None), Some(step));
    assert_eq!(matching_step(&seed(), &code, at_step(step), Some(step)), Some(step + 1));
    assert_eq!(matching_step(&seed(), &code, at_step(step), Some(step + 1)), None);
}

#[test]
fn the_first_steps_of_1970_have_no_step_before_them() {
    assert_eq!(matching_step(&seed(), "755224", at_step(0), None), Some(0));
    assert_eq!(matching_step(&seed(), "755224", at_step(1), Some(0)), None);
}

#[test]
fn no_variant_of_a_code_is_a_code() {
    // CVE-2025-6014, CVE-2025-6015: white space made a second use or a second budget.
    let now = at_step(0);
    assert_eq!(matching_step(&seed(), "755224", now, None), Some(0));
    for variant in [
        "",
        "755224 ",
        " 755224",
        "755 224",
        "755-224",
        "755224\n",
        "\t755224",
        "755224\u{0}",
        "\u{a0}755224",
        "0755224",
        "75522",
        "7552244",
        "+55224",
        "755224.",
        "7.55224",
        "755,224",
        "0x755224",
        "755224e0",
        "seven5",
        "\u{ff17}\u{ff15}\u{ff15}\u{ff12}\u{ff12}\u{ff14}",
        "\u{667}\u{665}\u{665}\u{662}\u{662}\u{664}",
        "75522\u{664}",
        "\u{7ed}\u{7ed}\u{7ed}",
        "\u{200b}755224",
        "755224\u{200d}",
        "\u{202e}422557",
        "-755224",
        "+755224",
        "84755224",
        "\u{665}\u{665}\u{664}",
    ] {
        assert_eq!(matching_step(&seed(), variant, now, None), None, "{variant:?}");
    }
}

proptest! {
    #[test]
    fn a_code_is_accepted_in_its_own_window_only(
        bytes in proptest::collection::vec(any::<u8>(), 20),
        step in 2_u64..1 << 40,
        now in -3_i64..=3,
        last in proptest::option::of(-3_i64..=3),
    ) {
        let seed = Seed::from_bytes(bytes);
        let code = hotp(&seed, step);
        let now = step.checked_add_signed(now).unwrap();
        let last = last.and_then(|last| step.checked_add_signed(last));
        // Written anew: every step of the window whose code it is and that lies above the last.
        let window = now.saturating_sub(1)..=now + 1;
        let expected = window.into_iter().find(|at| hotp(&seed, *at) == code && last.is_none_or(|last| *at > last));
        prop_assert_eq!(matching_step(&seed, &code, at_step(now), last), expected);
    }

    #[test]
    fn no_text_makes_the_check_panic(text in "\\PC{0,12}", seconds: u64) {
        let found = matching_step(&seed(), &text, Timestamp::from_seconds(seconds), None);
        prop_assert!(found.is_none() || text.len() == 6);
    }

    #[test]
    fn a_seed_reads_back_what_was_sealed(bytes in proptest::collection::vec(any::<u8>(), 0..64), user: [u8; 16], factor: [u8; 16]) {
        let (keyring, random) = (keyring(), SeededRandom::new(1));
        let (user, factor) = (UserId::from_bytes(user), FactorId::from_bytes(factor));
        let sealed = Seed::from_bytes(bytes.clone()).seal(&keyring, &random, user, factor).unwrap();
        let stored = SealedSeed::from_bytes(sealed.as_bytes().to_vec());
        let opened = stored.open(&keyring, user, factor).unwrap();
        prop_assert_eq!(opened.expose(), bytes.as_slice());
    }

    #[test]
    fn no_text_but_a_code_reads_as_a_recovery_code(text in "\\PC{0,40}", near in "[A-Za-z0-9 –-]{20,34}") {
        for text in [text, near] {
            let letters: Vec<_> = text.chars().filter(|character| !SEPARATORS.contains(character)).collect();
            let one = |letter: &char| matches!(letter.to_ascii_lowercase(), 'a'..='z' | '2'..='8' | '0');
            let well_formed = letters.len() == 24 && letters.iter().all(one);
            prop_assert_eq!(RecoveryCode::parse(&text).is_some(), well_formed, "{}", text);
        }
    }

    #[test]
    fn however_a_recovery_code_is_typed_it_is_the_one_code(
        seed: u64, between in proptest::collection::vec(0..=SEPARATORS.len(), 25), shift in proptest::collection::vec(0..4, 24),
    ) {
        let code = RecoveryCode::generate(&SeededRandom::new(seed)).unwrap();
        let mut typed = String::new();
        let put = |typed: &mut String, index: usize| typed.extend(SEPARATORS.get(between[index]));
        for (index, letter) in code.expose().chars().filter(|letter| *letter != '-').enumerate() {
            put(&mut typed, index);
            typed.push(match (shift[index], letter) {
                (1, letter) => letter.to_ascii_uppercase(),
                (2, 'o') => '0',
                (2, 'b') => '8',
                (_, letter) => letter,
            });
        }
        put(&mut typed, 24);
        let read = RecoveryCode::parse(&typed);
        prop_assert_eq!(read.as_ref().map(RecoveryCode::expose), Some(code.expose()), "{:?}", typed);
    }
}

/// What people, keyboards and clipboards put between letters.
const SEPARATORS: [char; 13] = [
    ' ', '\t', '\r', '\n', '\u{a0}', '-', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}',
    '\u{2015}', '\u{2212}',
];

fn sealed(keyring: &Keyring) -> SealedSeed {
    seed().seal(keyring, &SeededRandom::new(1), USER, FACTOR).unwrap()
}

#[test]
fn a_seed_is_sealed_anew_each_time_and_shows_nothing_of_itself() {
    let (keyring, random) = (keyring(), SeededRandom::new(1));
    let one = seed().seal(&keyring, &random, USER, FACTOR).unwrap();
    let other = seed().seal(&keyring, &random, USER, FACTOR).unwrap();
    assert_ne!(one, other, "another nonce");
    assert_eq!(one.as_bytes().len(), 2 + 12 + 20 + 16);
    assert!(!one.as_bytes().windows(8).any(|window| seed().expose().windows(8).any(|part| part == window)));
    assert!(!format!("{:?}", seed()).contains("49"), "{:?}", seed());
}

#[test]
fn a_sealed_seed_opens_for_its_user_and_its_factor_only() {
    let keyring = keyring();
    let sealed = sealed(&keyring);
    assert_eq!(sealed.open(&keyring, USER, FACTOR).unwrap().expose(), seed().expose());
    let other_user = UserId::from_bytes([9; 16]);
    let other_factor = FactorId::from_bytes([9; 16]);
    // A user's id in the factor's place and the other way round, too.
    let exchanged = (UserId::from_bytes(*FACTOR.as_bytes()), FactorId::from_bytes(*USER.as_bytes()));
    for (user, factor) in [(other_user, FACTOR), (USER, other_factor), exchanged] {
        assert_eq!(sealed.open(&keyring, user, factor).err(), Some(SeedError::Damaged));
    }
}

#[test]
fn no_changed_byte_leaves_a_sealed_seed_readable() {
    let keyring = keyring();
    let sealed = sealed(&keyring);
    for index in 0..sealed.as_bytes().len() {
        for bit in 0..8 {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[index] ^= 1 << bit;
            assert!(
                SealedSeed::from_bytes(bytes).open(&keyring, USER, FACTOR).is_err(),
                "bit {bit} of byte {index}"
            );
        }
    }
    for length in 0..sealed.as_bytes().len() {
        let bytes = sealed.as_bytes()[..length].to_vec();
        assert!(SealedSeed::from_bytes(bytes).open(&keyring, USER, FACTOR).is_err(), "{length} bytes");
    }
    let longer = [sealed.as_bytes(), &[0]].concat();
    assert_eq!(SealedSeed::from_bytes(longer).open(&keyring, USER, FACTOR).err(), Some(SeedError::Damaged));
}

#[test]
fn a_sealed_seed_opens_with_the_key_that_it_names_only() {
    let before = document();
    let sealed = sealed(&Keyring::from_document(&before).unwrap());
    // Rotated: the old key still opens what it sealed.
    let mut rotated = before.clone();
    rotated.aead[0].state = KeyState::Previous;
    rotated.aead.push(before.refresh[0].clone());
    rotated.aead[1].id = KeyId(2);
    let keyring = Keyring::from_document(&rotated).unwrap();
    assert_eq!(sealed.open(&keyring, USER, FACTOR).unwrap().expose(), seed().expose());
    // Said to be sealed with the new key.
    let mut renamed = sealed.as_bytes().to_vec();
    renamed[..2].copy_from_slice(&[0, 2]);
    assert_eq!(
        SealedSeed::from_bytes(renamed.clone()).open(&keyring, USER, FACTOR).err(),
        Some(SeedError::Damaged)
    );
    // The same key under another id: the id is authenticated, not only looked up.
    rotated.aead[1].key = before.aead[0].key.clone();
    let keyring = Keyring::from_document(&rotated).unwrap();
    assert_eq!(SealedSeed::from_bytes(renamed).open(&keyring, USER, FACTOR).err(), Some(SeedError::Damaged));
    // Revoked.
    rotated.aead[0].state = KeyState::Revoked;
    let keyring = Keyring::from_document(&rotated).unwrap();
    assert_eq!(sealed.open(&keyring, USER, FACTOR).err(), Some(SeedError::KeyMissing(KeyId(1))));
}

#[test]
fn recovery_codes_are_four_groups_of_six_letters_and_no_two_are_alike() {
    let random = SeededRandom::new(1);
    let codes: Vec<_> = (0..1000).map(|_| RecoveryCode::generate(&random).unwrap()).collect();
    let shown: BTreeSet<_> = codes.iter().map(RecoveryCode::expose).collect();
    assert_eq!(shown.len(), codes.len());
    for code in &codes {
        let groups: Vec<_> = code.expose().split('-').map(str::len).collect();
        assert_eq!(groups, [6, 6, 6, 6]);
        assert_eq!(RecoveryCode::parse(code.expose()).unwrap().hash(USER), code.hash(USER));
        assert!(!format!("{code:?} {:?}", code.hash(USER)).contains(code.expose()));
    }
    // All 120 bits are drawn: each of the 24 letters takes each of the 32 values.
    for place in (0..27).filter(|place| place % 7 != 6) {
        let letters: BTreeSet<_> = codes.iter().map(|code| code.expose().as_bytes()[place]).collect();
        assert_eq!(letters.len(), 32, "place {place}");
    }
}

#[test]
fn a_recovery_code_is_hashed_with_its_user() {
    let code = RecoveryCode::parse("abcdef-ghijkl-mnopqr-stuv27").unwrap();
    let other = RecoveryCode::parse("abcdef-ghijkl-mnopqr-stuv26").unwrap();
    assert_ne!(code.hash(USER), code.hash(UserId::from_bytes([9; 16])));
    assert_ne!(code.hash(USER), other.hash(USER));
    let expected = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        &[&b"recovery"[..], USER.as_bytes(), b"abcdef-ghijkl-mnopqr-stuv27"].concat(),
    );
    assert_eq!(code.hash(USER).as_bytes(), expected.as_ref(), "what is stored must stay readable");
}

#[test]
fn a_recovery_code_is_read_as_people_type_it_and_as_one_code() {
    let shown = "abcdef-ghijkl-mnopqr-stuv27";
    for typed in [
        shown,
        "ABCDEF-GHIJKL-MNOPQR-STUV27",
        "Abcdef-ghijkl-mnopqr-stuv27",
        "abcdefghijklmnopqrstuv27",
        "abcdef ghijkl mnopqr stuv27",
        " abcdef-ghijkl-mnopqr-stuv27",
        "abcdef-ghijkl-mnopqr-stuv27 ",
        "abcdef-ghijkl-mnopqr-stuv27\r\n",
        "abcdef--ghijkl-mnopqr-stuv27-",
        "abcdef\u{2010}ghijkl\u{2011}mnopqr\u{2013}stuv27",
        "abcdef\u{a0}ghijkl\u{2212}mnopqr\u{2014}stuv27",
        "abcde-fghijkl-mnopqr-stuv27",
        "a8cdef-ghijkl-mn0pqr-stuv27",
    ] {
        assert_eq!(RecoveryCode::parse(typed).unwrap().expose(), shown, "{typed:?}");
    }
    let long = format!("{shown}{}", " ".repeat(38));
    for other in [
        "",
        "-",
        "---",
        "abcdef-ghijkl-mnopqr-stuv27-abcdef",
        "abcdef-ghijkl-mnopqr",
        "abcdef-ghijkl-mnopqr-stuv2",
        "abcdef-ghijkl-mnopqr-stuv277",
        // Two letters look like it.
        "abcdef-gh1jkl-mnopqr-stuv27",
        "abcdef-ghijkl-mnopqr-stuv29",
        "abcdef-ghijkl-mnopqr-stuv2!",
        "abcdef-ghijkl-mnopqr-stuv\u{b2}\u{b2}",
        "\u{430}bcdef-ghijkl-mnopqr-stuv27",
        "abcdef-ghij\u{212a}l-mnopqr-stuv27",
        "abcdef_ghijkl_mnopqr_stuv27",
        "abcdef\u{0}ghijklmnopqrstuv27",
        long.as_str(),
    ] {
        assert!(RecoveryCode::parse(other).is_none(), "{other:?}");
    }
}

fn shown() -> Enrolled {
    enrolment(&seed(), "Sallyport", "ada@example.com").unwrap()
}

#[test]
fn an_enrolment_shows_the_secret_as_apps_take_it() {
    let shown = shown();
    insta::assert_snapshot!(shown.secret.expose(), @"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    insta::assert_snapshot!(shown.otpauth_uri.expose(), @"otpauth://totp/Sallyport:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Sallyport");
    assert!(!format!("{shown:?}").contains("GEZDG"), "no part of it is printed");
}

/// The modules of a QR code, read back from the SVG: two rows of them a line.
fn modules(svg: &str) -> Vec<Vec<bool>> {
    let number = |text: &str, name: &str| -> usize {
        let from = text.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        text[from..].split('"').next().unwrap().parse().unwrap()
    };
    let size = number(svg, "width");
    let path = svg.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
    let squares: Vec<(usize, usize, usize)> = path
        .split('M')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (x, rest) = part.split_once(' ').unwrap();
            let (y, rest) = rest.split_once('h').unwrap();
            let (width, _) = rest.split_once('v').unwrap();
            (x.parse().unwrap(), y.parse().unwrap(), width.parse().unwrap())
        })
        .collect();
    let unit = squares.iter().map(|(_, _, width)| *width).min().unwrap();
    let mut modules = vec![vec![false; size / unit]; size / unit];
    for (x, y, width) in squares {
        for column in 0..width / unit {
            modules[y / unit][x / unit + column] = true;
        }
    }
    modules
}

#[test]
fn the_qr_code_is_the_uri_with_a_quiet_zone_around() {
    let shown = shown();
    let svg = shown.qr_svg.expose();
    assert!(svg.starts_with("<?xml version=\"1.0\" standalone=\"yes\"?><svg "), "{}", &svg[..80]);
    for forbidden in ["<script", "<image", "href", "<!", "javascript"] {
        assert!(!svg.contains(forbidden), "{forbidden}");
    }
    let read = modules(svg);
    let code = qrcode::QrCode::new(shown.otpauth_uri.expose()).unwrap();
    let quiet = (read.len() - code.width()) / 2;
    assert_eq!(quiet, 4, "ISO 18004 wants four modules of quiet");
    let dark = code.to_colors();
    for (y, row) in read.iter().enumerate() {
        for (x, module) in row.iter().enumerate() {
            let inside =
                (quiet..quiet + code.width()).contains(&x) && (quiet..quiet + code.width()).contains(&y);
            let expected = inside && dark[(y - quiet) * code.width() + (x - quiet)] == qrcode::Color::Dark;
            assert_eq!(*module, expected, "{x} {y}");
        }
    }
    let inside = quiet..quiet + code.width();
    let drawn: Vec<String> = read[inside.clone()]
        .chunks(2)
        .map(|rows| {
            let lower = |x: usize| rows.get(1).is_some_and(|row| row[x]);
            let line: String = inside
                .clone()
                .map(|x| match (rows[0][x], lower(x)) {
                    (true, true) => '\u{2588}',
                    (true, false) => '\u{2580}',
                    (false, true) => '\u{2584}',
                    (false, false) => ' ',
                })
                .collect();
            line.trim_end().to_owned()
        })
        .collect();
    insta::assert_snapshot!(drawn.join("\n"), @r"
    █▀▀▀▀▀█ █▄ ▀█ ▀ ▀▄  █▀ ██ ▀▀█ █▀▀ █▀▀▀▀▀█
    █ ███ █ ▀ ▀▀▄ ▄█ ▀▀▀█▀▄██  █▄▄█▄  █ ███ █
    █ ▀▀▀ █ ▀▄ ▄▄█ ▀ █▀▀█ ▀▄  ▀ ▀  ▀▄ █ ▀▀▀ █
    ▀▀▀▀▀▀▀ ▀▄▀▄█ █▄▀ █▄▀ ▀ ▀▄█▄▀ ▀▄▀ ▀▀▀▀▀▀▀
    █▄▄▀▀█▀█▀▀█▄▄▀█▀▀▀▀▄▀  ▄▀▄▄█ ▀█▄▄▀  █▄▀█▀
    ▀  ▄  ▀▄▄▀█▀▀▀ █ █▀▄▀  █▀▀▄▀ ██▄▀▀▄  █ ▀▀
     ▄▄▄  ▀█▄▄█▀ █▀█▄███▄▄▄ ▀▄▄▀▀▄▄ ▄█▄█▄▄▄▀▀
    ██▄█ ▀▀▀ █▄█▀ ▄ ▄▄▀▀█▄▀█▀ ▀▀███  ▄█ █ ▄▀
    █▄▄▀▀▀▀█▄█▄▄█ █  ▄▀▄ █▄ █▀▀▀██ ▀ ▄  ▄ ▄
    ▄█  ▄█▀▀ ▄ ▀▀█  ▀▀▀▀▄▄ ▀▄█▀▄ ▄  █▄▀ █▄  ▀
    ▀▄ █▄ ▀█ ▄▄█▄▄█▄█▄▀███▄█▀█ ▄▀█▀▄ ▄▀▀    ▀
    ▄▀████▀█ █▀▀██  █▄█ █▀ ▀▄▀▄█ ▄   █▄▄▀▀▀
    ▀▄▀  ▀▀▄█ █ ▀█▀▀  ▄▀  ▄█▀▀ ▄▄▄ ▀▄ ▀▀▄ ███
    █▄ █▄▀▀▀▀ ▄ █ ▀▄████▀ █ ▄▀▀█  ▄▀▄ ▀█▄█▄▀
    ▄▄ ▀▄▀▀██▀▀▄▄▀▄█ ▀ ▀█▄██▄██ ▄ ▄█ █ ▄▄█ ▀█
    ██▄▄██▀█▄▄███  ▄▀█▀ ▀ ▀▀▄▄ █▀▄▄▀▀ ▀██▄█ ▄
    ▀▀▀▀▀▀▀ ▄██▄ ▀▀█▄█▀ █▀█ ▀▄▄ █▄▄▀█▀▀▀█▄▀
    █▀▀▀▀▀█ █▀ ▄██▀▄  ▄▀▀▀ █▄█ ▄ █▀▀█ ▀ █▀▀▄▄
    █ ███ █ █▀█  █▄▀▀▀▄  ▀██ █▄█▀ ▀▀██▀▀▀▀▀██
    █ ▀▀▀ █  ▄  ▀▀▄▀ █ ▀▀▀█▄   ▀  ▄▀▀▀ ▀█▀▀▀█
    ▀▀▀▀▀▀▀ ▀   ▀▀      ▀ ▀ ▀▀ ▀   ▀▀▀ ▀▀
    ");
}

#[test]
fn names_with_colons_and_spaces_stay_one_name() {
    let uri = |issuer: &str, account: &str| {
        enrolment(&seed(), issuer, account).map(|shown| shown.otpauth_uri.expose().clone())
    };
    insta::assert_snapshot!(uri("Acme: Login & Co", "ada+test@example.com").unwrap(), @"otpauth://totp/Acme%20%20Login%20%26%20Co:ada%2Btest%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20%20Login%20%26%20Co");
    insta::assert_snapshot!(uri("B\u{fc}cher", "ada@xn--bcher-kva.example").unwrap(), @"otpauth://totp/B%C3%BCcher:ada%40xn--bcher-kva.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=B%C3%BCcher");
    // As long as an address can be, under the issuer's longest name that makes sense: it must still fit into a code.
    let longest =
        format!("{}@{}.example", "a".repeat(64), ["b".repeat(59), "c".repeat(60), "d".repeat(57)].join("."));
    assert_eq!(longest.len(), 251);
    assert!(enrolment(&seed(), &"i".repeat(64), &longest).is_ok());
}
