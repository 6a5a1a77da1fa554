//! Connections: how many there are, and how long and how large the head of a request may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::patient::Patient;

/// Most connections at a time; others wait.
const CONNECTIONS: usize = 512;
/// Longest time until all headers of a request are there.
const HEAD: Duration = Duration::from_secs(10);
/// Most headers of a request, and most bytes of them.
const HEADERS: usize = 64;
const HEAD_BYTES: usize = 32 << 10;
/// How often the wish to stop is looked for, and how long requests have then to end.
const TICK: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(3);
/// After a connection could not be taken, as without files to open.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until `stop` is set; `closing` is called then, before requests have their time to end.
pub(super) async fn listen(listener: TcpListener, router: Router, stop: &AtomicBool, closing: impl FnOnce()) {
    let (stopping, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = until(stop) => break,
            taken = take(&listener, &places) => if let Some((stream, place)) = taken {
                let answering = answer(stream, router.clone(), stopped.clone());
                connections.spawn(async move {
                    answering.await;
                    drop(place);
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    closing();
    let _ = stopping.send(true);
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

async fn until(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        sleep(TICK).await;
    }
}

async fn take(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(_) => {
            sleep(PAUSE).await;
            None
        }
    }
}

async fn answer(stream: TcpStream, router: Router, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream)), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
