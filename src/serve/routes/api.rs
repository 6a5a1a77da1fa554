//! What programs ask of the server itself: how it is, which models it has, what it counted.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::serve::app::App;
use crate::serve::draw;
use crate::serve::error::{ApiError, ApiResult};

/// The description of the interface, but for the version.
const OPENAPI: &str = include_str!("../openapi.json");

pub(super) async fn health(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "status": "ok", "version": env!("CARGO_PKG_VERSION"), "models": app.models.all().len(),
        "label": app.label.is_some(),
        "queue": { "waiting": app.now().waiting, "capacity": app.queue.capacity() },
    }))
}

pub(super) async fn openapi() -> Response {
    let text = OPENAPI.replace("VERSION", env!("CARGO_PKG_VERSION"));
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

pub(super) async fn metrics(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.text(app.now())).into_response()
}

pub(super) async fn models(State(app): State<App>) -> Json<Value> {
    let settings = &app.settings;
    Json(app.models.all().iter().map(|model| model.to_json(settings.allow_url, &settings.limits)).collect())
}

pub(super) async fn thumbnail(
    State(app): State<App>,
    Path((id, number)): Path<(String, String)>,
) -> ApiResult<Response> {
    let model = app.models.get(&id).ok_or_else(|| ApiError::not_found("there is no model of that name"))?;
    let sample = number.parse().ok().and_then(|number: usize| model.samples.get(number)).cloned();
    let sample = sample.ok_or_else(|| ApiError::not_found(format!("{id} has no sample image of that number")))?;
    let dataset = model.predictor.dataset();
    let (bands, nodata) = (dataset.bands, dataset.nodata_numbers());
    let drawn = app.drawn(move || draw::thumbnail(&sample, bands, &nodata)).await??;
    Ok(([(CONTENT_TYPE, "image/jpeg")], drawn).into_response())
}
