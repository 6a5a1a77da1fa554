// The libtorch functions that the `tch` crate leaves out. Each returns null, or a message that the caller frees.

#include <memory>

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_batch_norm_impl_index.h>
#include <ATen/ops/_batch_norm_impl_index_backward.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include "../../guarded.h"

namespace {

at::Tensor *hand_over(at::Tensor tensor) {
  return tensor.defined() ? new at::Tensor(std::move(tensor)) : nullptr;
}

struct Silent : c10::WarningHandler {
  void process(const c10::Warning &) override {}
};

}  // namespace

extern "C" {

// geometry: stride, padding, dilation, output padding, each rows and columns.
char *segtool_convolution_backward(at::Tensor **results, const at::Tensor *gradient, const at::Tensor *input,
                                   const at::Tensor *weight, const int64_t *geometry, int64_t groups,
                                   bool transposed, const bool *wanted) {
  return guarded([&] {
    const int64_t outputs = gradient->size(1);
    const auto pair = [&](int i) { return at::IntArrayRef(geometry + 2 * i, 2); };
    auto [x, w, b] =
        at::convolution_backward(*gradient, *input, *weight, at::IntArrayRef(&outputs, 1), pair(0), pair(1), pair(2),
                                 transposed, pair(3), groups, {wanted[0], wanted[1], wanted[2]});
    results[0] = hand_over(x);
    results[1] = hand_over(w);
    results[2] = hand_over(b);
  });
}

// Updates the running statistics in place. results: output, mean, inverse deviation, reserved space.
char *segtool_batch_norm(at::Tensor **results, int64_t *kernel, const at::Tensor *input, const at::Tensor *weight,
                         const at::Tensor *bias, const at::Tensor *running_mean, const at::Tensor *running_var,
                         double momentum, double epsilon) {
  return guarded([&] {
    auto [output, mean, inverse_deviation, reserved, index] = at::_batch_norm_impl_index(
        *input, *weight, *bias, *running_mean, *running_var, true, momentum, epsilon, at::globalContext().userEnabledCuDNN());
    results[0] = hand_over(output);
    results[1] = hand_over(mean);
    results[2] = hand_over(inverse_deviation);
    results[3] = hand_over(reserved);
    *kernel = index;
  });
}

char *segtool_batch_norm_backward(at::Tensor **results, int64_t kernel, const at::Tensor *gradient,
                                  const at::Tensor *input, const at::Tensor *weight, const at::Tensor *mean,
                                  const at::Tensor *inverse_deviation, const at::Tensor *reserved, double epsilon,
                                  const bool *wanted) {
  return guarded([&] {
    // cuDNN takes no other layout, and its forward pass made itself a copy.
    const auto values = input->contiguous(input->suggest_memory_format());
    auto [x, w, b] = at::_batch_norm_impl_index_backward(kernel, values, *gradient, *weight, {}, {}, *mean,
                                                         *inverse_deviation, true, epsilon,
                                                         {wanted[0], wanted[1], wanted[2]}, *reserved);
    results[0] = hand_over(x);
    results[1] = hand_over(w);
    results[2] = hand_over(b);
  });
}

// The gradients of a batch norm by given statistics.
char *segtool_fixed_norm_backward(at::Tensor **results, const at::Tensor *gradient, const at::Tensor *input,
                                  const at::Tensor *weight, const at::Tensor *mean, const at::Tensor *var, double epsilon,
                                  const bool *wanted) {
  return guarded([&] {
    auto [x, w, b] = at::native_batch_norm_backward(*gradient, *input, *weight, *mean, *var, {}, {}, /*train=*/false,
                                                    epsilon, {wanted[0], wanted[1], wanted[2]});
    results[0] = hand_over(x);
    results[1] = hand_over(w);
    results[2] = hand_over(b);
  });
}

// A copy of a tensor in main memory: on that GPU, through pinned memory and in the order of its work, or, where the number
// is negative, in main memory.
char *segtool_upload(at::Tensor **result, const at::Tensor *source, int64_t gpu) {
  return guarded([&] {
    if (gpu < 0) {
      *result = hand_over(source->clone());
      return;
    }
    const c10::Device device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(gpu));
    *result = hand_over(source->pin_memory().to(device, source->scalar_type(), /*non_blocking=*/true));
  });
}

// Begins a copy to main memory; its values count once `event` is reached. event: null where there is nothing to wait for,
// else to be freed.
char *segtool_copy_home(at::Tensor **result, c10::Event **event, const at::Tensor *source) {
  return guarded([&] {
    if (!source->is_cuda()) {
      *result = hand_over(source->clone());
      return;
    }
    const auto options = source->options().device(c10::DeviceType::CPU).pinned_memory(true);
    auto home = at::empty(source->sizes(), options).copy_(*source, /*non_blocking=*/true);
    auto reached = std::make_unique<c10::Event>(c10::DeviceType::CUDA);
    reached->record(c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(source->device()));
    *result = hand_over(home);
    *event = reached.release();
  });
}

char *segtool_wait(const c10::Event *event) {
  return guarded([&] {
    if (event != nullptr) event->synchronize();
  });
}

void segtool_free_event(c10::Event *event) { delete event; }

// A copy in another type or layout, in one go; the tensor itself where both are as wanted.
char *segtool_convert(at::Tensor **result, const at::Tensor *input, bool bfloat16, bool channels_last) {
  return guarded([&] {
    const auto type = bfloat16 ? at::kBFloat16 : at::kFloat;
    const auto format = channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    *result = hand_over(input->to(input->options().dtype(type), false, /*copy=*/false, format));
  });
}

char *segtool_allow_tf32(bool allowed) {
  return guarded([&] {
    // The functions that replace these two differ between versions; libtorch's advice would be on standard error.
    Silent silent;
    c10::WarningUtils::WarningHandlerGuard guard(&silent);
    at::globalContext().setAllowTF32CuDNN(allowed);
    at::globalContext().setAllowTF32CuBLAS(allowed);
  });
}

// Most bytes that tensors held at once on a CUDA device.
char *segtool_peak_memory(int64_t *bytes, int64_t device) {
  return guarded([&] {
    const auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(static_cast<int8_t>(device));
    *bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}

}  // extern "C"
