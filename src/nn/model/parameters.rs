//! Parameters by their PyTorch names.

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor, TensorData};

use super::Namer;
use crate::nn::ops::{read_number, sum};

/// A module whose parameters have names in PyTorch.
pub trait Named: Module {
    /// What turns a path through the modules into PyTorch's name.
    fn namer(&self) -> Namer;
}

/// A parameter's name and value.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// PyTorch's name, such as `dconv_down1.0.weight`.
    pub name: String,
    /// The value, on the host.
    pub data: TensorData,
}

/// A parameter's name and shape.
#[derive(Debug, Clone)]
pub struct ParameterShape {
    /// Its identity, by which layers know it.
    pub id: ParamId,
    /// PyTorch's name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
}

impl ParameterShape {
    /// How many numbers it has.
    pub fn count(&self) -> u64 {
        self.shape.iter().map(|&side| side as u64).product()
    }
}

/// Names and shapes of all parameters and running statistics, in the order of the network.
pub fn shapes(network: &impl Named) -> Vec<ParameterShape> {
    let mut lister = Lister { path: Path::of(network), found: Vec::new() };
    network.visit(&mut lister);
    lister.found
}

/// All parameters and running statistics, in the order of the network.
pub fn collect(network: &impl Named) -> Vec<Parameter> {
    let mut collector = Collector { path: Path::of(network), gradients: None, found: Vec::new() };
    // In training, the statistics of the last step wait until someone asks; `valid` does.
    network.valid().visit(&mut collector);
    collector.found
}

/// The gradients, under the names of their parameters, in the order of the network.
pub fn collect_gradients(network: &impl Named, gradients: &GradientsParams) -> Vec<Parameter> {
    let mut collector = Collector { path: Path::of(network), gradients: Some(gradients), found: Vec::new() };
    network.visit(&mut collector);
    collector.found
}

/// Whether every parameter is a finite number.
pub fn are_finite(network: &impl Named) -> bool {
    let mut sum = Magnitude(None);
    network.valid().visit(&mut sum);
    sum.0.is_none_or(|sum| read_number(sum).is_finite())
}

/// Gives every parameter and running statistic the value that `value` returns for its name, or leaves it where that is `None`.
pub fn replace<M: Named>(network: M, value: impl FnMut(&str) -> Option<TensorData>) -> M {
    let path = Path::of(&network);
    network.map(&mut Replacer { path, value })
}

/// Gives every parameter an identity that depends on its name alone, so that the optimiser's saved state finds its
/// parameters again in another process.
pub fn identify<M: Named>(network: M) -> M {
    let path = Path::of(&network);
    network.map(&mut Identifier { path })
}

/// Lets parameters whose name `frozen` picks stay as they are in training, and makes batch norms whose `training` it picks
/// (as in `bn1.training`) use and keep their running statistics; the others learn.
pub fn freeze<M: Named>(network: M, frozen: impl FnMut(&str) -> bool) -> M {
    let path = Path::of(&network);
    network.map(&mut Freezer { path, frozen })
}

/// The sum of the parameters' absolute values: not finite as soon as one is not.
struct Magnitude(Option<Tensor<1>>);

impl ModuleVisitor for Magnitude {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let sum = sum(param.val().abs()).cast(DType::F32);
        self.0 = self.0.take().into_iter().chain([sum]).reduce(|a, b| a + b);
    }
}

/// The way through the modules down to the current parameter.
struct Path {
    levels: Vec<String>,
    torch_name: Namer,
}

impl Path {
    fn of(network: &impl Named) -> Self {
        Self { levels: Vec::new(), torch_name: network.namer() }
    }

    fn enter(&mut self, name: &str, container: &str) {
        // An enum's variant is a choice of ours, not a level that PyTorch has.
        self.levels.push(if container.starts_with("Enum:") { String::new() } else { name.to_owned() });
    }

    fn leave(&mut self) {
        self.levels.pop();
    }

    fn name(&self) -> String {
        let levels: Vec<&str> = self.levels.iter().map(String::as_str).filter(|level| !level.is_empty()).collect();
        (self.torch_name)(&levels).unwrap_or_else(|| levels.join("."))
    }
}

/// Keeps the `path` of a visitor or mapper.
macro_rules! follow_path {
    () => {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.leave();
        }
    };
}

struct Collector<'a> {
    path: Path,
    /// Of which the parameters' are wanted; else their values.
    gradients: Option<&'a GradientsParams>,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Collector<'_> {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let wanted = self.gradients.map_or_else(|| Some(param.val()), |gradients| gradients.get::<D>(param.id));
        self.found.extend(wanted.map(|tensor| Parameter { name: self.path.name(), data: tensor.into_data() }));
    }
}

struct Lister {
    path: Path,
    found: Vec<ParameterShape>,
}

impl ModuleVisitor for Lister {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(ParameterShape { id: param.id, name: self.path.name(), shape: param.val().dims().to_vec() });
    }
}

struct Replacer<F> {
    path: Path,
    value: F,
}

impl<F: FnMut(&str) -> Option<TensorData>> ModuleMapper for Replacer<F> {
    follow_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = (self.value)(&self.path.name()) else { return param };
        let (id, old, mapper) = param.consume();
        Param::from_mapped_value(id, Tensor::from_data(data, &old.device()), mapper)
    }
}

struct Freezer<F> {
    path: Path,
    frozen: F,
}

impl<F: FnMut(&str) -> bool> ModuleMapper for Freezer<F> {
    follow_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.set_require_grad(!(self.frozen)(&self.path.name()))
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(!(self.frozen)(&self.path.name()))
    }
}

struct Identifier {
    path: Path,
}

impl ModuleMapper for Identifier {
    follow_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, value, mapper) = param.consume();
        Param::from_mapped_value(ParamId::from(fnv1a(&self.path.name())), value, mapper)
    }
}

/// The 64-bit FNV-1a hash: stable across versions of Rust, unlike the standard library's.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
