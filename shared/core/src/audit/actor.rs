//! Who acted, in our words: nothing that a caller sends gets in here.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

/// Who did what an event tells. What a caller's software calls itself is [`super::Origin::agent`], and proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Whoever sent the request: mostly the owner of the account, sometimes who passes for them.
    Caller,
    /// A service that has proven to be the client of this id.
    Client(String),
    /// Somebody at the command line, by the name that [`operator_name`] let through.
    Operator(String),
    /// A function by itself, with nobody's request at hand.
    Function(String),
}

impl Actor {
    /// The name alone, for a place where callers never act.
    pub fn name(&self) -> &str {
        match self {
            Self::Caller => "caller",
            Self::Client(name) | Self::Operator(name) | Self::Function(name) => name,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller => f.write_str("caller"),
            Self::Client(id) => write!(f, "client {id}"),
            Self::Operator(name) => write!(f, "operator {name}"),
            Self::Function(name) => write!(f, "function {name}"),
        }
    }
}

/// Bytes of an operator's name: flags keep it in each of 200 blocks.
pub const LONGEST_OPERATOR_NAME: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {LONGEST_OPERATOR_NAME} bytes")]
    TooLong,
    #[error(
        "it holds U+{:04X}, which is no letter: names have no control, no bidirectional and no invisible characters",
        u32::from(*.0)
    )]
    Forbidden(char),
}

/// The name of an operator as events keep it: letters of any script, in Unicode's normal form C, so that two spellings of one
/// name are one. Nothing is left out: a name that can't be kept is refused, since two people must not become one.
///
/// # Errors
/// [`NameError`].
pub fn operator_name(text: &str) -> Result<String, NameError> {
    let name: String = text.trim().nfc().collect();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some((character, _)) = name.chars().zip(steering(&name)).find(|(_, steers)| *steers) {
        return Err(NameError::Forbidden(character));
    }
    if name.len() > LONGEST_OPERATOR_NAME {
        return Err(NameError::TooLong);
    }
    Ok(name)
}

/// Of each character of a text, whether a terminal obeys it or nobody sees it. The joiners and variation selectors that Persian,
/// Indic and Japanese names are written with are none of these where such letters stand beside them.
pub fn steering(text: &str) -> Vec<bool> {
    let characters: Vec<char> = text.chars().collect();
    // A mark counts as well: in Indic scripts the joiner follows one.
    let is_letter = |index: Option<usize>| {
        let character = index.and_then(|index| characters.get(index));
        character.is_some_and(|character| !character.is_ascii() && !is_steering(*character))
    };
    let steers = |(index, character): (usize, &char)| match character {
        '\u{200c}' | '\u{200d}' => !(is_letter(index.checked_sub(1)) && is_letter(Some(index + 1))),
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => !is_letter(index.checked_sub(1)),
        _ => is_steering(*character),
    };
    characters.iter().enumerate().map(steers).collect()
}

/// Controls, other white space than the space, bidirectional marks, what takes no room, private use.
fn is_steering(character: char) -> bool {
    character.is_control()
        || (character.is_whitespace() && character != ' ')
        || matches!(
            character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_keep_their_letters() {
        for name in [
            "grace@desk",
            "Jürgen Groß@desk",
            "Ольга@desk",
            "李小龍@desk",
            "علی\u{200c}رضا@desk",
            "ศรีสุดา@desk",
            "श्री\u{200d}य@desk",
            "葛\u{e0100}城@desk",
            "O'Brien-Ó Néill@desk",
        ] {
            assert_eq!(operator_name(name).as_deref(), Ok(name));
        }
        assert_eq!(operator_name(" ada \n").as_deref(), Ok("ada"));
        // One name in two spellings is one name.
        assert_eq!(operator_name("Ju\u{308}rgen").as_deref(), Ok("Jürgen"));
    }

    #[test]
    fn what_steers_a_terminal_or_is_not_seen_is_refused_and_never_left_out() {
        for character in [
            '\0',
            '\u{7}',
            '\t',
            '\n',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{a0}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fffd}',
            '\u{e000}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{10ffff}',
        ] {
            let name = format!("ada{character}lovelace");
            assert_eq!(operator_name(&name), Err(NameError::Forbidden(character)), "{name:?}");
        }
        assert_eq!(operator_name(" \n"), Err(NameError::Empty));
        assert_eq!(operator_name(&"ü".repeat(65)), Err(NameError::TooLong));
        assert_eq!(operator_name(&"ü".repeat(64)).map(|name| name.len()), Ok(128));
    }
}
