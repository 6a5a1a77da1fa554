//! Kernels on GPUs of any maker: burn's own.

use burn::backend::Cube;

use super::kernels::Kernels;

impl Kernels for Cube {}
