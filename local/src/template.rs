//! Tables and secrets as `infra/data.yaml` defines them: what runs here cannot differ from what is deployed.

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use yaml_rust2::{Yaml, YamlLoader};

const DATA: &str = include_str!("../../infra/data.yaml");

/// What CloudFormation names by the stack is named by this.
const PREFIX: &str = "sallyport-local-";

/// Properties that mean the same here; encryption, backup and protection do not exist on this machine.
const KEPT: [&str; 6] = [
    "BillingMode",
    "AttributeDefinitions",
    "KeySchema",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "StreamSpecification",
];

/// A table to create.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The name in the template, such as `Users`.
    pub(crate) logical: String,
    pub(crate) name: String,
    /// The request of CreateTable.
    pub(crate) create: Value,
    /// The request of UpdateTimeToLive.
    pub(crate) time_to_live: Option<Value>,
    /// Whether it can be restored to a point in time.
    pub(crate) recovery: bool,
}

/// A secret to create.
#[derive(Debug, Clone)]
pub(crate) struct Secret {
    /// The name in the template, such as `Keyring`.
    pub(crate) logical: String,
    pub(crate) name: String,
    pub(crate) initial: String,
}

/// What the template defines.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) tables: Vec<Table>,
    pub(crate) secrets: Vec<Secret>,
}

impl Template {
    /// The template of the stack.
    ///
    /// # Errors
    /// When `infra/data.yaml` is not what CloudFormation would take.
    pub(crate) fn of_the_stack() -> anyhow::Result<Self> {
        Self::parse(DATA).context("infra/data.yaml")
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let documents = YamlLoader::load_from_str(text)?;
        let document = documents.first().context("is empty")?;
        let resources = document["Resources"].as_hash().context("has no Resources")?;
        let mut template = Self { tables: Vec::new(), secrets: Vec::new() };
        for (logical, resource) in resources {
            let logical = logical.as_str().context("a resource has no name")?.to_owned();
            let name = format!("{PREFIX}{}", logical.to_lowercase());
            let properties = &resource["Properties"];
            match resource["Type"].as_str() {
                Some("AWS::DynamoDB::Table") => template.tables.push(table(logical, name, properties)),
                Some("AWS::SecretsManager::Secret") => {
                    let initial = properties["SecretString"].as_str().unwrap_or_default().to_owned();
                    template.secrets.push(Secret { logical, name, initial });
                }
                _ => {}
            }
        }
        Ok(template)
    }

    /// The full name of a table.
    ///
    /// # Errors
    /// When the template has no such table.
    pub(crate) fn table_name(&self, logical: &str) -> anyhow::Result<&str> {
        let table = self.tables.iter().find(|table| table.logical == logical);
        Ok(&table.with_context(|| format!("infra/data.yaml has no table {logical}"))?.name)
    }
}

fn table(logical: String, name: String, properties: &Yaml) -> Table {
    let mut create = Map::new();
    create.insert("TableName".to_owned(), json!(name));
    for key in KEPT {
        if !properties[key].is_badvalue() {
            create.insert(key.to_owned(), plain(&properties[key]));
        }
    }
    // In CloudFormation a stream is on by being specified.
    if let Some(Value::Object(stream)) = create.get_mut("StreamSpecification") {
        stream.insert("StreamEnabled".to_owned(), json!(true));
    }
    let time_to_live = &properties["TimeToLiveSpecification"];
    let time_to_live = (!time_to_live.is_badvalue())
        .then(|| json!({"TableName": name, "TimeToLiveSpecification": plain(time_to_live)}));
    let recovery = &properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
    let recovery = recovery.as_bool().unwrap_or_default();
    Table { logical, name, create: Value::Object(create), time_to_live, recovery }
}

/// YAML as JSON. Intrinsic functions keep their argument: none stands in a property that is kept.
fn plain(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => json!(text),
        Yaml::Integer(number) => json!(number),
        Yaml::Boolean(flag) => json!(flag),
        Yaml::Array(items) => items.iter().map(plain).collect(),
        Yaml::Hash(entries) => Value::Object(
            entries
                .iter()
                .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), plain(value))))
                .collect(),
        ),
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_stack_has_the_tables_and_secrets_of_the_design() {
        let template = Template::of_the_stack().unwrap();
        let tables: Vec<_> = template.tables.iter().map(|t| t.logical.as_str()).collect();
        assert_eq!(tables, ["Users", "Sessions", "Throttle", "Outbox", "Audit", "Ops"]);
        assert_eq!(template.table_name("Users").unwrap(), "sallyport-local-users");
        assert!(template.table_name("Orders").is_err());
        let keyring = template.secrets.iter().find(|s| s.logical == "Keyring").unwrap();
        assert_eq!((keyring.name.as_str(), keyring.initial.as_str()), ("sallyport-local-keyring", "{}"));
    }

    #[test]
    fn a_table_becomes_the_requests_that_create_it() {
        let template = Template::of_the_stack().unwrap();
        let outbox = template.tables.iter().find(|t| t.logical == "Outbox").unwrap();
        assert_eq!(
            outbox.create,
            json!({
                "TableName": "sallyport-local-outbox",
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [
                    {"AttributeName": "pk", "AttributeType": "S"},
                    {"AttributeName": "sk", "AttributeType": "S"},
                ],
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "StreamSpecification": {"StreamViewType": "NEW_IMAGE", "StreamEnabled": true},
            })
        );
        assert_eq!(
            outbox.time_to_live,
            Some(json!({
                "TableName": "sallyport-local-outbox",
                "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": true},
            }))
        );
    }
}
