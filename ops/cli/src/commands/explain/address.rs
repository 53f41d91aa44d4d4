//! `sallyport explain address`.

use std::{cmp::Reverse, time::Duration};

use sallyport_core::{
    address::ClientAddress,
    audit::EventKind,
    clock::Timestamp,
    flags::{Flags, ReadFlags as _},
    throttle::{AddressLimit, ShowLimits as _},
};

use super::{Cause, Explanation, LOOKED_THROUGH, logs, modes};
use crate::{
    address::AddressOrNetwork,
    audit::{self, Item, Wanted},
    cli::Target,
    commands::user::events::{self, EventReport},
    deployment::Deployment,
    failure::Failure,
    output::{Progress, Since, subject_words},
};

/// Requests and events that are shown.
const MOST: u16 = 20;

pub(super) async fn explain(
    target: &Target,
    source: AddressOrNetwork,
    since: Option<Since>,
    progress: Progress,
) -> Result<Explanation, Failure> {
    let deployment = Deployment::find(target).await?;
    let (flags, now) = (deployment.store.flags().await?, deployment.now());
    let mut causes: Vec<_> = flags
        .blocks_of_network(source.network(), now)
        .map(|(subject, block)| {
            let subject = subject_words(subject);
            let words = format!("{subject} is blocked by {}: {}", block.by, block.reason);
            let cause = Cause::new("blocked", "credential-stuffing", words).until(block.expires_at);
            cause.command(format!("sallyport block remove {subject}"))
        })
        .collect();
    // Budgets belong to addresses: a prefix has none.
    if let AddressOrNetwork::Address(address) = source {
        causes.extend(budget(&deployment, &flags, address, now).await?);
    }
    causes.extend(modes(&flags, now));
    let caller = source.to_string();
    let from = since.map_or_else(|| now.minus(LOOKED_THROUGH), |since| since.moment(now));
    let requests = logs::of_source(target, source, MOST, from, now).await;
    let mut events = Vec::new();
    if let Some(since) = since {
        let networks = vec![source.network()];
        let wanted = Wanted { since: since.moment(now), networks, ..Wanted::default() };
        let found = newest(audit::scan(&deployment, &wanted, progress).await?);
        events = events::with_accounts(&deployment, &found).await;
    }
    Ok(Explanation::new(caller, causes, requests, events, "nothing refuses its requests now", now))
}

/// The address's budget, where it is used up.
async fn budget(
    deployment: &Deployment,
    flags: &Flags,
    address: ClientAddress,
    now: Timestamp,
) -> Result<Option<Cause>, Failure> {
    let limit = AddressLimit { requests: deployment.settings.address_limit()?, ..AddressLimit::default() };
    let limit = flags.emergency(now).map_or(limit, |emergency| emergency.address(&limit));
    let budget = deployment.store.counted(address, &limit, now).await?;
    if budget.used < limit.requests {
        return Ok(None);
    }
    let words =
        format!("{} of {} requests a minute are used", budget.used.min(limit.requests), limit.requests);
    let until = now + Duration::from_secs(budget.resets_in);
    Ok(Some(Cause::new("rate_limited", "limiter-triggers", words).until(until)))
}

/// The newest, newest first; but of passwords that were right all that fit, before a thousand that were wrong hide them.
fn newest(mut items: Vec<Item>) -> Vec<Item> {
    let entered = |item: &Item| {
        let kind = item.get("kind").and_then(|kind| kind.as_s().ok());
        let kinds = [EventKind::SignedIn, EventKind::PasswordAccepted];
        kind.is_some_and(|kind| kinds.iter().any(|entered| entered.as_str() == kind))
    };
    let at = |item: &Item| EventReport::read(item).time;
    items.sort_by_cached_key(|item| Reverse((entered(item), at(item))));
    items.truncate(usize::from(MOST));
    items.sort_by_cached_key(|item| Reverse(at(item)));
    items
}
