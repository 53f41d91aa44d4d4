//! Who is at the command line.

use crate::environment::variable;

/// `user@host`, as the environment tells it. AWS's own trail has the identity that can't be made up.
pub(crate) fn operator() -> String {
    let user =
        first(&["SALLYPORT_OPERATOR", "USER", "LOGNAME", "USERNAME"]).unwrap_or_else(|| "unknown".to_owned());
    if user.contains('@') {
        return user;
    }
    let host =
        first(&["HOSTNAME", "COMPUTERNAME"]).or_else(host_name).unwrap_or_else(|| "unknown".to_owned());
    format!("{user}@{host}")
}

fn first(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| variable(name)).and_then(|value| tidy(&value))
}

/// Shells keep HOSTNAME to themselves; Linux and macOS keep it in a file or not at all.
fn host_name() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .and_then(|name| tidy(&name))
}

/// What events may hold: short, printable, one word.
fn tidy(text: &str) -> Option<String> {
    let kept: String = text.trim().chars().filter(char::is_ascii_graphic).take(64).collect();
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_short_and_printable() {
        assert_eq!(tidy(" ada\u{1b}[0m lovelace\n").as_deref(), Some("ada[0mlovelace"));
        assert_eq!(tidy(" \n"), None);
        assert_eq!(tidy(&"a".repeat(100)).map(|name| name.len()), Some(64));
    }
}
