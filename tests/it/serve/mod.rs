//! The server over HTTP: the program itself, on a free port.

#![cfg(unix)]

mod access;
mod browser;
mod http;
mod jobs;
mod label;
mod malformed;
mod predictions;
mod served;
