//! The operations and their gradients: equal to PyTorch's on small cases (`golden`), to plain loops in float64 on larger
//! ones (`naive`, `images`), to difference quotients (`numeric`), and well-behaved as parts of a graph (`graph`). On
//! flex, or on libtorch where it is built in.

mod case;
mod golden;
mod graph;
mod images;
mod naive;
mod numeric;
