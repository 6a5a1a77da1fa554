//! `segtool serve`: models in the browser and for programs, over HTTP, and labelling of images with a forest that learns from
//! the strokes.

pub mod labelling;
