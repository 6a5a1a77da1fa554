//! The query of a request, with its faults as JSON.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::base::error::plain_types;

/// What stands behind the question mark of a request's address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let found = Query::try_from_uri(&parts.uri).map_err(|fault| {
            let text = fault.body_text();
            let reason = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, reason)| reason);
            ApiError::bad_request(format!("the query of the request is not as expected: {}", plain_types(reason)))
        });
        found.map(|Query(params)| Self(params))
    }
}
