//! From a request to a job in the queue.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::app::App;
use super::budget::Share;
use super::error::{ApiError, ApiResult, fault};
use super::fetch;
use super::job::Job;
use super::models::Model;
use super::queue::Refused;
use super::upload::{drain, no_memory, receive};
use crate::base::store::HeldFile;
use crate::base::words::bytes_in_words;
use crate::base::{Error, Size, files};
use crate::image::find_size;

/// What a request says of an image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) name: Option<String>,
    pub(super) bands: Option<String>,
    pub(super) sample: Option<usize>,
    pub(super) url: Option<String>,
    /// Of the answer, where the result is the answer.
    pub(super) format: Option<String>,
}

/// Puts the image of a request into the queue; `kept` says whether its result can be asked for later.
pub(super) async fn submit(
    app: &App,
    asked: Asked,
    headers: &HeaderMap,
    body: Body,
    kept: bool,
) -> ApiResult<Arc<Job>> {
    let mut parts = body.into_data_stream();
    let submitted = enqueue(app, asked, headers, &mut parts, kept).await;
    if submitted.is_err() {
        drain(&mut parts).await;
    }
    submitted
}

async fn enqueue(
    app: &App,
    asked: Asked,
    headers: &HeaderMap,
    parts: &mut BodyDataStream,
    kept: bool,
) -> ApiResult<Arc<Job>> {
    let model = find_model(app, &asked.model)?;
    let bands = asked.bands.as_deref().map(|text| parse_bands(text, model)).transpose()?;
    app.queue.check().map_err(refused)?;
    let (name, bytes, share) = bytes_of(app, model, &asked, headers, parts).await?;
    let name = with_ending(name, &bytes);
    let file = HeldFile::new(&name, bytes);
    let most = app.settings.limits.pixels;
    let read = move || checked(file, most).map(|(file, size)| (file, size, share));
    let (file, size, share) = spawn_blocking(read).await.map_err(|_| fault())??;
    let job = Arc::new(Job::new((&model.id, model.goes_together(size)), (file, share), size, bands));
    if kept {
        app.jobs.add(&job);
    }
    if let Err(reason) = app.queue.push(Arc::clone(&job)) {
        app.jobs.forget(&job.id);
        return Err(refused(reason));
    }
    Ok(job)
}

fn find_model<'a>(app: &'a App, id: &str) -> ApiResult<&'a Model> {
    let models = app.models.all();
    let known = || models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
    match (models, id) {
        ([], _) => Err(ApiError::not_found("no model is served here: start segtool serve with --run RUN")),
        ([only], "") => Ok(only),
        (_, "") => Err(ApiError::bad_request(format!("say which model predicts, with ?model= and one of {}", known()))),
        (_, id) => {
            let unknown = || ApiError::not_found(format!("there is no model of that name; choose {}", known()));
            app.models.get(id).ok_or_else(unknown)
        }
    }
}

/// `4,3,2`: as many bands as the model takes.
fn parse_bands(text: &str, model: &Model) -> ApiResult<Vec<usize>> {
    let wanted = model.predictor.dataset().bands;
    let number = |word: &str| word.trim().parse().ok().filter(|number| (1..=usize::from(u16::MAX)).contains(number));
    let bands: Option<Vec<usize>> = text.split(',').map(number).collect();
    bands.filter(|bands| bands.len() == wanted).ok_or_else(|| {
        let text = match wanted {
            1 => "bands must be one number from 1: the model takes one band".to_owned(),
            _ => format!("bands must be {wanted} numbers from 1 with commas between them, in the order of the model"),
        };
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    })
}

/// The image that is meant, its name and its share of the memory.
async fn bytes_of(
    app: &App,
    model: &Model,
    asked: &Asked,
    headers: &HeaderMap,
    parts: &mut BodyDataStream,
) -> ApiResult<(String, Vec<u8>, Share)> {
    let limit = app.settings.limits.bytes;
    match (asked.sample, asked.url.clone()) {
        (Some(_), Some(_)) => Err(ApiError::bad_request("give sample or url, not both")),
        (None, None) => {
            let (bytes, share) = receive(headers, parts, limit, &app.uploads).await?;
            Ok((asked.name.clone().unwrap_or_else(|| "image".into()), bytes, share))
        }
        (Some(sample), None) => {
            let path = model
                .samples
                .get(sample)
                .cloned()
                .ok_or_else(|| ApiError::not_found(format!("{} has no sample image of that number", model.id)))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let read = move || files::read_bytes(&path);
            let bytes = spawn_blocking(read).await.map_err(|_| fault())??;
            held(app, name, bytes)
        }
        (None, Some(_)) if !app.settings.allow_url => {
            let text = "images are not fetched from addresses here, unless the operator starts segtool serve with --allow-url; \
                        upload the image";
            Err(ApiError::new(StatusCode::FORBIDDEN, text))
        }
        (None, Some(url)) => {
            let Ok(turn) = Arc::clone(&app.fetching).try_acquire_owned() else {
                return Err(ApiError::busy("other images are being fetched; try again later", 5));
            };
            let name = asked.name.clone().unwrap_or_else(|| fetch::name_of(&url));
            let mut share = app.uploads.reserve(limit).ok_or_else(no_memory)?;
            let fetched = move || {
                // Both go with the work, which goes on when its client is gone.
                let _turn = turn;
                let bytes = fetch::fetch(&url, limit)?;
                share.shrink_to(bytes.len() as u64);
                Ok::<_, ApiError>((bytes, share))
            };
            let (bytes, share) = spawn_blocking(fetched).await.map_err(|_| fault())??;
            Ok((name, bytes, share))
        }
    }
}

fn held(app: &App, name: String, bytes: Vec<u8>) -> ApiResult<(String, Vec<u8>, Share)> {
    let limit = app.settings.limits.bytes;
    if bytes.len() as u64 > limit {
        let text = format!("the image is larger than {}, the most that is taken here", bytes_in_words(limit));
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let share = app.uploads.reserve(bytes.len() as u64).ok_or_else(no_memory)?;
    Ok((name, bytes, share))
}

/// Arrays are known by the ending of their names, which a request need not give.
fn with_ending(name: String, bytes: &[u8]) -> String {
    let is_named = [".npy", ".npz"].iter().any(|ending| name.to_ascii_lowercase().ends_with(ending));
    if bytes.starts_with(b"\x93NUMPY") && !is_named { format!("{name}.npy") } else { name }
}

/// The file with the size that its beginning tells: nothing is decoded that is no image, or one of too many pixels.
fn checked(file: HeldFile, most: u64) -> ApiResult<(HeldFile, Size)> {
    let size = find_size(file.path()).map_err(|fault| not_an_image(&file, &fault))?;
    let pixels = (size.width as u64).saturating_mul(size.height as u64);
    if pixels > most {
        let text = format!(
            "{} is an image of {size}, which is more than the {most} pixels that are taken here; send a smaller part of it",
            file.named(&file.path().display().to_string())
        );
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    Ok((file, size))
}

fn not_an_image(file: &HeldFile, fault: &Error) -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, file.named(&fault.to_string()).replace('`', ""))
}

fn refused(reason: Refused) -> ApiError {
    match reason {
        Refused::Full(seconds) => ApiError::busy(format!("the queue is full; try again in {seconds} s"), seconds),
        Refused::Closed => ApiError::busy("the server is shutting down", 10),
    }
}
