//! The pages and what they load.

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::serve::app::App;
use crate::serve::assets::{self, APP, LABEL};
use crate::serve::error::{ApiError, ApiResult};

/// The app, or the page that labels where there is no model.
pub(super) async fn root(State(app): State<App>) -> Response {
    if app.models.all().is_empty() && app.label.is_some() {
        return Redirect::temporary("/label").into_response();
    }
    Html(APP).into_response()
}

pub(super) async fn label(State(app): State<App>) -> ApiResult<Html<&'static str>> {
    match app.label {
        Some(_) => Ok(Html(LABEL)),
        None => Err(ApiError::not_found("nothing is labelled here: start segtool serve with --label FOLDER")),
    }
}

pub(super) async fn asset(Path(name): Path<String>) -> ApiResult<Response> {
    let asset = assets::find(&name).ok_or_else(|| ApiError::not_found("the pages load no file of that name"))?;
    Ok(([(CONTENT_TYPE, asset.kind)], asset.text).into_response())
}
