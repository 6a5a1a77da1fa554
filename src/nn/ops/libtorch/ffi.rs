//! Safe forms of the functions in `kernels.cpp` and `memory.cpp`.
//!
//! Each takes tensors that live through the call and returns new ones that own themselves. libtorch's errors (out of
//! memory, shapes that do not fit) are panics here, as everywhere in burn-tch.

#![allow(unsafe_code)] // the boundary to C++

use std::ffi::c_char;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::nn::ffi::outcome;
use crate::nn::ops::{ConvSettings, NormSettings};

/// libtorch's mark in the work of a GPU.
#[repr(C)]
struct Event {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn segtool_convolution_backward(
        results: *mut *mut C_tensor,
        gradient: *const C_tensor,
        input: *const C_tensor,
        weight: *const C_tensor,
        geometry: *const i64,
        groups: i64,
        transposed: bool,
        wanted: *const bool,
    ) -> *mut c_char;
    fn segtool_batch_norm(
        results: *mut *mut C_tensor,
        kernel: *mut i64,
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        running_mean: *const C_tensor,
        running_var: *const C_tensor,
        momentum: f64,
        epsilon: f64,
    ) -> *mut c_char;
    fn segtool_batch_norm_backward(
        results: *mut *mut C_tensor,
        kernel: i64,
        gradient: *const C_tensor,
        input: *const C_tensor,
        weight: *const C_tensor,
        mean: *const C_tensor,
        inverse_deviation: *const C_tensor,
        reserved: *const C_tensor,
        epsilon: f64,
        wanted: *const bool,
    ) -> *mut c_char;
    fn segtool_fixed_norm_backward(
        results: *mut *mut C_tensor,
        gradient: *const C_tensor,
        input: *const C_tensor,
        weight: *const C_tensor,
        mean: *const C_tensor,
        var: *const C_tensor,
        epsilon: f64,
        wanted: *const bool,
    ) -> *mut c_char;
}

unsafe extern "C" {
    fn segtool_upload(result: *mut *mut C_tensor, source: *const C_tensor, gpu: i64) -> *mut c_char;
    fn segtool_copy_home(result: *mut *mut C_tensor, event: *mut *mut Event, source: *const C_tensor) -> *mut c_char;
    fn segtool_wait(event: *const Event) -> *mut c_char;
    fn segtool_free_event(event: *mut Event);
    fn segtool_convert(
        result: *mut *mut C_tensor,
        input: *const C_tensor,
        bfloat16: bool,
        channels_last: bool,
    ) -> *mut c_char;
    fn segtool_keep_freed_memory();
    fn segtool_allow_tf32(allowed: bool) -> *mut c_char;
    fn segtool_peak_memory(bytes: *mut i64, device: i64) -> *mut c_char;
}

pub(super) fn check(message: *mut c_char) {
    if let Err(text) = outcome(message) {
        panic!("libtorch: {text}");
    }
}

/// Takes over a tensor that C++ handed out.
fn own(tensor: *mut C_tensor) -> Option<Tensor> {
    // SAFETY: not null, made with `new`, and nothing else holds it.
    (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor) })
}

/// The three gradients of a convolution or, if `transposed`, of a transposed one.
pub(super) fn convolution_backward(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    settings: ConvSettings,
    output_padding: Option<[usize; 2]>,
    wanted: [bool; 3],
) -> [Option<Tensor>; 3] {
    let mut results = [std::ptr::null_mut(); 3];
    let ConvSettings { stride, padding, dilation, groups } = settings;
    let geometry: Vec<i64> = [stride, padding, dilation, output_padding.unwrap_or_default()]
        .iter()
        .flat_map(|pair| pair.map(|side| side as i64))
        .collect();
    // SAFETY: every pointer is to a live tensor or to an array of the length that the function reads or writes.
    check(unsafe {
        segtool_convolution_backward(
            results.as_mut_ptr(),
            gradient.as_ptr(),
            input.as_ptr(),
            weight.as_ptr(),
            geometry.as_ptr(),
            groups as i64,
            output_padding.is_some(),
            wanted.as_ptr(),
        )
    });
    results.map(own)
}

/// Batch norm in training; the running statistics are updated in place. Returns the output, means and inverse
/// deviations of the batch and the reserved space, and the number of the kernel that computed them.
pub(super) fn batch_norm(
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_var: &Tensor,
    settings: NormSettings,
) -> ([Tensor; 4], i64) {
    let mut results = [std::ptr::null_mut(); 4];
    let mut kernel = 0;
    // SAFETY: as above.
    check(unsafe {
        segtool_batch_norm(
            results.as_mut_ptr(),
            &mut kernel,
            input.as_ptr(),
            weight.as_ptr(),
            bias.as_ptr(),
            running_mean.as_ptr(),
            running_var.as_ptr(),
            settings.momentum,
            settings.epsilon,
        )
    });
    (results.map(|tensor| own(tensor).unwrap_or_default()), kernel)
}

/// The three gradients of a batch norm in training.
pub(super) fn batch_norm_backward(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    [mean, inverse_deviation, reserved]: [&Tensor; 3],
    kernel: i64,
    epsilon: f64,
    wanted: [bool; 3],
) -> [Option<Tensor>; 3] {
    let mut results = [std::ptr::null_mut(); 3];
    // SAFETY: as above.
    check(unsafe {
        segtool_batch_norm_backward(
            results.as_mut_ptr(),
            kernel,
            gradient.as_ptr(),
            input.as_ptr(),
            weight.as_ptr(),
            mean.as_ptr(),
            inverse_deviation.as_ptr(),
            reserved.as_ptr(),
            epsilon,
            wanted.as_ptr(),
        )
    });
    results.map(own)
}

/// The three gradients of a batch norm by given statistics, mean and variance.
pub(super) fn fixed_norm_backward(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    [mean, var]: [&Tensor; 2],
    epsilon: f64,
    wanted: [bool; 3],
) -> [Option<Tensor>; 3] {
    let mut results = [std::ptr::null_mut(); 3];
    // SAFETY: as above.
    check(unsafe {
        segtool_fixed_norm_backward(
            results.as_mut_ptr(),
            gradient.as_ptr(),
            input.as_ptr(),
            weight.as_ptr(),
            mean.as_ptr(),
            var.as_ptr(),
            epsilon,
            wanted.as_ptr(),
        )
    });
    results.map(own)
}

/// The tensor in bfloat16 or float32, with its channels innermost in memory or in the order of its shape; itself where it is
/// so.
pub(super) fn converted(input: &Tensor, bfloat16: bool, channels_last: bool) -> Tensor {
    let mut result = std::ptr::null_mut();
    // SAFETY: as above.
    check(unsafe { segtool_convert(&mut result, input.as_ptr(), bfloat16, channels_last) });
    own(result).unwrap_or_default()
}

/// The values of a float32 tensor in main memory.
pub(super) struct Floats<'a> {
    tensor: Tensor,
    /// Nothing changes the values meanwhile.
    _source: &'a Tensor,
}

impl<'a> Floats<'a> {
    /// `None` for a tensor of another type, in other memory, or of nothing.
    pub(super) fn of(source: &'a Tensor) -> Option<Self> {
        let readable = source.kind() == tch::Kind::Float && source.device() == tch::Device::Cpu && source.numel() > 0;
        readable.then(|| Self { tensor: source.contiguous(), _source: source })
    }
}

impl std::ops::Deref for Floats<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: contiguous float32 values on the CPU, which `tensor` keeps alive.
        unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast::<f32>(), self.tensor.numel()) }
    }
}

/// Values of a type and shape as a tensor: on a GPU, where they come to lie when what it was asked for before is done, or
/// in main memory. The bytes are not needed after the call.
pub(super) fn upload_bytes(bytes: &[u8], shape: &[i64], kind: Kind, gpu: Option<usize>) -> Tensor {
    let needed = shape.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
    assert_eq!(bytes.len(), needed, "a tensor of shape {shape:?} has another number of bytes");
    // SAFETY: as many bytes as the tensor has; it does not outlive them, and is not written to.
    let source = unsafe { Tensor::from_blob(bytes.as_ptr(), shape, &[], kind, tch::Device::Cpu) };
    let mut result = std::ptr::null_mut();
    // SAFETY: as above.
    check(unsafe { segtool_upload(&mut result, source.as_ptr(), gpu.map_or(-1, |gpu| gpu as i64)) });
    own(result).unwrap_or_default()
}

/// A copy of a tensor to main memory under way.
#[derive(Debug)]
pub(super) struct Copying {
    home: Tensor,
    /// Null where the copy was over at once.
    event: *mut Event,
}

impl Copying {
    /// Begins it. What is done to the tensor later does not matter.
    pub(super) fn begin(source: &Tensor) -> Self {
        let (mut home, mut event) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: as above.
        check(unsafe { segtool_copy_home(&mut home, &mut event, source.as_ptr()) });
        Self { home: own(home).unwrap_or_default(), event }
    }

    /// The tensor in main memory, when all of it is there.
    pub(super) fn wait(self) -> Result<Tensor, String> {
        // SAFETY: null or an event that lives as long as `self`.
        outcome(unsafe { segtool_wait(self.event) })?;
        Ok(self.home.shallow_clone())
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // SAFETY: null or made by `segtool_copy_home`, and freed only here.
        unsafe { segtool_free_event(self.event) }
    }
}

/// Lets libtorch keep the memory of freed tensors on the CPU for new ones.
pub(in crate::nn::ops) fn keep_freed_memory() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: sets a pointer that libtorch reads at each allocation; tensors know who allocated them.
    ONCE.call_once(|| unsafe { segtool_keep_freed_memory() });
}

/// Whether float32 products on a GPU may be rounded to TF32 first.
pub(super) fn allow_tf32(allowed: bool) {
    // SAFETY: no pointers.
    check(unsafe { segtool_allow_tf32(allowed) });
}

/// Most bytes that tensors held at once on a GPU so far.
pub(in crate::nn::ops) fn peak_memory(device: usize) -> Option<u64> {
    let mut bytes = 0;
    // SAFETY: as above.
    outcome(unsafe { segtool_peak_memory(&mut bytes, device as i64) }).ok()?;
    u64::try_from(bytes).ok()
}
