//! An image in, its label map out: one request, for programs.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::serve::app::App;
use crate::serve::error::{ApiError, ApiResult, fault};
use crate::serve::files::answer;
use crate::serve::finished::File;
use crate::serve::job::Job;
use crate::serve::params::Params;
use crate::serve::submit::{Asked, submit};

/// Gives a job up when nobody waits for it any more.
struct Waiting {
    app: App,
    job: Arc<Job>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.app.cancel(&self.job);
    }
}

pub(super) async fn predict(
    State(app): State<App>,
    Params(asked): Params<Asked>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let unknown = || ApiError::bad_request("format must be one of npy, png, tiff, geojson, overlay and json");
    let file = match asked.format.as_deref().unwrap_or("npy") {
        "json" => None,
        format => Some(File::of_format(format).ok_or_else(unknown)?),
    };
    let job = submit(&app, asked, &headers, body, false).await?;
    let waiting = Waiting { app: Arc::clone(&app), job };
    let job = &waiting.job;
    let mut changes = job.watch();
    changes.wait_for(|status| status.state.is_over()).await.map_err(|_| fault())?;
    let status = job.status();
    let Some(result) = status.result else {
        let text = status.error.unwrap_or_else(|| "the prediction was cancelled".into());
        let closing = app.queue.check() == Err(crate::serve::queue::Refused::Closed);
        return Err(if closing {
            ApiError::busy(text, 10)
        } else {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, text)
        });
    };
    match file {
        None => Ok(Json(job.to_json(false)).into_response()),
        Some(file) => answer(&app, Arc::clone(job), result, file, (Vec::new(), usize::MAX)).await,
    }
}
