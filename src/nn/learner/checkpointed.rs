//! Gradients with less memory: activations inside a segment of the network are not kept but computed again when its
//! gradients are due (Chen et al., arXiv 1604.06174).

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;

use super::Part;
use super::summed::Summand;
use crate::nn::model::{Network, State};
use crate::nn::ops;

/// The loss of a batch and its gradients, those of [`super::Learner::gradients`].
pub(super) fn gradients(network: &Network, loss: &Summand<'_>, part: Part) -> (Tensor<1>, GradientsParams) {
    let Part { input, target, draw, .. } = part;
    // Without parameters that learn nothing is kept; it shares the running statistics, which are updated here, once.
    let forward = network.clone().no_grad();
    let (state, crop) = forward.begin(input);
    let [_, _, height, width] = state[0].dims();
    let mut states = vec![state];
    for i in 0..network.segments() {
        states.push(forward.segment(i, states[i].clone(), draw));
    }
    drop(forward);

    let mut found = GradientsAccumulator::new();
    let leaves = leaves(states.pop().expect("there is at least the input"), network.segments());
    let outputs = network.finish(leaves.clone(), [height, width], crop, draw);
    let loss = loss.of(outputs, &target);
    let mut wanted = backward(network, &mut found, &leaves, loss.clone());
    // It has its own running statistics, so that those of the network are not updated again.
    let again = network.valid().train();
    for i in (0..network.segments()).rev() {
        let leaves = self::leaves(states.pop().expect("one state a segment"), i);
        let outputs = again.segment(i, leaves.clone(), draw);
        // Its gradient with respect to the outputs is what is wanted of them.
        let product = |(output, gradient): (Tensor<4>, Option<Tensor<4>>)| Some(ops::sum(output * gradient?));
        let sum = outputs.into_iter().zip(wanted).filter_map(product).reduce(|a, b| a + b);
        // Nothing before here learns.
        let Some(sum) = sum.filter(Tensor::is_tracked) else { break };
        wanted = backward(&again, &mut found, &leaves, sum);
    }
    (loss, found.grads())
}

/// Tensors at which the graph of segment `i` begins. Nobody asks for the gradient of the input image.
fn leaves(state: State, i: usize) -> State {
    state.into_iter().map(|tensor| if i == 0 { tensor } else { tensor.detach().require_grad() }).collect()
}

/// Collects the gradients of the parameters, and returns those of the leaves.
fn backward(
    network: &Network,
    found: &mut GradientsAccumulator<Network>,
    leaves: &State,
    sum: Tensor<1>,
) -> Vec<Option<Tensor<4>>> {
    let mut gradients = sum.backward();
    let wanted = leaves.iter().map(|leaf| leaf.grad_remove(&mut gradients).map(Tensor::from_inner)).collect();
    found.accumulate(network, GradientsParams::from_grads(gradients, network));
    wanted
}
