//! Server-sent events: what happens, told as it does.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio_stream::{Stream, StreamExt};

/// Between two signs of life, so that nothing on the way takes the connection for a dead one.
const ALIVE: Duration = Duration::from_secs(15);

/// Events with their names and data, until the stream ends.
pub(crate) fn events(stream: impl Stream<Item = (&'static str, Value)> + Send + 'static) -> Response {
    let events = stream.map(|(name, data)| Ok::<_, Infallible>(Event::default().event(name).data(data.to_string())));
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}
