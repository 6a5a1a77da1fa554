//! Files of tensors to write.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, View};
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{
    C1Config, DecoderConfig, Dilation, EncoderDecoderConfig, NetworkConfig, ResNetConfig, Variant, collect,
};

/// A tensor to write.
pub(crate) struct Raw(pub(crate) Vec<usize>, pub(crate) Dtype, pub(crate) Vec<u8>);

impl View for Raw {
    fn dtype(&self) -> Dtype {
        self.1
    }
    fn shape(&self) -> &[usize] {
        &self.0
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.2)
    }
    fn data_len(&self) -> usize {
        self.2.len()
    }
}

pub(crate) fn raw(data: &TensorData) -> Raw {
    Raw(data.shape().to_vec(), Dtype::F32, data.as_bytes().to_vec())
}

pub(crate) fn write(path: &Path, tensors: impl IntoIterator<Item = (String, Raw)>) -> PathBuf {
    fs::write(path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    path.into()
}

/// A small residual encoder with torchvision's names and a classifier.
pub(crate) fn torchvision(variant: Variant, width: usize, folder: &Path) -> PathBuf {
    let encoder = ResNetConfig { width, dilation: Dilation::None, ..ResNetConfig::new(variant) };
    let decoder = DecoderConfig::C1(C1Config::default());
    let config = NetworkConfig::EncoderDecoder(EncoderDecoderConfig::new(encoder, decoder, 3, 2));
    let network = config.init(7, &DeviceChoice::Flex.open().unwrap()).unwrap();
    let tensors =
        collect(&network).into_iter().filter_map(|p| Some((p.name.strip_prefix("encoder.")?.to_owned(), raw(&p.data))));
    let classifier = ("fc.weight".to_owned(), Raw(vec![2, 3], Dtype::F32, vec![0; 24]));
    write(&folder.join("torchvision.safetensors"), tensors.chain([classifier]))
}
