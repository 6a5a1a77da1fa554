// Updates of many tensors in one call each. Each function returns null, or a message that the caller frees. Lists of
// tensors are arrays of `count` pointers; the tensors that are updated must be written to by nobody else.

#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include "../../guarded.h"

namespace {

using Tensors = std::vector<at::Tensor>;

Tensors list(const at::Tensor *const *tensors, size_t count) {
  Tensors all;
  all.reserve(count);
  for (size_t i = 0; i < count; ++i) all.push_back(*tensors[i]);
  return all;
}

// Whether both tensors, of one shape, have their values in the same order in memory.
bool laid_out_alike(const at::Tensor &a, const at::Tensor &b) {
  for (int64_t i = 0; i < a.dim(); ++i) {
    if (a.size(i) != 1 && a.stride(i) != b.stride(i)) return false;
  }
  return true;
}

// The values in the layout of another tensor, which the fused optimisers demand.
at::Tensor laid_out_as(const at::Tensor &values, const at::Tensor &other) {
  if (values.strides() == other.strides()) return values;
  if (laid_out_alike(values, other)) {
    // Only the GPU's kernels compare the steps of sides of length 1, which nobody takes.
    return values.is_cuda() ? values.as_strided(other.sizes(), other.strides()) : values;
  }
  return at::empty_strided(other.sizes(), other.strides(), values.options()).copy_(values);
}

Tensors laid_out_as(const at::Tensor *const *tensors, const Tensors &others) {
  Tensors all;
  all.reserve(others.size());
  for (size_t i = 0; i < others.size(); ++i) all.push_back(laid_out_as(*tensors[i], others[i]));
  return all;
}

}  // namespace

extern "C" {

// Updates parameters and velocities, which are laid out alike; without momentum there are no velocities.
char *segtool_fused_sgd(size_t count, const at::Tensor *const *parameters, const at::Tensor *const *gradients,
                        const at::Tensor *const *velocities, double rate, double momentum, double weight_decay,
                        bool nesterov) {
  return guarded([&] {
    const auto moved = list(parameters, count);
    const auto kept = momentum == 0.0 ? Tensors() : list(velocities, count);
    at::_fused_sgd_(moved, laid_out_as(gradients, moved), kept, weight_decay, momentum, rate, /*dampening=*/0.0, nesterov,
                    /*maximize=*/false, /*is_first_step=*/false);
  });
}

// Updates parameters and moments, which are laid out alike. time: the number of the step, one float on the parameters' device.
char *segtool_fused_adam(size_t count, const at::Tensor *const *parameters, const at::Tensor *const *gradients,
                         const at::Tensor *const *first, const at::Tensor *const *second, const at::Tensor *time,
                         double rate, double beta_1, double beta_2, double weight_decay, double epsilon, bool decoupled) {
  return guarded([&] {
    const auto moved = list(parameters, count);
    const auto slopes = laid_out_as(gradients, moved);
    const auto means = list(first, count), squares = list(second, count);
    const Tensors times(count, *time);
    if (decoupled) {
      at::_fused_adamw_(moved, slopes, means, squares, {}, times, rate, beta_1, beta_2, weight_decay, epsilon,
                        /*amsgrad=*/false, /*maximize=*/false);
    } else {
      at::_fused_adam_(moved, slopes, means, squares, {}, times, rate, beta_1, beta_2, weight_decay, epsilon,
                       /*amsgrad=*/false, /*maximize=*/false);
    }
  });
}

// Moves each tensor that share of the way to its target.
char *segtool_move_towards(size_t count, const at::Tensor *const *tensors, const at::Tensor *const *targets,
                           double share) {
  return guarded([&] { at::_foreach_lerp_(list(tensors, count), list(targets, count), at::Scalar(share)); });
}

char *segtool_scale(size_t count, const at::Tensor *const *tensors, double factor) {
  return guarded([&] { at::_foreach_mul_(list(tensors, count), at::Scalar(factor)); });
}

// Scales the tensors down to a Euclidean norm of `most` over all of them where it is larger, and leaves them where it is
// not finite. The factor stays on their device. epsilon: keeps it away from a division by 0.
char *segtool_limit_norm(size_t count, const at::Tensor *const *tensors, double most, double epsilon) {
  return guarded([&] {
    const auto all = list(tensors, count);
    const auto norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(all, 2)).to(at::kDouble));
    const auto factor = (most / (norm + epsilon)).clamp_max(1.0).masked_fill(norm.isfinite().logical_not(), 1.0);
    at::_foreach_mul_(all, factor.to(all[0].scalar_type()));
  });
}

}  // extern "C"
