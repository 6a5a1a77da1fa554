//! Counters and times in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use crate::base::locked;

/// Upper bounds of the classes of times, in seconds.
const BOUNDS: [f64; 14] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// How many times fell below each bound.
#[derive(Debug, Clone, Default)]
struct Histogram {
    below: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.below.iter_mut().zip(BOUNDS).filter(|(_, bound)| seconds <= *bound).for_each(|(count, _)| *count += 1);
        self.count += 1;
        self.sum += seconds;
    }

    fn write(&self, name: &str, labels: &str, text: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in BOUNDS.iter().zip(self.below) {
            let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
        }
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(text, "{name}_sum{braced} {}", self.sum);
        let _ = writeln!(text, "{name}_count{braced} {}", self.count);
    }
}

/// What has been counted since the server began.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// By method, route and status.
    requests: BTreeMap<(String, String, u16), u64>,
    /// By route.
    seconds: BTreeMap<String, Histogram>,
    /// By how they ended.
    jobs: BTreeMap<&'static str, u64>,
    waited: Histogram,
    computed: Histogram,
    /// Images that were computed together.
    batches: u64,
    batched: u64,
}

/// What is so at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) waiting: usize,
    pub(super) running: usize,
    pub(super) kept: usize,
    pub(super) upload_bytes: u64,
    pub(super) result_bytes: u64,
}

impl Metrics {
    fn counted(&self, count: impl FnOnce(&mut Counted)) {
        count(&mut locked(&self.counted));
    }

    /// A request to a route as it is defined, not as it was called: there are endless ids.
    pub(super) fn request(&self, method: &str, route: &str, status: u16, time: Duration) {
        self.counted(|counted| {
            *counted.requests.entry((method.into(), route.into(), status)).or_default() += 1;
            counted.seconds.entry(route.into()).or_default().add(time);
        });
    }

    pub(super) fn batch(&self, images: usize) {
        self.counted(|counted| {
            counted.batches += 1;
            counted.batched += images as u64;
        });
    }

    pub(super) fn job(&self, end: &'static str, waited: Option<Duration>, computed: Option<Duration>) {
        self.counted(|counted| {
            *counted.jobs.entry(end).or_default() += 1;
            waited.into_iter().for_each(|time| counted.waited.add(time));
            computed.into_iter().for_each(|time| counted.computed.add(time));
        });
    }

    pub(super) fn text(&self, now: Now) -> String {
        let mut text = String::new();
        self.counted(|counted| counted.write(&mut text));
        let gauges = [
            ("segtool_queue_length", "Images that wait to be computed.", now.waiting as u64),
            ("segtool_jobs_running", "Images that are being computed.", now.running as u64),
            ("segtool_results_kept", "Results that are kept in memory.", now.kept as u64),
            ("segtool_upload_bytes", "Bytes of images that arrive, wait or are computed.", now.upload_bytes),
            ("segtool_result_bytes", "Bytes of the results that are kept.", now.result_bytes),
        ];
        for (name, help, value) in gauges {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        text
    }
}

impl Counted {
    fn write(&self, text: &mut String) {
        let head = |name: &str, kind: &str, help: &str| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        *text += &head("segtool_requests_total", "counter", "Requests by method, route and status.");
        for ((method, route, status), count) in &self.requests {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let _ = writeln!(text, "segtool_requests_total{{{labels}}} {count}");
        }
        *text += &head("segtool_request_seconds", "histogram", "Time until the head of the answer.");
        for (route, times) in &self.seconds {
            times.write("segtool_request_seconds", &format!("route=\"{route}\""), text);
        }
        *text += &head("segtool_jobs_total", "counter", "Images by how they ended.");
        for (end, count) in &self.jobs {
            let _ = writeln!(text, "segtool_jobs_total{{end=\"{end}\"}} {count}");
        }
        *text += &head("segtool_wait_seconds", "histogram", "Time that images waited.");
        self.waited.write("segtool_wait_seconds", "", text);
        *text += &head("segtool_predict_seconds", "histogram", "Time that images were computed.");
        self.computed.write("segtool_predict_seconds", "", text);
        *text += &head("segtool_batches_total", "counter", "Calls of a model.");
        let _ = writeln!(text, "segtool_batches_total {}", self.batches);
        *text += &head("segtool_batch_images_total", "counter", "Images in these calls.");
        let _ = writeln!(text, "segtool_batch_images_total {}", self.batched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_are_told_in_the_text_format() {
        let metrics = Metrics::default();
        metrics.request("GET", "/api/jobs/{id}", 200, Duration::from_millis(30));
        metrics.request("GET", "/api/jobs/{id}", 200, Duration::from_secs(2));
        metrics.job("done", Some(Duration::ZERO), Some(Duration::from_secs(20)));
        let now = Now { waiting: 3, running: 1, kept: 2, upload_bytes: 10, result_bytes: 20 };
        let text = metrics.text(now);
        for line in [
            "segtool_requests_total{method=\"GET\",route=\"/api/jobs/{id}\",status=\"200\"} 2",
            "segtool_request_seconds_bucket{route=\"/api/jobs/{id}\",le=\"0.05\"} 1",
            "segtool_request_seconds_bucket{route=\"/api/jobs/{id}\",le=\"+Inf\"} 2",
            "segtool_request_seconds_sum{route=\"/api/jobs/{id}\"} 2.03",
            "segtool_jobs_total{end=\"done\"} 1",
            "segtool_predict_seconds_bucket{le=\"10\"} 0",
            "segtool_predict_seconds_count 1",
            "segtool_queue_length 3",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }
}
