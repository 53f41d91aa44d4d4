//! Reading the Audit table across accounts. It is keyed by account, so this reads all of it: for operators, never for functions.

use std::{collections::HashMap, net::Ipv4Addr};

use aws_sdk_dynamodb::types::AttributeValue;
use sallyport_core::{
    address::{ClientAddress, Network},
    clock::Timestamp,
};

use crate::{aws_fault, deployment::Deployment, failure::Failure, output::Progress};

pub(crate) type Item = HashMap<String, AttributeValue>;

/// Which events are wanted. DynamoDB leaves the others out, and reads them all the same.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) since: Timestamp,
    /// Of these kinds; of any where there are none.
    pub(crate) kinds: Vec<&'a str>,
    /// From one of these; from anywhere where there are none.
    pub(crate) networks: Vec<Network>,
    pub(crate) request_id: Option<&'a str>,
}

impl Wanted<'_> {
    fn filter(&self) -> (String, HashMap<String, String>, HashMap<String, AttributeValue>) {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let mut parts = vec!["#at >= :since".to_owned()];
        let mut names = HashMap::from([("#at".to_owned(), "at".to_owned())]);
        let since = AttributeValue::N(self.since.millis().to_string());
        let mut values = HashMap::from([(":since".to_owned(), since)]);
        if !self.kinds.is_empty() {
            let kinds: Vec<_> = (0..self.kinds.len()).map(|index| format!(":kind{index}")).collect();
            parts.push(format!("#kind IN ({})", kinds.join(", ")));
            names.insert("#kind".to_owned(), "kind".to_owned());
            values.extend(kinds.into_iter().zip(self.kinds.iter().map(|kind| text(kind))));
        }
        if let Some(address) = self.host() {
            parts.push("#address = :address".to_owned());
            names.insert("#address".to_owned(), "address".to_owned());
            values.insert(":address".to_owned(), text(&address));
        }
        if let Some(request_id) = self.request_id {
            parts.push("#request = :request".to_owned());
            names.insert("#request".to_owned(), "request_id".to_owned());
            values.insert(":request".to_owned(), text(request_id));
        }
        (parts.join(" AND "), names, values)
    }

    /// The address, where there is but one: DynamoDB compares texts, and knows of no prefixes.
    fn host(&self) -> Option<String> {
        let [network] = self.networks.as_slice() else { return None };
        let host = network.to_string().strip_suffix("/32")?.to_owned();
        host.parse::<Ipv4Addr>().is_ok().then_some(host)
    }

    fn is_from_there(&self, item: &Item) -> bool {
        let address = || ClientAddress::parse(item.get("address")?.as_s().ok()?);
        self.networks.is_empty()
            || address().is_some_and(|address| self.networks.iter().any(|network| network.contains(address)))
    }
}

/// Pages of a megabyte each; a line of progress after every tenth.
const PAGES_A_LINE: usize = 10;

pub(crate) async fn scan(
    deployment: &Deployment,
    wanted: &Wanted<'_>,
    progress: Progress,
) -> Result<Vec<Item>, Failure> {
    let (filter, names, values) = wanted.filter();
    let mut found = Vec::new();
    let mut looked_at: u64 = 0;
    let mut pages = deployment
        .connection
        .dynamodb
        .scan()
        .table_name(&deployment.tables.audit)
        .filter_expression(filter)
        .set_expression_attribute_names(Some(names))
        .set_expression_attribute_values(Some(values))
        .into_paginator()
        .send();
    let mut number = 0;
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| aws_fault::from_sdk("read security events", &error))?;
        looked_at = looked_at.saturating_add(u64::try_from(page.scanned_count()).unwrap_or_default());
        found.extend(page.items.unwrap_or_default().into_iter().filter(|item| wanted.is_from_there(item)));
        number += 1;
        if number % PAGES_A_LINE == 0 {
            progress.tell(&format!("{looked_at} security events read, {} found", found.len()));
        }
    }
    progress.tell(&format!("{looked_at} security events read, {} found", found.len()));
    Ok(found)
}
