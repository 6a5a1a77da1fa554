impl super::kernels::Kernels for burn::backend::LibTorch {}
