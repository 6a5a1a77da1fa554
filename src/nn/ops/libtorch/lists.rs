//! Safe forms of the functions in `optimizers.cpp`, which update many tensors in one call.
//!
//! What is updated is given as tensors that share their values with those the caller goes on with: nobody else may hold
//! these values. libtorch's errors are panics.

#![allow(unsafe_code)] // the boundary to C++

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use super::ffi::check;
use crate::nn::ops::{AdamStep, SgdStep};

type Pointers = *const *const C_tensor;

unsafe extern "C" {
    fn segtool_fused_sgd(
        count: usize,
        parameters: Pointers,
        gradients: Pointers,
        velocities: Pointers,
        rate: f64,
        momentum: f64,
        weight_decay: f64,
        nesterov: bool,
    ) -> *mut c_char;
    fn segtool_fused_adam(
        count: usize,
        parameters: Pointers,
        gradients: Pointers,
        first: Pointers,
        second: Pointers,
        time: *const C_tensor,
        rate: f64,
        beta_1: f64,
        beta_2: f64,
        weight_decay: f64,
        epsilon: f64,
        decoupled: bool,
    ) -> *mut c_char;
    fn segtool_move_towards(count: usize, tensors: Pointers, targets: Pointers, share: f64) -> *mut c_char;
    fn segtool_scale(count: usize, tensors: Pointers, factor: f64) -> *mut c_char;
    fn segtool_limit_norm(count: usize, tensors: Pointers, most: f64, epsilon: f64) -> *mut c_char;
}

/// Pointers to the tensors of lists that go together, which must outlive them.
fn columns<const N: usize>(lists: [&[Tensor]; N]) -> [Vec<*const C_tensor>; N] {
    assert!(lists.iter().all(|list| list.len() == lists[0].len()), "lists of different lengths");
    lists.map(|list| list.iter().map(|tensor| tensor.as_ptr()).collect())
}

/// A step of stochastic gradient descent: parameters and, with a momentum, velocities are updated.
pub(super) fn sgd(parameters: &[Tensor], gradients: &[Tensor], velocities: &[Tensor], step: SgdStep) {
    let SgdStep { rate, momentum, nesterov, weight_decay } = step;
    let velocities = if momentum == 0.0 { parameters } else { velocities };
    let [p, g, v] = columns([parameters, gradients, velocities]);
    // SAFETY: arrays of as many pointers to live tensors as the first argument says; velocities are not touched where
    // there is no momentum.
    check(unsafe {
        segtool_fused_sgd(p.len(), p.as_ptr(), g.as_ptr(), v.as_ptr(), rate, momentum, weight_decay, nesterov)
    });
}

/// A step of Adam or AdamW: parameters and moments are updated. `time` is the number of the step, one float on their
/// device.
pub(super) fn adam(
    parameters: &[Tensor],
    gradients: &[Tensor],
    moments: [&[Tensor]; 2],
    time: &Tensor,
    step: AdamStep,
) {
    let AdamStep { rate, beta_1, beta_2, epsilon, weight_decay, decoupled, time: _ } = step;
    let [p, g, first, second] = columns([parameters, gradients, moments[0], moments[1]]);
    // SAFETY: arrays of as many pointers to live tensors as the first argument says, and a live tensor.
    check(unsafe {
        segtool_fused_adam(
            p.len(),
            p.as_ptr(),
            g.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            time.as_ptr(),
            rate,
            beta_1,
            beta_2,
            weight_decay,
            epsilon,
            decoupled,
        )
    });
}

/// Moves each tensor that share of the way to its target.
pub(super) fn move_towards(tensors: &[Tensor], targets: &[Tensor], share: f64) {
    let [tensors, targets] = columns([tensors, targets]);
    // SAFETY: arrays of as many pointers to live tensors as the first argument says.
    check(unsafe { segtool_move_towards(tensors.len(), tensors.as_ptr(), targets.as_ptr(), share) });
}

/// Multiplies tensors by a factor.
pub(super) fn scale(tensors: &[Tensor], factor: f64) {
    let [tensors] = columns([tensors]);
    // SAFETY: as above.
    check(unsafe { segtool_scale(tensors.len(), tensors.as_ptr(), factor) });
}

/// Scales tensors, of which there is at least one, down to a Euclidean norm of `most` over all of them where it is larger;
/// leaves them where it is not finite.
pub(super) fn limit_norm(tensors: &[Tensor], most: f64, epsilon: f64) {
    let [tensors] = columns([tensors]);
    // SAFETY: as above.
    check(unsafe { segtool_limit_norm(tensors.len(), tensors.as_ptr(), most, epsilon) });
}
