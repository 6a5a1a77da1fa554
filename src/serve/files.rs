//! The files that are made of a result, when they are asked for.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::budget::Share;
use super::draw;
use super::error::{ApiError, ApiResult};
use super::finished::{Content, File, Finished};
use super::job::Job;
use crate::base::Result;
use crate::data::load_bands;
use crate::predict::PolygonOptions;

/// How opaque classes are over the image, as with `segtool predict --overlay`.
const OPACITY: f32 = 0.5;
const SCALE: HeaderName = HeaderName::from_static("x-scale");

/// Makes a file and sends it. Bands and the most pixels a side are for what pages show.
pub(super) async fn answer(
    app: &App,
    job: Arc<Job>,
    result: Arc<Finished>,
    file: File,
    (bands, most): (Vec<usize>, usize),
) -> ApiResult<Response> {
    if file.content == Content::Tiff && !result.is_placed() {
        let text = "the image is not georeferenced, so there is no GeoTIFF of its labels; use npy or png";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let named = Arc::clone(&job);
    let made = app.drawn(move || make(&job, &result, file.content, &bands, most)).await?;
    let (bytes, scale) = made.map_err(|fault| {
        let fault = ApiError::from(fault);
        ApiError::new(fault.status, named.file.named(fault.text()))
    })?;
    let busy = || ApiError::busy("too many results are being downloaded; try again later", 5);
    let share = app.answers.reserve(bytes.len() as u64).ok_or_else(busy)?;
    let body = Bytes::from_owner(Untaken { bytes, _share: share });
    let mut answer = ([(CONTENT_TYPE, file.kind)], body).into_response();
    let headers = answer.headers_mut();
    if let Some((_, ending)) = file.download {
        headers.insert(CONTENT_DISPOSITION, attachment(&format!("{}{ending}", named.stem())));
    } else if let Ok(scale) = HeaderValue::from_str(&scale.to_string()) {
        headers.insert(SCALE, scale);
    }
    Ok(answer)
}

/// Bytes of an answer, which count until the client has taken them or is gone.
struct Untaken {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Untaken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn make(job: &Job, result: &Finished, content: Content, bands: &[usize], most: usize) -> Result<(Vec<u8>, f64)> {
    let (prediction, path) = (&result.prediction, job.file.path());
    let dataset = &prediction.dataset;
    let whole = |bytes: Vec<u8>| (bytes, 1.0);
    match content {
        Content::Image => draw::image_jpeg(path, bands, &dataset.nodata_numbers(), most),
        Content::Classes => Ok(draw::classes(result, most)),
        Content::Probability => Ok(draw::probabilities(result, most)),
        Content::Npy => prediction.to_npy().map(whole),
        Content::Png => prediction.to_label_png().map(whole),
        Content::Geojson => prediction.to_geojson(path, PolygonOptions::default()).map(whole),
        Content::Tiff => prediction.to_tiff(path).map(whole),
        Content::Overlay => {
            let shown = load_bands(path, dataset, job.bands.as_deref())?.to_rgb(&[]);
            prediction.to_overlay_png(&shown, OPACITY).map(whole)
        }
    }
}

/// Has a browser save a file under a name, in ASCII and as it is.
fn attachment(name: &str) -> HeaderValue {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    let text = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", percent_encoded(name));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// A text as it stands in an address or a header.
pub(super) fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_downloads_are_kept() {
        let text = attachment("Löß \"1\".tif");
        assert_eq!(text, "attachment; filename=\"L____1_.tif\"; filename*=UTF-8''L%C3%B6%C3%9F%20%221%22.tif");
    }
}
