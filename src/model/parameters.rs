//! Parameters by their PyTorch names.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use super::{Network, torch_name};

/// A parameter's name and value.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// PyTorch's name, such as `dconv_down1.0.weight`.
    pub name: String,
    /// The value, on the host.
    pub data: TensorData,
}

/// All parameters, in the order of the network.
pub fn collect(network: &Network) -> Vec<Parameter> {
    let mut collector = Collector { path: Path::default(), parameters: Vec::new() };
    network.visit(&mut collector);
    collector.parameters
}

/// Gives every parameter the value that `value` returns for its name, or leaves it where that is `None`.
pub fn replace(network: Network, value: impl FnMut(&str) -> Option<TensorData>) -> Network {
    network.map(&mut Replacer { path: Path::default(), value })
}

/// Gives every parameter an identity that depends on its name alone, so that the optimiser's saved state finds its
/// parameters again in another process.
pub fn identify(network: Network) -> Network {
    network.map(&mut Identifier { path: Path::default() })
}

/// The way through the modules down to the current parameter.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        // An enum's variant is a choice of ours, not a level that PyTorch has.
        self.0.push(if container.starts_with("Enum:") { String::new() } else { name.to_owned() });
    }

    fn leave(&mut self) {
        self.0.pop();
    }

    fn name(&self) -> String {
        let levels: Vec<&str> = self.0.iter().map(String::as_str).filter(|level| !level.is_empty()).collect();
        torch_name(&levels.join("."))
    }
}

struct Collector {
    path: Path,
    parameters: Vec<Parameter>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.parameters.push(Parameter { name: self.path.name(), data: param.val().into_data() });
    }
}

struct Replacer<F> {
    path: Path,
    value: F,
}

impl<F: FnMut(&str) -> Option<TensorData>> ModuleMapper for Replacer<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = (self.value)(&self.path.name()) else { return param };
        let (id, old, mapper) = param.consume();
        Param::from_mapped_value(id, Tensor::from_data(data, &old.device()), mapper)
    }
}

struct Identifier {
    path: Path,
}

impl ModuleMapper for Identifier {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, value, mapper) = param.consume();
        Param::from_mapped_value(ParamId::from(fnv1a(&self.path.name())), value, mapper)
    }
}

/// The 64-bit FNV-1a hash: stable across versions of Rust, unlike the standard library's.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
