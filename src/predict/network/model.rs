//! A network as a kind of model.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::memory::Budget;
use super::predictor::NetworkPredictor;
use super::work::NetworkWork;
use crate::base::{Error, Result, Size, require};
use crate::data::Dataset;
use crate::image::orientation_policy;
use crate::nn::activation::Rule;
use crate::predict::model::{Form, Model, Work};
use crate::predict::{Maker, Options};
use crate::recipe::Kind;

impl Model for NetworkPredictor {
    fn kind(&self) -> Kind {
        Kind::Network
    }

    fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    fn maker(&self, options: &Options) -> Result<Maker> {
        let rule = match self.rule {
            Rule::MostProbable => "the most probable class".to_owned(),
            Rule::Above(threshold) => format!("above {threshold}"),
        };
        let (procedure, bands) = (self.fitted(&options.procedure), options.bands_in_words());
        let options = format!("{procedure}; {rule}; {}; orientation {}{bands}", self.precision, orientation_policy());
        Ok(Maker::new(self.source.clone(), self.checksum.clone(), &self.dataset, options))
    }

    fn set_threshold(&mut self, threshold: f64) -> Result<()> {
        require((0.0..1.0).contains(&threshold), "threshold", threshold, "a probability from 0 to below 1")?;
        let Rule::Above(own) = &mut self.rule else {
            let reason = "applies only to networks with a sigmoid; this one has a softmax and predicts the most \
                          probable class, so leave it out";
            return Err(Error::conflict("threshold", reason));
        };
        *own = threshold as f32;
        Ok(())
    }

    fn largest_tile(&self, options: &Options) -> Result<usize> {
        if self.choice.is_gpu() {
            let reason = "of auto weighs main memory and not that of a GPU: give a side, such as 512";
            return Err(Error::conflict("tile", reason));
        }
        Ok(Budget::new(self, options.procedure.clone(), options)?.largest_tile())
    }

    fn check_memory(&self, path: &Path, size: Size, options: &Options) -> Result<()> {
        Budget::new(self, self.fitted(&options.procedure), options)?.check(path, size, Form::default())
    }

    fn work<'a>(&'a self, options: &'a Options, stop: Option<&'a AtomicBool>) -> Result<Box<dyn Work + 'a>> {
        if options.cache_features.is_some() {
            let reason =
                "has no effect with a network: only a random forest has an encoder's features to cache; leave it out";
            return Err(Error::conflict("cache_features", reason));
        }
        Ok(Box::new(NetworkWork::new(self, options, stop)?))
    }
}
