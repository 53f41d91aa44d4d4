//! What was answered to which route, for the check that every documented answer is reached by some suite.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use axum::{
    body::{Body, Bytes},
    http::{Method, Response, header},
};
use serde_json::{Value, json};

/// A file of this process in the directory: one line of JSON an answer.
#[derive(Debug)]
pub(crate) struct Answers(Mutex<File>);

impl Answers {
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn into_directory(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(format!("{}.jsonl", std::process::id()));
        let open = || {
            std::fs::create_dir_all(directory)?;
            File::options().create(true).append(true).open(&path)
        };
        open().map(|file| Self(Mutex::new(file))).with_context(|| path.display().to_string())
    }

    /// Notes the answer and hands it on. `path` is as it was declared, absent where there is no such route; `refused` says
    /// that the gateway itself has answered.
    pub(super) async fn note(
        &self,
        method: &Method,
        path: Option<&'static str>,
        refused: bool,
        answer: Response<Body>,
    ) -> Response<Body> {
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let line = json!({
            "method": method.as_str(),
            "path": path,
            "refused": refused,
            "status": parts.status.as_u16(),
            "code": code(&parts.headers, &body),
        });
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In one write: several backends of a process append to one file. What is lost is missed by the check.
        drop(file.write_all(format!("{line}\n").as_bytes()));
        drop(file);
        Response::from_parts(parts, Body::from(body))
    }
}

/// The member `code` of a problem, `error` of an error of OAuth.
fn code(headers: &axum::http::HeaderMap, body: &Bytes) -> Option<Value> {
    let media_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !media_type.ends_with("json") {
        return None;
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    body.get("code").or_else(|| body.get("error")).filter(|code| code.is_string()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_noted_with_its_code_and_handed_on_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let answers = Answers::into_directory(&directory.path().join("new")).unwrap();
        let problem = Response::builder()
            .status(404)
            .header("content-type", "application/problem+json")
            .body(Body::from(r#"{"code":"not_found"}"#))
            .unwrap();
        let answer = answers.note(&Method::GET, None, true, problem).await;
        assert_eq!(axum::body::to_bytes(answer.into_body(), 100).await.unwrap(), r#"{"code":"not_found"}"#);
        answers.note(&Method::POST, Some("/x/{id}"), false, Response::new(Body::empty())).await;

        let file = directory.path().join("new").join(format!("{}.jsonl", std::process::id()));
        let lines = std::fs::read_to_string(file).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                json!({"method": "GET", "path": null, "refused": true, "status": 404, "code": "not_found"}),
                json!({"method": "POST", "path": "/x/{id}", "refused": false, "status": 200, "code": null}),
            ]
        );
    }
}
