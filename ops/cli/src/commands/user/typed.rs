//! What was typed, out of the bytes that came: the same characters, or none.

use sallyport_core::secret::Secret;

/// Why bytes are not what somebody typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTyped {
    #[error("the password is UTF-16: pipe it as UTF-8")]
    Utf16,
    #[error("the password is not UTF-8: pipe it as UTF-8, and check the encoding of the terminal")]
    NotUtf8,
    #[error(
        "a character of the password was lost on its way (U+FFFD): check the encoding of the terminal or the shell"
    )]
    Lost,
    #[error("the password has more than one line")]
    Lines,
    #[error("the password holds a control character (U+{0:04X}), which no form lets anybody type")]
    Control(u32),
}

/// The text of one line. A byte order mark before it, which PowerShell and editors write, and one line end behind it are no part
/// of what was typed; nothing else is taken away.
pub(super) fn text(bytes: &[u8]) -> Result<Secret<String>, NotTyped> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(NotTyped::Utf16);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // ASCII in UTF-16 or UTF-32 without a mark: every other byte is zero.
    if bytes.iter().filter(|byte| **byte == 0).count() * 2 >= bytes.len().max(2) - 1 {
        return Err(NotTyped::Utf16);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NotTyped::NotUtf8)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.contains(['\n', '\r']) {
        return Err(NotTyped::Lines);
    }
    for character in text.chars() {
        match character {
            '\u{fffd}' => return Err(NotTyped::Lost),
            '\t' => {}
            steering if steering.is_control() || steering == '\u{feff}' => {
                return Err(NotTyped::Control(u32::from(steering)));
            }
            _ => {}
        }
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Result<String, NotTyped> {
        text(bytes).map(|text| text.expose().clone())
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn what_was_typed_is_the_password_in_every_encoding_or_there_is_none() {
        for password in [
            "correct horse",
            " correct horse ",
            "körrekt hörse",
            "пароль длинный",
            "密码密码密码密码",
            "a\tb horse 🐎",
        ] {
            for (mark, end) in [
                ("", ""),
                ("", "\n"),
                ("", "\r\n"),
                ("\u{feff}", ""),
                ("\u{feff}", "\n"),
                ("\u{feff}", "\r\n"),
            ] {
                let line = format!("{mark}{password}{end}");
                assert_eq!(typed(line.as_bytes()).as_deref(), Ok(password), "{line:?}");
                for order in [u16::to_le_bytes, u16::to_be_bytes] {
                    let refused = typed(&utf16(&line, order));
                    assert!(refused.is_err(), "{line:?} in UTF-16 is {refused:?}");
                }
                let wide: Vec<u8> =
                    line.chars().flat_map(|character| u32::from(character).to_le_bytes()).collect();
                assert!(typed(&wide).is_err(), "{line:?} in UTF-32");
            }
        }
        let ascii = utf16("correct horse\r\n", u16::to_le_bytes);
        assert_eq!(typed(&ascii), Err(NotTyped::Utf16));
        // Latin-1, code page 437, code page 1252.
        for bytes in [&b"k\xf6rrekt"[..], b"k\x94rrekt", b"k\x80rrekt"] {
            assert_eq!(typed(bytes), Err(NotTyped::NotUtf8), "{bytes:?}");
        }
        assert_eq!(typed("k\u{fffd}rrekt".as_bytes()), Err(NotTyped::Lost));
        assert_eq!(typed(b"correct\0horse"), Err(NotTyped::Control(0)));
        assert_eq!(typed(b"correct \x1b[D horse"), Err(NotTyped::Control(0x1b)));
        assert_eq!(typed(b"correct\nhorse\n"), Err(NotTyped::Lines));
        assert_eq!(typed(b"correct horse\n\n"), Err(NotTyped::Lines));
        assert_eq!(typed("correct\u{feff}horse".as_bytes()), Err(NotTyped::Control(0xfeff)));
    }
}
