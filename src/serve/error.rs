//! What is answered to a request that is not met: a status and a sentence that says what to do, as JSON.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::base::Error;

/// Result with an [`ApiError`].
pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// An answer that says what is wrong.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// `error`, and what else helps a program.
    body: Map<String, Value>,
    /// Seconds after which the same request may be met.
    retry_after: Option<u64>,
}

impl ApiError {
    /// An error with a sentence about it.
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let body = Map::from_iter([("error".to_owned(), Value::String(text.into()))]);
        Self { status, body, retry_after: None }
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// There is no room at the moment.
    pub(crate) fn busy(text: impl Into<String>, seconds: u64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    /// The same with another member in its JSON.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.into(), value.into());
        self
    }

    /// The sentence.
    pub(crate) fn text(&self) -> &str {
        self.body.get("error").and_then(Value::as_str).unwrap_or_default()
    }
}

/// What is said where a thread of this program failed.
pub(super) fn fault() -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error; the operator finds details in the server's standard error",
    )
}

impl From<Error> for ApiError {
    /// What is wrong with a file or a setting lies with the request; what the system refuses does not.
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Read { .. } | Error::Write { .. } | Error::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Error::Memory { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Unknown { .. } => StatusCode::NOT_FOUND,
            Error::Occupied { .. } => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string().replace('`', ""))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Value::Object(self.body))).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
