//! `segtool serve`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use segtool::nn::device::DeviceChoice;
use segtool::nn::precision::Precision;

use super::Given;
use super::headings::{ACCESS, HARDWARE, INFERENCE, LABELLING, LIMITS, MODEL};
use super::values::{Tile, bytes, positive, span, threads, tile};

#[derive(Debug, Args)]
#[command(
    override_usage = "\
segtool serve --run RUN... [OPTIONS]
       segtool serve --label FOLDER|IMAGE [--run RUN...] [OPTIONS]",
    after_help = "`segtool serve --help` lists all options, with examples.",
    after_long_help = "\
Examples:
  segtool serve --run runs/seeps
  segtool serve --run runs/seeps --run runs/core --port 8080 --tile 512
  segtool serve --label cores/ --recipe hypercolumn-core \\
      --weights vgg16-imagenet
  segtool serve --run runs/seeps --host 0.0.0.0 --allow-host gpu.example.org

The first line on standard output is the address, to be opened in a browser.
Programs find a description of the interface at /api/openapi.json, and
Prometheus its numbers at /metrics:

  curl --data-binary @scene.tif \\
      'http://127.0.0.1:5000/api/predict?format=geojson' > scene.geojson

Images are computed one after another; those of one size that wait for the same
network are computed together. Where more wait than --max-queue, the answer is
503 with the header Retry-After. Images that are sent stay in memory, as do the
newest results.

The server listens on this machine alone. With another --host, a token is
needed: --token, or the environment variable SEGTOOL_TOKEN, which other users of
the machine cannot see; or --insecure. The connection is not encrypted: reach
a server on another machine through an SSH tunnel (ssh -L 5000:localhost:5000)
or behind a proxy with TLS.

SIGINT (Ctrl-C) and SIGTERM are the normal ways to end it, with exit code 0."
)]
pub(crate) struct Serve {
    /// Run folder written by `segtool train` whose model predicts; repeat for several, chosen on the page
    #[arg(long, value_name = "RUN", help_heading = MODEL)]
    pub(crate) run: Vec<PathBuf>,
    /// Folder of images (subfolders are not read), or an image, to label in the browser; a random forest learns from the labels
    #[arg(long, value_name = "FOLDER|IMAGE", help_heading = LABELLING)]
    pub(crate) label: Option<PathBuf>,
    /// Recipe of that forest: a built-in name or a .toml file [default: hypercolumn-core]
    #[arg(long, short = 'm', value_name = "NAME|FILE", requires = "label", help_heading = LABELLING)]
    pub(crate) recipe: Option<String>,
    /// Weights of the encoder that gives its features, such as vgg16-imagenet [default: random weights]
    #[arg(long, short = 'w', value_name = "FILE|RUN|NAME|URL", requires = "label", help_heading = LABELLING)]
    pub(crate) weights: Vec<String>,
    /// Folder of the label images, which is continued where it is there [default: a folder beside the images]
    #[arg(long, value_name = "DIR", requires = "label", help_heading = LABELLING)]
    pub(crate) labels: Option<PathBuf>,
    /// Address to listen at; 0.0.0.0 or :: for all of this machine's, with a token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = ACCESS)]
    pub(crate) host: IpAddr,
    /// Port; 0 for a free one
    #[arg(long, value_name = "N", default_value_t = 5000, help_heading = ACCESS)]
    pub(crate) port: u16,
    /// Secret that every request must carry: at least 8 characters, without spaces [default: the environment variable
    /// SEGTOOL_TOKEN, if set]
    #[arg(long, value_name = "TOKEN", conflicts_with = "insecure", help_heading = ACCESS)]
    pub(crate) token: Option<String>,
    /// Listen at an address that other machines can reach without a token: whoever can reach it can use it
    #[arg(long, help_heading = ACCESS)]
    pub(crate) insecure: bool,
    /// Name by which browsers call this server, besides localhost and its address (repeatable)
    #[arg(long, value_name = "NAME", help_heading = ACCESS)]
    pub(crate) allow_host: Vec<String>,
    /// Fetch images from http and https addresses that users enter; never from private, loopback or link-local ones
    #[arg(long, requires = "run", help_heading = ACCESS)]
    pub(crate) allow_url: bool,
    /// Most images that wait
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive, requires = "run", help_heading = LIMITS)]
    pub(crate) max_queue: usize,
    /// Largest image file
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = bytes, requires = "run", help_heading = LIMITS)]
    pub(crate) max_size: u64,
    /// Most pixels of an image, such as 100M or 2000000
    #[arg(long, value_name = "N", default_value = "100M", value_parser = pixels, requires = "run", help_heading = LIMITS)]
    pub(crate) max_pixels: u64,
    /// Longest computing time of an image; checked after each sliding window
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span, requires = "run", help_heading = LIMITS)]
    pub(crate) max_time: Duration,
    /// Predict images larger than this in sliding windows with this side length, in pixels [default: images of more than 4
    /// million pixels or too large for the memory, in the largest windows that fit]
    #[arg(long, value_name = "N|auto", value_parser = tile, requires = "run", help_heading = INFERENCE)]
    pub(crate) tile: Option<Tile>,
    /// Limit on main memory for a prediction, and for the features that label mode keeps, such as 8GiB or 500MiB [default: the
    /// free memory on Linux, otherwise none; a quarter of it for features]
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = HARDWARE)]
    pub(crate) memory: Option<u64>,
    /// auto, cpu, gpu, flex, libtorch, libtorch-cuda:N, vulkan:N or metal:N [default: auto, the fastest available]
    #[arg(long, value_name = "DEVICE", help_heading = HARDWARE)]
    pub(crate) device: Option<DeviceChoice>,
    /// Networks: float32, tf32 (NVIDIA GPUs), bf16 (libtorch) or auto: bf16 on NVIDIA GPUs from Ampere on, else
    /// float32
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Float32, requires = "run", help_heading = HARDWARE)]
    pub(crate) precision: Precision,
    /// Threads that compute [default: one a core]
    #[arg(long, value_name = "N", value_parser = threads, help_heading = HARDWARE)]
    pub(crate) threads: Option<usize>,
    /// What was given on the command line.
    #[arg(skip)]
    pub(crate) given: Given,
}

/// Names every way to give what is missing.
pub(super) fn check(serve: &Serve) -> Result<(), String> {
    if serve.run.is_empty() && serve.label.is_none() {
        let ways = "give --run RUN, a folder written by `segtool train`, or --label FOLDER with images to label";
        return Err(format!("nothing to serve: {ways}"));
    }
    Ok(())
}

/// A number, or thousands (k), millions (M) or billions (G) of them.
fn pixels(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        _ => None,
    };
    match (digits.parse::<f64>(), factor) {
        (Ok(number), Some(factor)) if (1.0..=1e15).contains(&(number * factor)) => Ok((number * factor) as u64),
        _ => Err("is not a number of pixels such as 100M or 100000000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_counted_in_millions() {
        assert_eq!((pixels("100M"), pixels("1.5k"), pixels("7")), (Ok(100_000_000), Ok(1500), Ok(7)));
        for wrong in ["", "M", "0", "-1", "1MiB", "x", "1e99"] {
            assert!(pixels(wrong).is_err(), "{wrong}");
        }
    }
}
