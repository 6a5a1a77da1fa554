//! OKLab, a colour space whose distances are close to what the eye sees. Source: Björn Ottosson, "A perceptual color
//! space for image processing", 2020.

/// Lightness 0 to 1, green-red, blue-yellow.
pub(crate) type Lab = [f32; 3];

/// OKLab of an 8-bit sRGB colour.
pub(crate) fn to_oklab(color: [u8; 3]) -> Lab {
    let [r, g, b] = color.map(|v| linear(f32::from(v) / 255.0));
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

/// The 8-bit sRGB colour of a lightness (0 to 1), a chroma and a hue in degrees; out of gamut, the chroma is reduced.
pub(crate) fn from_oklch(lightness: f32, chroma: f32, hue: f32) -> [u8; 3] {
    let (sin, cos) = hue.to_radians().sin_cos();
    let steps = 20;
    let candidates = (0..=steps).rev().map(|i| chroma * i as f32 / steps as f32);
    let mut rgb = [lightness; 3];
    for chroma in candidates {
        rgb = linear_rgb([lightness, chroma * cos, chroma * sin]);
        if rgb.iter().all(|v| (-0.001..=1.001).contains(v)) {
            break;
        }
    }
    rgb.map(|v| (255.0 * companded(v.clamp(0.0, 1.0))).round() as u8)
}

fn linear_rgb([lightness, a, b]: Lab) -> [f32; 3] {
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
}

fn linear(v: f32) -> f32 {
    if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

fn companded(v: f32) -> f32 {
    if v <= 0.003_130_8 { 12.92 * v } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_red_and_the_way_back() {
        assert!((to_oklab([255; 3])[0] - 1.0).abs() < 1e-3);
        // Ottosson's table of test values is in XYZ; these are of his reference code for pure red.
        let [l, a, b] = to_oklab([255, 0, 0]);
        assert!((l - 0.6280).abs() < 1e-3 && (a - 0.2249).abs() < 1e-3 && (b - 0.1258).abs() < 1e-3);
        assert_eq!(from_oklch(l, a.hypot(b), b.atan2(a).to_degrees()), [255, 0, 0]);
        let [l, a, b] = to_oklab([40, 120, 90]);
        assert_eq!(from_oklch(l, a.hypot(b), b.atan2(a).to_degrees()), [40, 120, 90]);
    }
}
