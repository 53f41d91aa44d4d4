//! The tables: there, with the right keys, expiry, backup and protection.

use aws_sdk_dynamodb::types::{
    KeySchemaElement, KeyType, PointInTimeRecoveryStatus, StreamViewType, TableDescription, TableStatus,
    TimeToLiveStatus,
};

use super::{Findings, is_local};
use crate::{
    aws_fault,
    deployment::{Connection, Settings, TABLES, name},
    failure::Failure,
};

/// What infra/data.yaml makes of a table.
struct Expected {
    table: &'static str,
    hash: &'static str,
    range: Option<&'static str>,
    expires: bool,
    /// Point-in-time recovery.
    backed_up: bool,
    /// Deletion protection, in prod.
    protected: bool,
}

const EXPECTED: [Expected; 6] = [
    Expected {
        table: "users",
        hash: "pk",
        range: Some("sk"),
        expires: false,
        backed_up: true,
        protected: true,
    },
    Expected {
        table: "sessions",
        hash: "user_id",
        range: None,
        expires: true,
        backed_up: false,
        protected: true,
    },
    Expected {
        table: "throttle",
        hash: "key",
        range: None,
        expires: true,
        backed_up: false,
        protected: false,
    },
    Expected {
        table: "outbox",
        hash: "pk",
        range: Some("sk"),
        expires: true,
        backed_up: false,
        protected: true,
    },
    Expected {
        table: "audit",
        hash: "pk",
        range: Some("sk"),
        expires: true,
        backed_up: true,
        protected: true,
    },
    Expected {
        table: "ops",
        hash: "pk",
        range: Some("sk"),
        expires: false,
        backed_up: true,
        protected: true,
    },
];

/// The attribute that DynamoDB deletes by.
const EXPIRY: &str = "expires_at";

const REDEPLOY: &str = "deploy the stack again: infra/data.yaml sets it";

/// # Errors
/// DynamoDB does not answer.
pub(super) async fn check(
    connection: &Connection,
    settings: &Settings,
    findings: &mut Findings,
) -> Result<(), Failure> {
    for (role, variable) in TABLES {
        let expected = EXPECTED.iter().find(|expected| expected.table == role);
        if let (Some(name), Some(expected)) = (settings.get(variable), expected) {
            let subject = format!("{role} table {name}");
            check_table(connection, settings, expected, name, &subject, findings).await?;
        }
    }
    Ok(())
}

async fn check_table(
    connection: &Connection,
    settings: &Settings,
    expected: &Expected,
    name: &str,
    subject: &str,
    findings: &mut Findings,
) -> Result<(), Failure> {
    findings.checked();
    let described = connection.dynamodb.describe_table().table_name(name).send().await;
    let table = match described.map_err(|error| aws_fault::from_sdk("describe the table", &error)) {
        Ok(answer) => answer.table.unwrap_or_else(|| TableDescription::builder().build()),
        Err(failure) if failure.code == "resource_not_found" => {
            let fix = format!(
                "name the right table, region ({}) and account, or deploy the stack",
                connection.region
            );
            findings.error(subject, "does not exist", fix);
            return Ok(());
        }
        Err(failure) => return findings.uncheckable(subject, failure),
    };
    let prod = settings.get(name::STAGE) == Some("prod");
    if !describe(&table, expected, is_local(settings), prod, subject, findings) {
        return Ok(());
    }
    region(&table, connection, settings, subject, findings);
    if expected.expires {
        expiry(connection, name, subject, findings).await?;
    }
    if expected.backed_up && !is_local(settings) {
        backup(connection, name, subject, findings).await?;
    }
    Ok(())
}

/// What DescribeTable says. `false` when it is another table: what else it has or lacks is nobody's business.
fn describe(
    table: &TableDescription,
    expected: &Expected,
    local: bool,
    prod: bool,
    subject: &str,
    findings: &mut Findings,
) -> bool {
    findings.checked();
    let key = |kind: &KeyType| {
        table
            .key_schema()
            .iter()
            .find(|element| element.key_type() == kind)
            .map(KeySchemaElement::attribute_name)
    };
    let found = (key(&KeyType::Hash), key(&KeyType::Range));
    if found != (Some(expected.hash), expected.range) {
        let keys = |hash: Option<&str>, range: Option<&str>| {
            [hash, range].into_iter().flatten().collect::<Vec<_>>().join(", ")
        };
        findings.error(
            subject,
            format!(
                "its key is ({}), not ({})",
                keys(found.0, found.1),
                keys(Some(expected.hash), expected.range)
            ),
            "a key can't be changed: name the right table, or deploy a new one",
        );
        return false;
    }
    if !matches!(table.table_status(), None | Some(TableStatus::Active | TableStatus::Updating)) {
        let status = table.table_status().map_or("unknown", TableStatus::as_str);
        findings.error(subject, format!("is {status}"), "wait until it is ACTIVE");
    }
    if !table.global_secondary_indexes().is_empty() {
        findings.warning(
            subject,
            "has a global secondary index",
            "nothing reads one: delete it, it costs writes",
        );
    }
    if expected.table == "outbox" {
        let stream = table.stream_specification().filter(|stream| stream.stream_enabled());
        if stream.and_then(|stream| stream.stream_view_type()) != Some(&StreamViewType::NewImage) {
            findings.error(subject, "has no stream of new images: no message would be sent", REDEPLOY);
        }
    }
    if !local && table.sse_description().is_none() {
        findings.error(subject, "is not encrypted with the deployment's own key", REDEPLOY);
    }
    if prod && expected.protected && !table.deletion_protection_enabled().unwrap_or_default() {
        findings.error(subject, "can be deleted", "deploy with DataProtection=on");
    }
    true
}

fn region(
    table: &TableDescription,
    connection: &Connection,
    settings: &Settings,
    subject: &str,
    findings: &mut Findings,
) {
    findings.checked();
    // arn:aws:dynamodb:REGION:ACCOUNT:table/NAME. What runs locally makes one up.
    let actual = table.table_arn().and_then(|arn| arn.split(':').nth(3)).filter(|region| !region.is_empty());
    if let Some(actual) = actual.filter(|actual| *actual != connection.region && !is_local(settings)) {
        findings.error(
            subject,
            format!("is in {actual}, not in {}", connection.region),
            format!("pass --region {actual}"),
        );
    }
}

async fn expiry(
    connection: &Connection,
    name: &str,
    subject: &str,
    findings: &mut Findings,
) -> Result<(), Failure> {
    findings.checked();
    let described = connection.dynamodb.describe_time_to_live().table_name(name).send().await;
    let answer = match described.map_err(|error| aws_fault::from_sdk("describe the expiry", &error)) {
        Ok(answer) => answer,
        Err(failure) => return findings.uncheckable(subject, failure),
    };
    let description = answer.time_to_live_description();
    let status = description.and_then(|description| description.time_to_live_status());
    let attribute = description.and_then(|description| description.attribute_name());
    let on = matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
    if !on || attribute != Some(EXPIRY) {
        let fix = format!(
            "aws dynamodb update-time-to-live --table-name {name} --time-to-live-specification Enabled=true,AttributeName={EXPIRY}"
        );
        findings.error(subject, format!("does not expire items by {EXPIRY}: it grows for ever"), fix);
    }
    Ok(())
}

async fn backup(
    connection: &Connection,
    name: &str,
    subject: &str,
    findings: &mut Findings,
) -> Result<(), Failure> {
    findings.checked();
    let described = connection.dynamodb.describe_continuous_backups().table_name(name).send().await;
    let answer = match described.map_err(|error| aws_fault::from_sdk("describe the backups", &error)) {
        Ok(answer) => answer,
        Err(failure) => return findings.uncheckable(subject, failure),
    };
    let status = answer
        .continuous_backups_description()
        .and_then(|description| description.point_in_time_recovery_description())
        .and_then(|description| description.point_in_time_recovery_status());
    if status != Some(&PointInTimeRecoveryStatus::Enabled) {
        let fix = format!(
            "aws dynamodb update-continuous-backups --table-name {name} --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        );
        findings.error(subject, "has no point-in-time recovery", fix);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use aws_sdk_dynamodb::types::StreamSpecification;

    use super::*;

    const DATA: &str = include_str!("../../../../../infra/data.yaml");

    fn table(hash: &str, range: Option<&str>) -> TableDescription {
        let element = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
        };
        let mut builder = TableDescription::builder().key_schema(element(hash, KeyType::Hash));
        if let Some(range) = range {
            builder = builder.key_schema(element(range, KeyType::Range));
        }
        builder.build()
    }

    fn problems(role: &str, table: &TableDescription, local: bool, prod: bool) -> Vec<String> {
        let expected = EXPECTED.iter().find(|expected| expected.table == role).unwrap();
        let mut findings = Findings::default();
        describe(table, expected, local, prod, "table", &mut findings);
        findings.found.into_iter().map(|finding| finding.problem).collect()
    }

    #[test]
    fn a_table_with_other_keys_is_found_out() {
        assert_eq!(problems("sessions", &table("user_id", None), true, false), [""; 0]);
        assert_eq!(
            problems("sessions", &table("pk", Some("sk")), true, false),
            ["its key is (pk, sk), not (user_id)"]
        );
    }

    #[test]
    fn prod_is_protected_and_the_outbox_has_a_stream() {
        assert_eq!(
            problems("users", &table("pk", Some("sk")), false, true),
            ["is not encrypted with the deployment's own key", "can be deleted"],
        );
        let stream = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewImage)
            .build()
            .unwrap();
        let mut outbox = table("pk", Some("sk"));
        assert_eq!(
            problems("outbox", &outbox, true, false),
            ["has no stream of new images: no message would be sent"]
        );
        outbox.stream_specification = Some(stream);
        assert_eq!(problems("outbox", &outbox, true, false), [""; 0]);
    }

    #[test]
    fn what_is_expected_is_what_the_template_makes() {
        for expected in &EXPECTED {
            let mut letters = expected.table.chars();
            let logical: String = letters.next().unwrap().to_uppercase().chain(letters).collect();
            let (_, rest) = DATA.split_once(&format!("\n  {logical}:\n")).unwrap();
            let resource = rest.split("\n  # ").next().unwrap().split("Tags:").next().unwrap();
            assert!(
                resource.contains(&format!("AttributeName: {}, KeyType: HASH", expected.hash)),
                "{logical}"
            );
            assert_eq!(resource.contains("KeyType: RANGE"), expected.range.is_some(), "{logical}");
            assert_eq!(resource.contains("TimeToLiveSpecification"), expected.expires, "{logical}");
            assert_eq!(resource.contains("PointInTimeRecovery"), expected.backed_up, "{logical}");
            assert_eq!(resource.contains("DeletionProtectionEnabled"), expected.protected, "{logical}");
        }
    }
}
