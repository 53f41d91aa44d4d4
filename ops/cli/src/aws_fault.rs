//! What AWS answers, in a line that an operator can act on.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use sallyport_aws::cause;

use crate::{failure::Failure, proxy::by_proxy};

/// A failed call of the command's own.
pub(crate) fn from_sdk<E>(operation: &str, error: &SdkError<E>) -> Failure
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), message) => refused(operation, code, message.unwrap_or_default()),
        (None, _) => unanswered(operation, &cause(error)),
    }
}

/// A failed call of an adapter, which keeps its error as [`cause`] tells it.
pub(crate) fn from_text(operation: &str, reason: &str) -> Failure {
    match reason.strip_prefix("service error (").and_then(|rest| rest.split_once(')')) {
        Some((code, message)) => refused(operation, code, message.trim_start_matches(": ")),
        None => unanswered(operation, reason),
    }
}

/// The service answered, with an error.
fn refused(operation: &str, code: &str, message: &str) -> Failure {
    let name = code.rsplit('#').next().unwrap_or(code);
    let said = one_line(message);
    match name {
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => {
            Failure::dependency("access_denied", format!("{operation}: no right to do this: {said}"))
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "ExpiredTokenException"
        | "ExpiredToken" => Failure::dependency(
            "credentials_refused",
            format!(
                "{operation}: AWS does not accept these credentials ({name}): sign in again, or pass --profile"
            ),
        ),
        "ResourceNotFoundException" => Failure::not_found(
            "resource_not_found",
            format!(
                "{operation}: the table or secret does not exist here: is it the right stack, region and account?"
            ),
        ),
        "ThrottlingException" | "ProvisionedThroughputExceededException" | "RequestLimitExceeded" => {
            Failure::dependency(
                "throttled",
                format!("{operation}: AWS throttles the calls: try again in a minute"),
            )
        }
        _ if said.is_empty() => Failure::dependency("aws_error", format!("{operation}: {name}")),
        _ => Failure::dependency("aws_error", format!("{operation}: {name}: {said}")),
    }
}

/// Nothing was answered.
fn unanswered(operation: &str, reason: &str) -> Failure {
    let innermost = reason.rsplit(": ").next().unwrap_or(reason).trim();
    if reason.contains("credential") {
        Failure::dependency(
            "no_credentials",
            format!(
                "{operation}: no AWS credentials: sign in, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass --profile"
            ),
        )
    } else if reason.contains("timeout") || reason.contains("timed out") {
        let from = endpoint(reason).map(|endpoint| format!(" from {endpoint}{}", by_proxy(endpoint)));
        let from = from.unwrap_or_default();
        Failure::dependency("timeout", format!("{operation}: no answer in time{from}"))
    } else if reason.starts_with("dispatch failure") {
        let endpoint = endpoint(reason).unwrap_or("the endpoint");
        let why = if reason.contains("certificate") || reason.contains("UnknownIssuer") {
            format!("{innermost} (AWS_CA_BUNDLE names the certificates to trust)")
        } else {
            innermost.to_owned()
        };
        let proxy = by_proxy(endpoint);
        Failure::dependency("unreachable", format!("{operation}: can't reach {endpoint}{proxy}: {why}"))
    } else {
        Failure::dependency("dependency_unavailable", format!("{operation}: {}", one_line(reason)))
    }
}

/// Where the call went, as the transport says it: `at http://127.0.0.1:8000`.
fn endpoint(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once(": at http")?;
    let start = reason.len() - rest.len() - "http".len();
    let end = reason.get(start..)?.find(": ").map_or(reason.len(), |at| start + at);
    reason.get(start..end)
}

/// The address in a line of [`unanswered`], or of a request to the API.
pub(crate) fn address_of(message: &str) -> Option<&str> {
    message.split(' ').find(|word| word.starts_with("http://") || word.starts_with("https://"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    const DENIED: &str = "service error (AccessDeniedException): User: arn:aws:iam::1:user/eve is not authorized to perform: \
        dynamodb:GetItem";

    const REFUSED: &str = "dispatch failure: io error: at http://127.0.0.1:8000: io error: client error (Connect): tcp connect error: Connection refused (os \
        error 111)";

    #[test]
    fn a_refusal_is_one_line() {
        let failure = from_text("read the login record", DENIED);
        assert_eq!(failure.code, "access_denied");
        assert_eq!(failure.exit, Exit::Dependency);
        insta::assert_snapshot!(failure.message, @"read the login record: no right to do this: User: arn:aws:iam::1:user/eve is not authorized to perform: dynamodb:GetItem");
    }

    #[test]
    fn an_endpoint_that_nobody_listens_on_is_named_as_such() {
        let failure = from_text("read the keyring", REFUSED);
        assert_eq!(failure.code, "unreachable");
        insta::assert_snapshot!(failure.message, @"read the keyring: can't reach http://127.0.0.1:8000: Connection refused (os error 111)");
        assert_eq!(address_of(&failure.message), Some("http://127.0.0.1:8000:"));
        let failure = from_text("read", "dispatch failure: io error: Connection refused");
        assert_eq!(failure.message, "read: can't reach the endpoint: Connection refused");
    }

    #[test]
    fn a_missing_table_points_at_the_wrong_stack() {
        let failure = refused("read", "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "");
        assert_eq!((failure.code, failure.exit), ("resource_not_found", Exit::NotFound));
    }
}
