//! What the database holds of an account, and how it has changed: numbers only, so that two runs compare.

use std::collections::{BTreeMap, BTreeSet};

use sallyport_core::accounts::Email;
use sallyport_testkit::{Account, Backend};
use serde_json::Value;

/// What changed, by name; what did not change is left out.
pub(crate) type Change = BTreeMap<String, i64>;

/// What is stored of one account.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Things that are there or not, by kind and name.
    things: BTreeSet<(&'static str, String)>,
    numbers: BTreeMap<String, i64>,
    password: String,
    /// Requests that the addresses of this backend have made. A lost reply may count one twice.
    addresses: i64,
}

impl State {
    /// Reads it past everything.
    pub(crate) async fn of(backend: &Backend, account: &Account) -> anyhow::Result<Self> {
        let email: Email = account.email.parse()?;
        let key = email.account_key().to_string();
        let login = format!("EMAIL#{email}");
        let mut state = Self::default();
        let users = backend.items("Users").await?;
        // Whoever creates an account and is told nothing does not know its user.
        let record = users.iter().find(|item| text(item, "pk") == login);
        let id = record.map_or_else(|| account.user_id.clone(), |record| text(record, "user_id"));
        let user = format!("USER#{id}");
        for item in &users {
            if text(item, "pk") == login {
                state.read_login_record(item);
            } else if text(item, "pk") == user {
                state.read_credential(item);
            }
        }
        for item in backend.items("Sessions").await? {
            if text(&item, "user_id") == id {
                state.read_sessions(&item);
            }
        }
        for item in backend.items("Throttle").await? {
            state.read_throttle(&item, &[&key, &id]);
        }
        for item in backend.items("Audit").await? {
            let partition = text(&item, "pk");
            if [&user, &format!("ACCOUNT#{key}"), "DEPLOYMENT"].contains(&partition.as_str()) {
                state.count(&format!("audit {}", text(&item, "kind")), 1);
            }
        }
        for item in backend.items("Outbox").await? {
            if text(&item, "pk") == user {
                state.count(&format!("outbox {}", text(&item, "template")), 1);
            }
        }
        for item in backend.items("Ops").await? {
            state.read_ops(&item);
        }
        Ok(state)
    }

    fn count(&mut self, name: &str, by: i64) {
        *self.numbers.entry(name.to_owned()).or_default() += by;
    }

    fn read_login_record(&mut self, item: &Value) {
        self.password = text(item, "password");
        self.count("account", 1);
        self.count("epoch", number(item, "epoch"));
        self.count("disabled", i64::from(text(item, "status") == "disabled"));
        self.count("recovery codes offered", i64::from(item["recovery_codes"] == true));
        for id in item["factors"].as_object().unwrap().keys() {
            self.things.insert(("offered factor", id.clone()));
        }
    }

    fn read_credential(&mut self, item: &Value) {
        match text(item, "sk").as_str() {
            "PROFILE" => self.count("profile", 1),
            "RECOVERY" => {
                for code in item["codes"].as_array().into_iter().flatten() {
                    self.things.insert(("recovery code", code.to_string()));
                }
            }
            factor => {
                self.things.insert(("factor", factor.to_owned()));
                self.count("confirmed factors", i64::from(item["confirmed"] == true));
                self.count("factors used", i64::from(!item["last_step"].is_null()));
            }
        }
    }

    fn read_sessions(&mut self, item: &Value) {
        self.count("epoch of the sessions", number(item, "epoch"));
        for (name, session) in item.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("s_")) {
            self.things.insert(("session", name.clone()));
            self.things.insert(("counter", format!("{name} {}", session["c"])));
            self.things.insert(("methods", format!("{name} {}", session["m"])));
        }
        self.count("strangers noted as shut out", i64::from(item["shut"] == true));
        for (name, value) in item.as_object().unwrap() {
            let counter = match name.get(..2) {
                Some("d_") => {
                    self.things.insert(("known device", name.clone()));
                    continue;
                }
                Some("g_") => {
                    self.count("generations of devices", value["g"].as_i64().unwrap_or_default());
                    continue;
                }
                Some("n_") => "there",
                Some("u_") => "used",
                Some("t_") => "total",
                Some("b_") => "probes",
                Some("r_") => "reserved",
                _ => continue,
            };
            let by = if ["there", "reserved"].contains(&counter) { Some(1) } else { value.as_i64() };
            self.count(&format!("pool device {counter}"), by.unwrap_or_default());
        }
    }

    fn read_throttle(&mut self, item: &Value, ours: &[&str]) {
        let key = text(item, "key");
        let kind = key.split('#').next().unwrap_or_default();
        match kind {
            "address" => self.addresses += number(item, "n"),
            "mfa_token" => self.count("spent MFA tokens", 1),
            _ if ours.iter().any(|our| key.contains(our)) => {
                self.count(&format!("pool {kind} there"), 1);
                for counter in ["used", "total", "probes"] {
                    self.count(&format!("pool {kind} {counter}"), number(item, counter));
                }
                let reserved = item.as_object().unwrap().keys().filter(|name| name.starts_with("r_")).count();
                self.count(&format!("pool {kind} reserved"), i64::try_from(reserved).unwrap());
            }
            _ => {}
        }
    }

    fn read_ops(&mut self, item: &Value) {
        let sort = text(item, "sk");
        match text(item, "pk").as_str() {
            "CLIENT" => drop(self.things.insert(("client", sort))),
            "FLAGS" => {
                for name in item["modes"].as_object().unwrap().keys() {
                    self.things.insert(("mode", name.clone()));
                }
                for subject in item["blocks"].as_object().unwrap().keys() {
                    self.things.insert(("block", subject.clone()));
                }
            }
            "INCIDENT" => {
                let alarms = item["alarms"].as_object().unwrap().values();
                let ringing = alarms.filter(|alarm| alarm["state"] == "ALARM").count();
                self.count("ringing alarms", i64::try_from(ringing).unwrap());
                self.count("acknowledged incidents", i64::from(!item["acknowledged"].is_null()));
                self.count("escalations", number(item, "escalation_level"));
                let severity = text(item, "severity");
                self.count(&format!("incidents of {severity}"), 1);
                if item["resolved"].is_null() {
                    self.things.insert(("open incident", sort.clone()));
                }
                self.things.insert(("incident", sort));
            }
            "INCIDENT_CAUSE" if item["open"] == true => {
                self.things.insert(("open cause", text(item, "incident")));
            }
            // What is still to be sent.
            "INCIDENT_NOTICE" => self.count(&format!("notice {}", text(item, "kind")), 1),
            "PROOF" => drop(self.things.insert(("proof", format!("{sort} {}", item["at"])))),
            "GAUGE" if sort.starts_with("DAY#") => {
                let counts = item.as_object().unwrap().iter().filter(|(name, _)| name.starts_with('b'));
                self.count("sessions counted", counts.filter_map(|(_, count)| count.as_i64()).sum());
            }
            timeline if timeline.starts_with("INCIDENT#") => {
                self.count(&format!("timeline {}", text(item, "kind")), 1);
            }
            _ => {}
        }
    }

    /// Adds what is kept elsewhere.
    pub(crate) fn hold(&mut self, kind: &'static str, name: &str) {
        self.things.insert((kind, name.to_owned()));
    }

    /// How many things of a kind there are.
    pub(crate) fn of_kind(&self, kind: &str) -> usize {
        self.things.iter().filter(|(found, _)| *found == kind).count()
    }

    /// What has changed since `before`, and how many requests were counted on addresses.
    pub(crate) fn since(&self, before: &Self) -> (Change, i64) {
        let mut change = Change::new();
        let mut add = |name: String, by: i64| {
            if by != 0 {
                *change.entry(name).or_default() += by;
            }
        };
        for (kind, _) in self.things.difference(&before.things) {
            add(format!("{kind} added"), 1);
        }
        for (kind, _) in before.things.difference(&self.things) {
            add(format!("{kind} removed"), 1);
        }
        for name in self.numbers.keys().chain(before.numbers.keys()).collect::<BTreeSet<_>>() {
            let of = |state: &Self| state.numbers.get(name).copied().unwrap_or_default();
            add(name.clone(), of(self) - of(before));
        }
        add("password changed".to_owned(), i64::from(self.password != before.password));
        (change, self.addresses - before.addresses)
    }

    /// Whether what is stored twice agrees with itself.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let number = |name: &str| self.numbers.get(name).copied().unwrap_or_default();
        let mut found = Vec::new();
        let offered = i64::try_from(self.of_kind("offered factor")).unwrap();
        if offered != number("confirmed factors") {
            found.push(format!("{offered} factors offered, {} confirmed", number("confirmed factors")));
        }
        if offered == 0 && (self.of_kind("recovery code") > 0 || number("recovery codes offered") > 0) {
            found.push("recovery codes without a factor".to_owned());
        }
        if number("account") != number("profile") {
            found.push("a login record without a profile, or the other way round".to_owned());
        }
        let named = |kind: &str| -> BTreeSet<&String> {
            self.things.iter().filter(|(found, _)| *found == kind).map(|(_, name)| name).collect()
        };
        if named("open incident") != named("open cause") {
            found.push("an open incident that its cause does not lead to, or the other way round".to_owned());
        }
        found
    }
}

fn text(item: &Value, attribute: &str) -> String {
    item[attribute].as_str().unwrap_or_default().to_owned()
}

fn number(item: &Value, attribute: &str) -> i64 {
    item[attribute].as_i64().unwrap_or_default()
}
