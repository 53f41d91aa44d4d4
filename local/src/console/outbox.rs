//! The messages that would have been sent, as a page.

use serde_json::Value;

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=3>\
<title>Outbox</title><style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
article{border:1px solid #ccc;border-radius:6px;padding:.5rem 1rem;margin:1rem 0}dt{color:#666}\
dd{margin:0 0 .5rem;overflow-wrap:anywhere;white-space:pre-wrap}</style><h1>Outbox</h1>";

/// The page of the messages, newest first.
pub(super) fn page(messages: &[Value]) -> String {
    let mut page = HEAD.to_owned();
    if messages.is_empty() {
        page.push_str("<p>No message yet.");
    }
    for message in messages {
        page.push_str("<article><dl>");
        for (name, value) in message.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            page.push_str(&format!("<dt>{}<dd>{}", escape(name), escape(&text)));
        }
        page.push_str("</dl></article>");
    }
    page
}

/// Newest first, as the sort key or the time of writing says.
pub(super) fn newest_first(messages: &mut [Value]) {
    let age = |message: &Value| {
        let number = |name: &str| message.get(name).and_then(Value::as_u64).unwrap_or_default();
        let key = message.get("sk").and_then(Value::as_str).unwrap_or_default().to_owned();
        (number("created_at"), number("expires_at"), key)
    };
    messages.sort_by_key(|message| std::cmp::Reverse(age(message)));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_stand_newest_first_and_are_escaped() {
        let mut messages = vec![json!({"sk": "1", "created_at": 1}), json!({"sk": "<b>", "created_at": 2})];
        newest_first(&mut messages);
        let page = page(&messages);
        assert!(page.contains("<dt>created_at<dd>2<dt>sk<dd>&lt;b&gt;</dl>"), "{page}");
        assert!(page.find("<dd>2").unwrap() < page.find("<dd>1").unwrap());
        assert!(super::page(&[]).contains("No message yet"));
    }
}
