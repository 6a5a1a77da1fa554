//! Images that are predicted while their senders watch, and what comes of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;

use crate::serve::app::App;
use crate::serve::error::{ApiError, ApiResult};
use crate::serve::files::answer;
use crate::serve::finished::File;
use crate::serve::job::Job;
use crate::serve::params::Params;
use crate::serve::sse;
use crate::serve::submit::{Asked, submit};

/// Between two events of a job.
const PACE: Duration = Duration::from_millis(100);
/// Most pixels a side of what is shown, if nothing else is asked for, and the most that may be.
const SHOWN: usize = 4096;
const LARGEST: usize = 16384;

pub(super) async fn create(
    State(app): State<App>,
    Params(asked): Params<Asked>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Json<Value>)> {
    if asked.format.is_some() {
        return Err(ApiError::bad_request("a job has results in all formats; leave format out, or use /api/predict"));
    }
    let job = submit(&app, asked, &headers, body, true).await?;
    Ok((StatusCode::ACCEPTED, Json(job.to_json(true))))
}

fn find(app: &App, id: &str) -> ApiResult<Arc<Job>> {
    app.jobs.get(id).ok_or_else(|| {
        let text = "there is no such job, or its result is forgotten: results are kept in memory, the newest ones; send the \
                    image again";
        ApiError::not_found(text)
    })
}

pub(super) async fn told(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    Ok(Json(find(&app, &id)?.to_json(true)))
}

pub(super) async fn delete(State(app): State<App>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let job = find(&app, &id)?;
    if !app.cancel(&job) {
        app.jobs.forget(&id);
    } else {
        app.jobs.ended(&job);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Each change of a job, until it is over.
pub(super) async fn events(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Response> {
    let job = find(&app, &id)?;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut changes = job.watch();
        loop {
            let is_over = changes.borrow_and_update().state.is_over();
            if sender.send(("job", job.to_json(true))).await.is_err() || is_over {
                return;
            }
            tokio::time::sleep(PACE).await;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    Ok(sse::events(ReceiverStream::new(receiver)))
}

/// How a file of a job is wanted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    bands: Option<String>,
    max: Option<usize>,
}

pub(super) async fn file(
    State(app): State<App>,
    Path((id, name)): Path<(String, String)>,
    Params(wanted): Params<Wanted>,
) -> ApiResult<Response> {
    let job = find(&app, &id)?;
    let file = File::of_name(&name).ok_or_else(|| ApiError::not_found("a job has no file of that name"))?;
    let status = job.status();
    let Some(result) = status.result else {
        let text = format!("the job is {}, so it has no result", status.state.name());
        let status = if status.state.is_over() { StatusCode::GONE } else { StatusCode::CONFLICT };
        return Err(ApiError::new(status, text));
    };
    let most = wanted.max.unwrap_or(SHOWN);
    if !(1..=LARGEST).contains(&most) {
        return Err(ApiError::bad_request(format!("max must be from 1 to {LARGEST}, the pixels of the longer side")));
    }
    let bands =
        match wanted.bands.as_deref() {
            None => result.shown.clone(),
            Some(text) => text.split(',').map(|word| word.trim().parse()).collect::<Result<_, _>>().map_err(|_| {
                ApiError::bad_request("bands must be one or three numbers from 1 with commas between them")
            })?,
        };
    answer(&app, job, result, file, (bands, most)).await
}
