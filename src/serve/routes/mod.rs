//! The routes of the server.

mod api;
mod jobs;
mod pages;
mod predict;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::app::App;
use super::error::{ApiError, fault};
use super::guard::guard;
use super::labelling;

/// Longest time in which nothing of a body arrives.
const SILENCE: Duration = Duration::from_secs(20);

/// All routes, behind the guard.
pub(super) fn router(app: &App) -> Router {
    let mut router = Router::new()
        .route("/", get(pages::root))
        .route("/label", get(pages::label))
        .route("/assets/{name}", get(pages::asset))
        .route("/metrics", get(api::metrics))
        .route("/api/health", get(api::health))
        .route("/api/openapi.json", get(api::openapi))
        .route("/api/models", get(api::models))
        .route("/api/models/{id}/samples/{number}/thumbnail.jpg", get(api::thumbnail))
        .route("/api/predict", post(predict::predict))
        .route("/api/jobs", post(jobs::create))
        .route("/api/jobs/{id}", get(jobs::told).delete(jobs::delete))
        .route("/api/jobs/{id}/events", get(jobs::events))
        .route("/api/jobs/{id}/{file}", get(jobs::file))
        .with_state(Arc::clone(app));
    if let Some(label) = &app.label {
        router = router.nest("/api/label", labelling::routes(Arc::clone(label), Arc::clone(&app.models)));
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(RequestBodyTimeoutLayer::new(SILENCE))
        .layer(from_fn_with_state(Arc::clone(app), guard))
        .layer(from_fn_with_state(Arc::clone(app), measure))
}

async fn unknown() -> ApiError {
    ApiError::not_found("there is nothing at this address; /api/openapi.json describes what there is")
}

async fn other_method() -> ApiError {
    let text = "this address does not take requests of that method; /api/openapi.json says which";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text)
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    fault().into_response()
}

/// Counts a request and the time until the head of its answer.
async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    let method = known.into_iter().find(|known| *known == request.method().as_str()).unwrap_or("other");
    let answer = next.run(request).await;
    app.metrics.request(method, &route, answer.status().as_u16(), began.elapsed());
    answer
}
