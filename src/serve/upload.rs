//! Images that arrive, into memory and no further than the limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::BodyDataStream;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use tokio::time::timeout;
use tokio_stream::StreamExt;

use super::budget::{Budget, Share};
use super::error::{ApiError, ApiResult};

/// Longest time in which nothing arrives.
const SILENCE: Duration = Duration::from_secs(15);
/// What an upload may take in any case, and the least bytes a second beyond that.
const PATIENCE: Duration = Duration::from_secs(30);
const SLOWEST: u64 = 16 << 10;
/// Most of a body that is not wanted, and the longest time for it.
const DRAINED: usize = 64 << 20;
const DRAINING: Duration = Duration::from_secs(5);

/// The bytes of a request's image, with their share of the memory for uploads.
pub(super) async fn receive(
    headers: &HeaderMap,
    parts: &mut BodyDataStream,
    limit: u64,
    budget: &Arc<Budget>,
) -> ApiResult<(Vec<u8>, Share)> {
    check_headers(headers, limit)?;
    let (mut bytes, mut share) = (Vec::new(), budget.share());
    let began = Instant::now();
    loop {
        let part = match timeout(SILENCE, parts.next()).await {
            Err(_) => return Err(too_slow()),
            Ok(None) => break,
            Ok(Some(Err(_))) => {
                return Err(ApiError::bad_request("the upload was cut off; send the image again"));
            }
            Ok(Some(Ok(part))) => part,
        };
        let length = bytes.len() as u64 + part.len() as u64;
        if length > limit {
            return Err(too_large(limit));
        }
        if !share.grow(part.len() as u64) {
            return Err(no_memory());
        }
        bytes.extend_from_slice(&part);
        if began.elapsed() > PATIENCE + Duration::from_secs(length / SLOWEST) {
            return Err(too_slow());
        }
    }
    if bytes.is_empty() {
        let text = "the request has no body; send the bytes of an image, as with curl --data-binary @scene.tif";
        return Err(ApiError::bad_request(text));
    }
    bytes.shrink_to_fit();
    Ok((bytes, share))
}

/// Takes the rest of a body that is not wanted and leaves it, as far as it comes soon: where a server closes a connection with
/// bytes that nobody has read, the client may lose the answer that says why.
pub(super) async fn drain(parts: &mut BodyDataStream) {
    let mut left = DRAINED;
    let all = async {
        while let Some(Ok(part)) = parts.next().await {
            left = left.saturating_sub(part.len());
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(DRAINING, all).await;
}

fn check_headers(headers: &HeaderMap, limit: u64) -> ApiResult<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text(CONTENT_TYPE).to_ascii_lowercase();
    if ["multipart/", "application/json", "text/html"].iter().any(|other| kind.starts_with(other)) {
        let text = format!(
            "the body must be the bytes of an image, not {kind}; send the file itself, as with curl --data-binary @scene.tif"
        );
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    match text(CONTENT_LENGTH).parse::<u64>() {
        Ok(length) if length > limit => Err(too_large(limit)),
        _ => Ok(()),
    }
}

fn too_large(limit: u64) -> ApiError {
    let limit = crate::base::words::bytes_in_words(limit);
    let text = format!("the image is larger than {limit}, the most that is taken here; send a smaller part of it");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// What is said while other images take the memory for uploads.
pub(super) fn no_memory() -> ApiError {
    ApiError::busy("there is no memory for another image while others wait; try again later", 5)
}

fn too_slow() -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "the image arrives too slowly; send it again over a faster connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive_all(headers: &[(&'static str, &'static str)], body: &'static [u8], limit: u64) -> ApiResult<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let budget = Budget::new(100);
        let mut parts = axum::body::Body::from(body).into_data_stream();
        runtime.block_on(receive(&headers, &mut parts, limit, &budget)).map(|(bytes, _)| bytes)
    }

    #[test]
    fn what_is_no_image_or_too_much_is_refused_before_it_is_read() {
        assert_eq!(receive_all(&[], b"image", 5).unwrap(), b"image");
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(receive_all(&[form], b"image", 5).unwrap(), b"image");
        for (headers, body, limit, status) in [
            (&[][..], &b"image"[..], 4, 413),
            (&[("content-length", "9999999999")], b"image", 5, 413),
            (&[("content-type", "multipart/form-data; boundary=x")], b"image", 5, 415),
            (&[("content-type", "application/json")], b"{}", 5, 415),
            (&[], b"", 5, 400),
            (&[], &[7; 200], 1000, 503),
        ] {
            assert_eq!(receive_all(headers, body, limit).unwrap_err().status.as_u16(), status);
        }
    }
}
