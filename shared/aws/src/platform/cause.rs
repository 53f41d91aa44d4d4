//! Why a call of AWS failed, in a line.

use std::{error::Error, fmt::Debug};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// What the service answered, by its code; else the chain of causes, from the outermost to the innermost. The SDK's own
/// context adds a dump of the error, a screen full of the request and the response, which says no more.
pub fn cause<E, R>(error: &SdkError<E, R>) -> String
where
    E: Error + ProvideErrorMetadata + 'static,
    R: Debug + 'static,
{
    match error.as_service_error().map(|answered| (answered.code(), answered.message())) {
        Some((Some(code), Some(message))) => format!("service error ({code}): {message}"),
        Some((Some(code), None)) => format!("service error ({code})"),
        _ => chain(error),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told.push_str(": ");
        told.push_str(&cause.to_string());
        source = cause.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use std::io;

    use aws_sdk_dynamodb::{
        error::{ConnectorError, ErrorMetadata},
        operation::get_item::GetItemError,
    };

    use super::*;

    #[test]
    fn what_was_answered_is_told_by_its_code() {
        let metadata =
            ErrorMetadata::builder().code("AccessDeniedException").message("not authorized").build();
        let error = SdkError::service_error(GetItemError::generic(metadata), ());
        assert_eq!(cause(&error), "service error (AccessDeniedException): not authorized");
    }

    #[test]
    fn what_was_not_answered_is_told_by_its_causes_and_without_a_dump() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "Connection refused");
        let error: SdkError<GetItemError, ()> =
            SdkError::dispatch_failure(ConnectorError::io(refused.into()));
        assert_eq!(cause(&error), "dispatch failure: io error: Connection refused");
    }
}
