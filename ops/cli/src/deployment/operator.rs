//! Who sits at the keyboard, for audit events.

use sallyport_core::audit::operator_name;

use crate::{
    environment::{NotText, text_variable},
    failure::Failure,
};

/// `USER@HOST`, or what SALLYPORT_OPERATOR says.
///
/// # Errors
/// A name that events can't keep: to leave out what is odd in it would make two people one.
pub(crate) fn operator() -> Result<String, Failure> {
    let user = first(&["SALLYPORT_OPERATOR", "USER", "LOGNAME", "USERNAME"])?;
    let user = user.unwrap_or_else(|| ("USER", "unknown".to_owned()));
    if user.1.contains('@') {
        return checked(user);
    }
    let host = first(&["HOSTNAME", "COMPUTERNAME"])?.map(|(_, host)| host).or_else(host_name);
    let host = host.unwrap_or_else(|| "unknown".to_owned());
    // Whole, or its first label: a machine's place in the network is not who acted.
    let host = if host.len() > LONGEST_HOST { host.split('.').next().unwrap_or_default() } else { &host };
    checked((user.0, format!("{}@{host}", user.1)))
}

/// A label of DNS.
const LONGEST_HOST: usize = 63;

fn checked((variable, name): (&'static str, String)) -> Result<String, Failure> {
    operator_name(&name).map_err(|error| refused(variable, &error.to_string()))
}

/// The first of the variables that is set and not empty, with its name.
fn first(names: &[&'static str]) -> Result<Option<(&'static str, String)>, Failure> {
    for name in names {
        let value = text_variable(name).map_err(|NotText| refused(name, "it is not UTF-8"))?;
        if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
            return Ok(Some((name, value.trim().to_owned())));
        }
    }
    Ok(None)
}

fn refused(variable: &str, why: &str) -> Failure {
    let message = format!(
        "{variable} does not name an operator: {why}. Set SALLYPORT_OPERATOR to the name that audit events shall have"
    );
    Failure::usage("invalid_operator", message)
}

/// Shells keep HOSTNAME to themselves; Linux and macOS keep it in a file or not at all.
fn host_name() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}
