//! Polygons as GeoJSON, written while the rows of a label map arrive.

use std::io::{Result, Write};

use geojson::{Feature, Geometry, GeometryValue, JsonObject};

use super::obstacles::Obstacles;
use super::regions::Region;
use super::simplify::simplified;
use super::trace::Tracer;
use super::{Grid, PolygonOptions};
use crate::data::Dataset;

/// Digits of a probability after the point.
const PROBABILITY: f64 = 1e6;

/// Writes the class regions of a label map as a GeoJSON FeatureCollection, each as soon as a row does not touch it. What is held
/// in memory grows with the outlines of the regions that are not finished, not with the map; with `simplify`, also with the
/// outlines beside these.
#[derive(Debug)]
pub struct PolygonWriter<'a, W> {
    out: W,
    tracer: Tracer,
    form: Form<'a>,
}

/// What a feature says.
#[derive(Debug)]
struct Form<'a> {
    dataset: &'a Dataset,
    grid: Grid,
    options: PolygonOptions,
    has_probability: bool,
    /// Features so far.
    written: usize,
}

impl<'a, W: Write> PolygonWriter<'a, W> {
    /// Begins the file of a map of this width, with label values of this data set. Pixels that are "not labelled" belong to
    /// no polygon.
    pub fn new(mut out: W, width: usize, dataset: &'a Dataset, grid: Grid, options: PolygonOptions) -> Result<Self> {
        out.write_all(b"{\"type\":\"FeatureCollection\",")?;
        if let Some(crs) = grid.crs_member() {
            write!(out, "\"crs\":{crs},")?;
        }
        out.write_all(b"\"features\":[")?;
        let unlabelled = dataset.unlabelled_value();
        let is_class = dataset.classes.iter().any(|class| class.values.contains(&unlabelled));
        let blank = Some(unlabelled).filter(|_| !is_class);
        let tracer = Tracer::new(width, blank, grid.is_curved(), options.simplify.is_some());
        Ok(Self { out, tracer, form: Form { dataset, grid, options, has_probability: false, written: 0 } })
    }

    /// Takes the next row: the label value of each pixel and, in all rows or in none, the probability of its class.
    pub fn push_row(&mut self, values: &[u16], probability: Option<&[f32]>) -> Result<()> {
        let Self { out, tracer, form } = self;
        form.has_probability |= probability.is_some();
        let mut done = Ok(());
        tracer.push(values, probability, &mut |region, obstacles| {
            if done.is_ok() {
                done = form.write(out, region, obstacles);
            }
        });
        done
    }

    /// Writes what is left, and ends the file.
    pub fn finish(self) -> Result<()> {
        let Self { mut out, tracer, mut form } = self;
        let mut done = Ok(());
        tracer.finish(&mut |region, obstacles| {
            if done.is_ok() {
                done = form.write(&mut out, region, obstacles);
            }
        });
        done?;
        out.write_all(b"\n]}\n")?;
        out.flush()
    }
}

impl Form<'_> {
    /// Writes a region, unless it is too small.
    fn write(&mut self, out: &mut impl Write, region: Region, obstacles: Option<&Obstacles>) -> Result<()> {
        let area = region.pixels as f64 * self.grid.pixel_area();
        if area < self.options.min_area {
            return Ok(());
        }
        out.write_all(if self.written == 0 { b"\n" } else { b",\n" })?;
        self.written += 1;
        let mut properties = JsonObject::new();
        let class = self.dataset.classes.iter().find(|class| class.values.contains(&region.value));
        properties.insert("class".into(), class.map(|class| class.name.as_str()).into());
        properties.insert("label".into(), region.value.into());
        properties.insert("area".into(), area.into());
        if self.has_probability {
            let probability = (region.probability * PROBABILITY).round() / PROBABILITY;
            properties.insert("probability".into(), probability.into());
        }
        let ring = |ring| self.grid.ring(&simplified(ring, self.options.simplify, obstacles));
        let coordinates = region.rings.into_iter().map(ring).collect();
        let geometry = Some(Geometry::new(GeometryValue::Polygon { coordinates }));
        let feature = Feature { geometry, properties: Some(properties), ..Feature::default() };
        serde_json::to_writer(&mut *out, &feature)?;
        Ok(())
    }
}
