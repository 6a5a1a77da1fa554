//! Coordinates on a map back to longitude and latitude on WGS 84, where that takes no more than a formula.

/// Half the longer axis of the ellipsoid, in metres, and its flattening.
const RADIUS: f64 = 6_378_137.0;
const FLATTENING: f64 = 1.0 / 298.257_223_563;
/// Of all UTM zones.
const SCALE: f64 = 0.9996;
const FALSE_EASTING: f64 = 500_000.0;
const FALSE_NORTHING: f64 = 10_000_000.0;
/// Steps of Newton's method; two give all digits.
const STEPS: usize = 4;

/// A coordinate reference system on WGS 84.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Projection {
    /// Longitude and latitude themselves.
    Degrees,
    /// Web Mercator.
    WebMercator,
    /// A UTM zone.
    Utm {
        /// Longitude of its middle, in degrees.
        meridian: f64,
        /// Northing of the equator.
        equator: f64,
    },
}

impl Projection {
    /// By its number in the EPSG register.
    pub(super) fn of_epsg(number: u16) -> Option<Self> {
        let utm = |zone: u16, equator| Self::Utm { meridian: f64::from(zone) * 6.0 - 183.0, equator };
        match number {
            4326 => Some(Self::Degrees),
            3857 => Some(Self::WebMercator),
            32601..=32660 => Some(utm(number - 32600, 0.0)),
            32701..=32760 => Some(utm(number - 32700, FALSE_NORTHING)),
            _ => None,
        }
    }

    /// Longitude and latitude, in degrees.
    pub(super) fn degrees(self, [x, y]: [f64; 2]) -> [f64; 2] {
        match self {
            Self::Degrees => [x, y],
            Self::WebMercator => [(x / RADIUS).to_degrees(), (y / RADIUS).sinh().atan().to_degrees()],
            Self::Utm { meridian, equator } => {
                let [longitude, latitude] = transverse_mercator([x - FALSE_EASTING, y - equator]);
                [meridian + longitude.to_degrees(), latitude.to_degrees()]
            }
        }
    }
}

/// Longitude from the meridian and latitude, in radians, by Krüger's series to the sixth order (Karney 2011, "Transverse
/// Mercator with an accuracy of a few nanometers", equations 11, 15, 17 to 21 and 36).
fn transverse_mercator([easting, northing]: [f64; 2]) -> [f64; 2] {
    let n = FLATTENING / (2.0 - FLATTENING);
    let power = |exponent: i32| n.powi(exponent);
    let rectifying = RADIUS / (1.0 + n) * (1.0 + power(2) / 4.0 + power(4) / 64.0 + power(6) / 256.0);
    let (xi, eta) = (northing / (SCALE * rectifying), easting / (SCALE * rectifying));
    let (mut north, mut east) = (xi, eta);
    for (beta, double) in series(n).into_iter().zip((1..).map(|j| 2.0 * f64::from(j))) {
        north -= beta * (double * xi).sin() * (double * eta).cosh();
        east -= beta * (double * xi).cos() * (double * eta).sinh();
    }
    let conformal = north.sin() / east.sinh().hypot(north.cos());
    [east.sinh().atan2(north.cos()), geographic(conformal).atan()]
}

/// The coefficients beta.
fn series(n: f64) -> [f64; 6] {
    let sum = |from: i32, terms: &[f64]| -> f64 {
        terms.iter().zip(from..).map(|(term, exponent)| term * n.powi(exponent)).sum()
    };
    [
        sum(1, &[1.0 / 2.0, -2.0 / 3.0, 37.0 / 96.0, -1.0 / 360.0, -81.0 / 512.0, 96_199.0 / 604_800.0]),
        sum(2, &[1.0 / 48.0, 1.0 / 15.0, -437.0 / 1440.0, 46.0 / 105.0, -1_118_711.0 / 3_870_720.0]),
        sum(3, &[17.0 / 480.0, -37.0 / 840.0, -209.0 / 4480.0, 5569.0 / 90_720.0]),
        sum(4, &[4397.0 / 161_280.0, -11.0 / 504.0, -830_251.0 / 7_257_600.0]),
        sum(5, &[4583.0 / 161_280.0, -108_847.0 / 3_991_680.0]),
        sum(6, &[20_648_693.0 / 638_668_800.0]),
    ]
}

/// The tangent of the latitude with this tangent of the conformal latitude, by Newton's method.
fn geographic(conformal: f64) -> f64 {
    let squared = FLATTENING * (2.0 - FLATTENING);
    let eccentricity = squared.sqrt();
    let mut tangent = conformal;
    for _ in 0..STEPS {
        let secant = 1f64.hypot(tangent);
        let sigma = (eccentricity * (eccentricity * tangent / secant).atanh()).sinh();
        let found = tangent * 1f64.hypot(sigma) - sigma * secant;
        let slope = (1.0 + (1.0 - squared) * tangent * tangent) / ((1.0 - squared) * secant * 1f64.hypot(found));
        tangent += (conformal - found) * slope;
    }
    tangent
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EPSG number, coordinates, longitude and latitude: `scripts/goldens/make_projection_golden.py`.
    const GOLDEN: &str = include_str!("../../../tests/fixtures/projections.csv");

    #[test]
    fn coordinates_are_those_of_proj_within_a_tenth_of_a_millimetre() {
        let mut worst: f64 = 0.0;
        for line in GOLDEN.lines() {
            let numbers: Vec<f64> = line.split(',').map(|word| word.parse().unwrap()).collect();
            let projection = Projection::of_epsg(numbers[0] as u16).unwrap();
            let found = projection.degrees([numbers[1], numbers[2]]);
            let metres = RADIUS.to_radians();
            let across = (found[0] - numbers[3]) * metres * numbers[4].to_radians().cos();
            worst = worst.max(across.hypot((found[1] - numbers[4]) * metres));
        }
        assert!(worst < 1e-4, "{worst}");
        assert!(GOLDEN.lines().count() > 100);
    }

    #[test]
    fn other_systems_are_left_alone() {
        for number in [25832, 4258, 32600, 32661, 32700, 32761, 27700] {
            assert_eq!(Projection::of_epsg(number), None, "{number}");
        }
    }
}
