//! Label mode over HTTP.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use super::bodies::{NewClasses, NewPatches, Part, ToSuggest, ToTrain, WithModel, WithRun};
use super::events::LabelEvent;
use super::project::{Patched, Reclassed};
use super::workbench::Labelling;
use crate::base::{Error, Result};
use crate::draw::encode_jpeg;
use crate::image::Image;
use crate::serve::error::{ApiError, ApiResult};
use crate::serve::models::Models;
use crate::serve::sse;

/// Of 100: edges stay clean under strokes.
const QUALITY: u8 = 92;
const SMALL_QUALITY: u8 = 80;
/// Most bytes of a request with patches: 6 million pixels.
const PATCHES: usize = 8 << 20;
/// Most bytes of other requests.
const SMALL: usize = 1 << 20;
/// Images that are decoded or asked about at the same time.
const AT_ONCE: usize = 4;

const OCTETS: &str = "application/octet-stream";
const REVISION: HeaderName = HeaderName::from_static("x-revision");
const MODEL: HeaderName = HeaderName::from_static("x-model");

/// What all requests share.
#[derive(Clone)]
struct Desk {
    labelling: Arc<Labelling>,
    models: Arc<Models>,
    heavy: Arc<Semaphore>,
    filling: Arc<Semaphore>,
}

type Body = Result<Bytes, BytesRejection>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type Index = Result<Path<usize>, PathRejection>;

/// The routes of label mode, below the place that the server gives them.
pub(in crate::serve) fn routes(labelling: Arc<Labelling>, models: Arc<Models>) -> Router {
    let desk =
        Desk { labelling, models, heavy: Arc::new(Semaphore::new(AT_ONCE)), filling: Arc::new(Semaphore::new(1)) };
    let patches = post(patches).layer(DefaultBodyLimit::max(PATCHES));
    Router::new()
        .route("/", get(overview))
        .route("/classes", put(classes))
        .route("/events", get(events))
        .route("/images/{image}/image.jpg", get(image))
        .route("/images/{image}/thumbnail.jpg", get(thumbnail))
        .route("/images/{image}/labels.bin", get(labels))
        .route("/images/{image}/patches", patches)
        .route("/images/{image}/prediction.bin", get(prediction))
        .route("/images/{image}/suggestions", get(suggestions))
        .route("/images/{image}/filled.bin", get(filled))
        .route("/train", post(train))
        .route("/score", get(score))
        .route("/save", post(save))
        .layer(DefaultBodyLimit::max(SMALL))
        .with_state(desk)
}

impl Desk {
    /// Does what takes time where it holds nobody up.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Labelling) -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let labelling = Arc::clone(&self.labelling);
        let done = tokio::task::spawn_blocking(move || work(&labelling)).await;
        done.map_err(|_| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the server's log says more")
        })?
    }

    /// [`Self::work`] that takes much memory or all threads: only some at a time.
    async fn heavy_work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Labelling) -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let turn = Arc::clone(&self.heavy).acquire_owned().await;
        let work = move |labelling: &Labelling| {
            // It goes with the work, which goes on when its client is gone.
            let _turn = turn;
            work(labelling)
        };
        self.work(work).await
    }

    /// The index of an image that there is.
    fn image(&self, index: Index) -> ApiResult<usize> {
        let unknown = |e: PathRejection| ApiError::not_found(format!("there is no such image: {}", e.body_text()));
        let Path(image) = index.map_err(unknown)?;
        self.labelling.path(image).map(|_| image).map_err(|e| ApiError::not_found(words(&e)))
    }
}

/// An error as people on the page read it.
fn words(error: &Error) -> String {
    error.to_string().replace('`', "")
}

/// Where there is no model to ask, that is what is not found.
fn of_model(error: Error) -> ApiError {
    match error {
        Error::NoData { .. } => ApiError::not_found(words(&error)),
        other => other.into(),
    }
}

/// JSON of a request; an empty body is an empty object.
fn parsed<T: DeserializeOwned>(body: Body) -> ApiResult<T> {
    let bytes =
        body.map_err(|e| ApiError::new(e.status(), format!("the request cannot be read: {}", e.body_text())))?;
    let bytes = if bytes.is_empty() { b"{}".as_slice().into() } else { bytes };
    serde_json::from_slice(&bytes)
        .map_err(|e| ApiError::bad_request(format!("the request is not the JSON that is expected: {e}")))
}

fn asked<T>(query: Asked<T>) -> ApiResult<T> {
    query.map(|Query(found)| found).map_err(|e| ApiError::bad_request(e.body_text()))
}

fn jpeg(bytes: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "image/jpeg")], bytes).into_response()
}

async fn overview(State(desk): State<Desk>) -> ApiResult<Response> {
    let models = desk.models.all().iter().map(|model| model.id.clone()).collect();
    let overview = desk.work(|labelling| Ok(labelling.overview())).await?;
    Ok(Json(super::workbench::Overview { models, ..overview }).into_response())
}

async fn classes(State(desk): State<Desk>, body: Body) -> ApiResult<Response> {
    let NewClasses { revision, classes, drop_pixels } = parsed(body)?;
    let done = desk.work(move |labelling| Ok(labelling.reclass(revision, classes, drop_pixels)?)).await?;
    match done {
        Reclassed::Done(revision) => Ok(Json(json!({ "revision": revision })).into_response()),
        Reclassed::Conflict(now, reason) => {
            let error = ApiError::new(StatusCode::CONFLICT, reason);
            Err(error.with("revision", json!(now.revision)).with("classes", json!(now.classes)))
        }
    }
}

/// What happens, until the program ends. A page that was too slow is told that it missed something.
async fn events(State(desk): State<Desk>) -> Response {
    let stream = BroadcastStream::new(desk.labelling.events())
        .map(|event| event.unwrap_or(LabelEvent::Behind))
        .take_while(|event| *event != LabelEvent::Closed)
        .map(|event| (event.name(), serde_json::to_value(&event).unwrap_or(Value::Null)));
    sse::events(stream)
}

async fn image(State(desk): State<Desk>, index: Index) -> ApiResult<Response> {
    let image = desk.image(index)?;
    let bytes = desk.heavy_work(move |labelling| Ok(encode_jpeg(&labelling.shown(image)?, QUALITY)?)).await?;
    Ok(jpeg(bytes))
}

async fn thumbnail(State(desk): State<Desk>, index: Index) -> ApiResult<Response> {
    let image = desk.image(index)?;
    let bytes = desk.heavy_work(move |labelling| Ok(encode_jpeg(&labelling.thumbnail(image)?, SMALL_QUALITY)?)).await?;
    Ok(jpeg(bytes))
}

async fn labels(State(desk): State<Desk>, index: Index) -> ApiResult<Response> {
    let image = desk.image(index)?;
    let (values, revision) = desk.work(move |labelling| Ok(labelling.labels(image)?)).await?;
    let values = Arc::unwrap_or_clone(values);
    Ok(([(CONTENT_TYPE, OCTETS.to_owned()), (REVISION, revision.to_string())], values).into_response())
}

async fn patches(State(desk): State<Desk>, index: Index, body: Body) -> ApiResult<Response> {
    let image = desk.image(index)?;
    let change = move |labelling: &Labelling| {
        let change = parsed::<NewPatches>(body)?.decoded()?;
        Ok(labelling.change(image, &change)?)
    };
    match desk.work(change).await? {
        Patched::Done(revision) => Ok(Json(json!({ "revision": revision })).into_response()),
        Patched::Conflict { revision, conflicts } => {
            let text = "another tab has changed some of these pixels; reload them, then overwrite them or leave them";
            let error = ApiError::new(StatusCode::CONFLICT, text);
            Err(error.with("revision", json!(revision)).with("conflicts", json!(conflicts)))
        }
    }
}

async fn train(State(desk): State<Desk>, body: Body) -> ApiResult<Response> {
    let view = parsed::<ToTrain>(body)?.view();
    // So that a view that lies nowhere is refused, but nobody waits.
    let number = desk.labelling.train(view)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "number": number }))).into_response())
}

async fn prediction(State(desk): State<Desk>, index: Index, query: Asked<Part>) -> ApiResult<Response> {
    let image = desk.image(index)?;
    let part = asked(query)?;
    let rect = part.rect()?;
    let found = desk.heavy_work(move |labelling| labelling.prediction(image, part.model, rect).map_err(of_model));
    let (found, number) = found.await?;
    let mut bytes = found.values;
    bytes.extend_from_slice(&found.uncertainty);
    Ok(([(CONTENT_TYPE, OCTETS.to_owned()), (MODEL, number.to_string())], bytes).into_response())
}

async fn suggestions(State(desk): State<Desk>, index: Index, query: Asked<ToSuggest>) -> ApiResult<Response> {
    let image = desk.image(index)?;
    let ToSuggest { model, count } = asked(query)?;
    let found = desk.heavy_work(move |labelling| labelling.suggestions(image, model, count).map_err(of_model)).await?;
    Ok(Json(found).into_response())
}

async fn score(State(desk): State<Desk>, query: Asked<WithModel>) -> ApiResult<Response> {
    let WithModel { model } = asked(query)?;
    Ok(Json(desk.labelling.score(model).map_err(of_model)?).into_response())
}

async fn filled(State(desk): State<Desk>, index: Index, query: Asked<WithRun>) -> ApiResult<Response> {
    let image = desk.image(index)?;
    let WithRun { run } = asked(query)?;
    let models = Arc::clone(&desk.models);
    // One at a time: it may take all threads and most of the memory.
    let turn = Arc::clone(&desk.filling).acquire_owned().await;
    let values = desk.work(move |labelling| {
        let _turn = turn;
        let unknown = || ApiError::not_found(format!("there is no model {run}; GET /api/label names them"));
        let model = models.get(&run).ok_or_else(unknown)?;
        let path = labelling.path(image)?;
        let read = Image::read(path)?;
        let (options, _) = model.options(path, read.size, None)?;
        let prediction = model.predictor.predict_with(path, read, &options)?;
        Ok(labelling.filled(image, &prediction)?)
    });
    Ok(([(CONTENT_TYPE, OCTETS)], values.await?).into_response())
}

async fn save(State(desk): State<Desk>, body: Body) -> ApiResult<Response> {
    let WithModel { model } = parsed(body)?;
    let saved = desk.heavy_work(move |labelling| labelling.save(model).map_err(of_model)).await?;
    Ok(Json(saved).into_response())
}
