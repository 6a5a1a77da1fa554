//! Forward pass and training step of the U-Net 64-512 on 4x1x256x256, on every CPU device of this build.
//!
//! The same network, sizes and optimiser as the PyTorch figures in the README.

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Int, Tensor, TensorData};
use divan::counter::ItemsCount;
use segtool::nn::device::DeviceChoice;
use segtool::nn::loss::{Loss, Target};
use segtool::nn::model::{Network, NetworkConfig, UnetConfig};
use segtool::nn::ops::argmax_channels;

const SHAPE: [usize; 4] = [4, 1, 256, 256];
const CLASSES: usize = 8;

fn main() {
    divan::main();
}

fn devices() -> Vec<DeviceChoice> {
    [DeviceChoice::Flex, DeviceChoice::Libtorch].into_iter().filter(|choice| choice.resolve().is_ok()).collect()
}

fn setup(choice: DeviceChoice) -> (Network, burn::tensor::Device) {
    let device = choice.open().expect("a device of this build");
    let config = UnetConfig::new(64, 4, SHAPE[1], CLASSES);
    (NetworkConfig::UnetSeeps(config).init(0, &device).expect("a valid configuration"), device)
}

fn input(device: &burn::tensor::Device) -> Tensor<4> {
    let values: Vec<f32> = (0..SHAPE.iter().product::<usize>()).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, SHAPE), device)
}

#[divan::bench(args = devices(), sample_count = 5, sample_size = 1)]
fn forward(bencher: divan::Bencher<'_, '_>, choice: &DeviceChoice) {
    let (network, device) = setup(*choice);
    let input = input(&device);
    bencher
        .counter(ItemsCount::new(SHAPE[0]))
        .bench_local(|| argmax_channels(network.forward(input.clone())).into_data());
}

#[divan::bench(args = devices(), sample_count = 5, sample_size = 1)]
fn train_step(bencher: divan::Bencher<'_, '_>, choice: &DeviceChoice) {
    let (network, device) = setup(*choice);
    let device = device.autodiff();
    let mut network = network.train();
    let mut optimizer = SgdConfig::new().init();
    let input = input(&device);
    let shape = [SHAPE[0], SHAPE[2], SHAPE[3]];
    let classes: Vec<i32> = (0..shape.iter().product::<usize>()).map(|i| (i / 77 % CLASSES) as i32).collect();
    let labels = Tensor::<3, Int>::from_data(TensorData::new(classes, shape), &device);
    let target = Target { labels, complete: true };
    bencher.counter(ItemsCount::new(SHAPE[0])).bench_local(|| {
        let loss = Loss::cross_entropy().compute(network.forward(input.clone()), &target);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-2, network.clone(), gradients);
        loss.into_scalar::<f32>()
    });
}
