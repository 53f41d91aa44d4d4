//! The settings, one rule each. The ranges are template.yaml's; a test holds them together.

use std::collections::BTreeMap;

use sallyport_core::{
    accounts::HashParameters,
    web::{WebOrigin, is_product_name, script_header},
};

use super::{Findings, is_local};
use crate::{
    commands::calibrate,
    deployment::{Settings, TABLES, name},
};

/// Numbers, with their least and greatest value.
const RANGES: [(&str, u64, u64); 5] = [
    (name::REFRESH_GRACE, 0, 60),
    (name::ADDRESS_LIMIT, 1, 100_000),
    (name::PASSWORD_MEMORY, 7_168, 262_144),
    (name::PASSWORD_ITERATIONS, 1, 10),
    (name::KEYRING_MAX_AGE, 30, 3_600),
];

const STAGES: [&str; 4] = ["dev", "staging", "prod", "local"];

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    let required =
        [name::STAGE].into_iter().chain(TABLES.iter().map(|(_, name)| *name)).chain([name::KEYRING]);
    for name in required {
        findings.checked();
        if settings.get(name).is_none() {
            findings.error(name, "is not set", "pass --stack NAME, or set it as the functions have it");
        }
    }
    if let Some(stage) = settings.get(name::STAGE).filter(|stage| !STAGES.contains(stage)) {
        findings.error(name::STAGE, format!("{stage} is no stage"), "set it to dev, staging or prod");
    }
    for (name, least, greatest) in RANGES {
        findings.checked();
        let Some(value) = settings.get(name) else { continue };
        if !value.parse::<u64>().is_ok_and(|number| (least..=greatest).contains(&number)) {
            findings.error(
                name,
                format!("{value} is out of range"),
                format!("set it to {least} to {greatest}"),
            );
        }
    }
    algorithm(settings, findings);
    hash_cost(settings, findings);
    issuer(settings, findings);
    audience(settings, findings);
    origins(settings, findings);
    headers(settings, findings);
    product_name(settings, findings);
}

fn algorithm(settings: &Settings, findings: &mut Findings) {
    findings.checked();
    if let Err(failure) = settings.signing_algorithm() {
        findings.error(name::SIGNING_ALGORITHM, failure.message, "set it to ES256 or RS256");
    }
}

fn hash_cost(settings: &Settings, findings: &mut Findings) {
    findings.checked();
    let Ok(parameters) = settings.hash_parameters() else { return };
    if !calibrate::meets_floor(parameters.memory, parameters.iterations) {
        let HashParameters { memory, iterations, .. } = parameters;
        findings.warning(
            name::PASSWORD_MEMORY,
            format!("{memory} KiB with {iterations} passes is below OWASP's floor"),
            "raise one of them; `sallyport calibrate` measures what fits",
        );
    }
}

fn issuer(settings: &Settings, findings: &mut Findings) {
    findings.checked();
    // Empty is allowed: the functions derive it from the request.
    let Some(issuer) = settings.get(name::ISSUER) else { return };
    let secure = issuer.starts_with("https://");
    let plain_is_fine = is_local(settings) && issuer.starts_with("http://");
    if !(secure || plain_is_fine) {
        findings.error(
            name::ISSUER,
            format!("{issuer} is no https URL"),
            "set an https URL, or leave it empty",
        );
    } else if issuer.ends_with('/') || issuer.contains(['?', '#', ' ']) {
        findings.error(
            name::ISSUER,
            format!("{issuer} has a slash at its end, a query or a fragment"),
            "leave those away",
        );
    } else if let Some(read) = as_clients_read(issuer) {
        findings.error(
            name::ISSUER,
            format!("{issuer} is not what clients make of it: {read}"),
            "write it as clients compare it: a host in lower case, no port that is the usual one, no dots as a path",
        );
    }
}

/// Clients compare an issuer letter by letter (RFC 8414, section 3.3), and some read it as a URL first. `None` where both are
/// the same.
fn as_clients_read(issuer: &str) -> Option<String> {
    match reqwest::Url::parse(issuer) {
        Ok(url) => Some(url.as_str().trim_end_matches('/').to_owned()).filter(|read| read != issuer),
        Err(error) => Some(error.to_string()),
    }
}

fn audience(settings: &Settings, findings: &mut Findings) {
    findings.checked();
    let Some(audience) = settings.get(name::AUDIENCE) else { return };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":/._-".contains(&byte);
    if audience.len() > 200 || !audience.bytes().all(allowed) {
        findings.error(
            name::AUDIENCE,
            "has other characters than it may",
            "use 1 to 200 letters, digits or any of :/._-",
        );
    }
}

/// Settings that are lists, member by member, as the functions split them.
pub(super) fn lists(settings: &Settings) -> BTreeMap<&'static str, Vec<String>> {
    let members = |name: &str| listed(settings, name).map(str::to_owned).collect();
    [name::ALLOWED_ORIGINS, name::ALLOWED_HEADERS].into_iter().map(|name| (name, members(name))).collect()
}

fn listed<'a>(settings: &'a Settings, name: &str) -> impl Iterator<Item = &'a str> {
    let list = settings.get(name).into_iter().flat_map(|list| list.split(','));
    list.map(str::trim).filter(|member| !member.is_empty())
}

fn origins(settings: &Settings, findings: &mut Findings) {
    findings.checked();
    for origin in listed(settings, name::ALLOWED_ORIGINS) {
        match origin.parse::<WebOrigin>() {
            Err(why) => findings.error(
                name::ALLOWED_ORIGINS,
                format!("{origin} is no origin: {why}"),
                "write scheme, host and perhaps port, as the browser's address bar shows them",
            ),
            Ok(origin)
                if origin.as_str().starts_with("http://") && settings.get(name::STAGE) == Some("prod") =>
            {
                findings.warning(
                    name::ALLOWED_ORIGINS,
                    format!("{origin} is not https"),
                    "serve the application by https",
                );
            }
            Ok(_) => {}
        }
    }
}

fn headers(settings: &Settings, findings: &mut Findings) {
    findings.checked();
    for header in listed(settings, name::ALLOWED_HEADERS) {
        if let Err(why) = script_header(header) {
            findings.error(
                name::ALLOWED_HEADERS,
                format!("{header} can't be allowed: {why}"),
                "name the headers that your scripts send besides Authorization, Content-Type and those of tracing",
            );
        }
    }
}

fn product_name(settings: &Settings, findings: &mut Findings) {
    findings.checked();
    let Some(text) = settings.get(name::PRODUCT_NAME) else { return };
    if !is_product_name(text) {
        findings.error(
            name::PRODUCT_NAME,
            format!("{text} can't stand in an authenticator app"),
            "use 1 to 64 characters without colons and control characters",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../../../template.yaml");

    fn faults(pairs: &[(&str, &str)]) -> Vec<String> {
        let sound = [(name::STAGE, "prod"), (name::KEYRING, "k")]
            .into_iter()
            .chain(TABLES.map(|(_, name)| (name, "t")));
        let all: Vec<_> = sound.chain(pairs.iter().copied()).collect();
        let settings = Settings::from_lookup(|name| {
            all.iter().rev().find(|(candidate, _)| *candidate == name).map(|(_, value)| (*value).to_owned())
        });
        let mut findings = Findings::default();
        check(&settings, &mut findings);
        findings
            .found
            .into_iter()
            .map(|finding| format!("{}: {}", finding.subject, finding.problem))
            .collect()
    }

    #[test]
    fn a_sound_configuration_has_no_findings() {
        assert_eq!(faults(&[]), [""; 0]);
        let all = [
            (name::ISSUER, "https://id.example.com/prod"),
            (name::AUDIENCE, "https://api.example.com"),
            (name::ALLOWED_ORIGINS, "https://app.example.com, https://Admin.Example.com:443"),
            (name::ALLOWED_HEADERS, "X-Datadog-Trace-Id,b3"),
            (name::PRODUCT_NAME, "Acme & Söhne"),
            (name::SIGNING_ALGORITHM, "RS256"),
            (name::REFRESH_GRACE, "0"),
            (name::PASSWORD_MEMORY, "47104"),
            (name::PASSWORD_ITERATIONS, "1"),
        ];
        assert_eq!(faults(&all), [""; 0]);
    }

    #[test]
    fn an_issuer_that_clients_would_read_otherwise_is_none() {
        let found = |issuer: &'static str| faults(&[(name::ISSUER, issuer)]).len();
        for sound in ["https://id.example.com", "https://id.example.com:8443/a/b", "https://10.0.0.7"] {
            assert_eq!(found(sound), 0, "{sound}");
        }
        for odd in [
            "https://id.example.com:99999",
            "https://id.example.com:443",
            "https://ID.example.com",
            "https://id.example.com/a/../b",
            "https://1.2.3",
            "https://",
        ] {
            assert_eq!(found(odd), 1, "{odd}");
        }
    }

    #[test]
    fn a_list_is_shown_as_the_functions_read_it() {
        let read = |value: &'static str| {
            lists(&Settings::from_lookup(|name| (name == name::ALLOWED_ORIGINS).then(|| value.to_owned())))
        };
        let two = vec!["https://a.example.com".to_owned(), "https://b.example.com".to_owned()];
        assert_eq!(read(" https://a.example.com,, https://b.example.com ")[name::ALLOWED_ORIGINS], two);
        assert!(read("")[name::ALLOWED_ORIGINS].is_empty());
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let found = faults(&[
            (name::STAGE, "production"),
            (name::USERS, ""),
            (name::ISSUER, "http://id.example.com"),
            (name::AUDIENCE, "two words"),
            (name::ALLOWED_ORIGINS, "https://app.example.com/,*"),
            (name::ALLOWED_HEADERS, "x-trace,Cookie"),
            (name::PRODUCT_NAME, "Acme: Shop"),
            (name::SIGNING_ALGORITHM, "HS256"),
            (name::REFRESH_GRACE, "61"),
            (name::PASSWORD_ITERATIONS, "1"),
            (name::KEYRING_MAX_AGE, "five"),
        ]);
        insta::assert_snapshot!(found.join("\n"), @r"
        SALLYPORT_USERS_TABLE: is not set
        SALLYPORT_STAGE: production is no stage
        SALLYPORT_REFRESH_GRACE_SECONDS: 61 is out of range
        SALLYPORT_KEYRING_MAX_AGE_SECONDS: five is out of range
        SALLYPORT_SIGNING_ALGORITHM: SALLYPORT_SIGNING_ALGORITHM is neither ES256 nor RS256: HS256
        SALLYPORT_PASSWORD_MEMORY_KIB: 19456 KiB with 1 passes is below OWASP's floor
        SALLYPORT_ISSUER: http://id.example.com is no https URL
        SALLYPORT_AUDIENCE: has other characters than it may
        SALLYPORT_ALLOWED_ORIGINS: https://app.example.com/ is no origin: an origin ends with its host or port: no slash, no path, no query
        SALLYPORT_ALLOWED_ORIGINS: * is no origin: each origin is written out: no wildcard
        SALLYPORT_ALLOWED_HEADERS: Cookie can't be allowed: browsers let no script set this header
        SALLYPORT_PRODUCT_NAME: Acme: Shop can't stand in an authenticator app
        ");
    }

    #[test]
    fn ranges_are_those_of_the_template() {
        let parameters = [
            ("RefreshGraceSeconds", name::REFRESH_GRACE),
            ("AddressLimit", name::ADDRESS_LIMIT),
            ("PasswordMemoryKib", name::PASSWORD_MEMORY),
            ("PasswordIterations", name::PASSWORD_ITERATIONS),
            ("KeyringMaxAgeSeconds", name::KEYRING_MAX_AGE),
        ];
        for (parameter, variable) in parameters {
            let (_, rest) = TEMPLATE.split_once(&format!("\n  {parameter}:\n")).unwrap();
            let bound = |label: &str| -> u64 {
                let (_, rest) = rest.split_once(label).unwrap();
                rest.split_whitespace().next().unwrap().parse().unwrap()
            };
            let (_, least, greatest) = RANGES.into_iter().find(|(name, ..)| *name == variable).unwrap();
            assert_eq!((least, greatest), (bound("MinValue:"), bound("MaxValue:")), "{parameter}");
        }
    }
}
