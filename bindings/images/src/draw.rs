//! Drawing one picture over another.

use image::DynamicImage;

use crate::error::Refusal;
use crate::options::{Composite, Draw, Offset};
use crate::picture::{self, Picture, samples_mut};
use crate::work::Watch;

/// Draws the first frame of an overlay on every frame of a picture, whose size stays.
pub(crate) fn draw(base: &mut Picture, overlay: &Picture, draw: &Draw, watch: &Watch) -> Result<(), Refusal> {
    let overlay = DynamicImage::ImageRgba8(overlay.frames[0].pixels.to_rgba8());
    let columns = starts(base.size().0, overlay.width(), draw.horizontal, draw.repeat_x);
    let rows = starts(base.size().1, overlay.height(), draw.vertical, draw.repeat_y);
    base.each(|pixels| {
        if needs_alpha(draw.composite) && !pixels.color().has_alpha() {
            *pixels = DynamicImage::ImageRgba8(pixels.to_rgba8());
        }
        for &top in &rows {
            watch.check()?;
            for &left in &columns {
                tile(pixels, &overlay, (left, top), draw);
            }
        }
        Ok(())
    })
}

/// Whether something may become transparent that was not.
fn needs_alpha(composite: Composite) -> bool {
    matches!(composite, Composite::In | Composite::Out | Composite::Xor)
}

/// Where along one axis the overlay begins: once, or as often as it takes from edge to edge.
fn starts(base: u32, overlay: u32, offset: Offset, repeat: bool) -> Vec<i64> {
    let (base, overlay) = (i64::from(base), i64::from(overlay));
    let start = match offset {
        Offset::Start(from) => from,
        Offset::End(from) => base - overlay - from,
        // Tiles begin at the edge.
        Offset::Center if repeat => 0,
        Offset::Center => (base - overlay).div_euclid(2),
    };
    if !repeat {
        return vec![start];
    }
    let mut start = start.rem_euclid(overlay);
    if start > 0 {
        start -= overlay;
    }
    (start..base)
        .step_by(usize::try_from(overlay).unwrap_or(usize::MAX))
        .collect()
}

/// Draws the overlay once. What lies beyond the picture is left out, what lies beside the overlay left alone.
fn tile(base: &mut DynamicImage, overlay: &DynamicImage, (left, top): (i64, i64), draw: &Draw) {
    let (base_width, base_height) = (i64::from(base.width()), i64::from(base.height()));
    let (width, height) = (i64::from(overlay.width()), i64::from(overlay.height()));
    let (from_x, to_x) = (left.max(0), (left + width).min(base_width));
    let (from_y, to_y) = (top.max(0), (top + height).min(base_height));
    if from_x >= to_x || from_y >= to_y {
        return;
    }
    let (above, _) = picture::samples(overlay);
    let (below, channels) = samples_mut(base);
    // All of these are inside both pictures now.
    let at = |x: i64, y: i64, width: i64, channels: usize| (y * width + x) as usize * channels;
    let length = (to_x - from_x) as usize;
    for y in from_y..to_y {
        let above = &above[at(from_x - left, y - top, width, 4)..][..length * 4];
        let below = &mut below[at(from_x, y, base_width, channels)..][..length * channels];
        for (above, below) in above.chunks_exact(4).zip(below.chunks_exact_mut(channels)) {
            blend(above, below, draw);
        }
    }
}

/// Porter and Duff's operators on one pixel.
fn blend(above: &[u8], below: &mut [u8], draw: &Draw) {
    let alpha_above = f32::from(above[3]) / 255.0 * draw.opacity;
    let alpha_below = below.get(3).map_or(1.0, |alpha| f32::from(*alpha) / 255.0);
    let (share_above, share_below) = match draw.composite {
        Composite::Over => (1.0, 1.0 - alpha_above),
        Composite::In => (alpha_below, 0.0),
        Composite::Atop => (alpha_below, 1.0 - alpha_above),
        Composite::Out => (1.0 - alpha_below, 0.0),
        Composite::Xor => (1.0 - alpha_below, 1.0 - alpha_above),
        Composite::Lighter => (1.0, 1.0),
    };
    let (share_above, share_below) = (share_above * alpha_above, share_below * alpha_below);
    let alpha = (share_above + share_below).min(1.0);
    for (above, below) in above[..3].iter().zip(below.iter_mut()) {
        let sum = f32::from(*above) * share_above + f32::from(*below) * share_below;
        *below = if alpha > 0.0 {
            (sum / alpha).round().clamp(0.0, 255.0) as u8
        } else {
            0
        };
    }
    if let Some(below) = below.get_mut(3) {
        *below = (alpha * 255.0).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(base: [u8; 4], overlay: [u8; 4], composite: Composite, opacity: f32) -> [u8; 4] {
        let mut below = base;
        let options = Draw {
            opacity,
            repeat_x: false,
            repeat_y: false,
            horizontal: Offset::Center,
            vertical: Offset::Center,
            composite,
        };
        blend(&overlay, &mut below, &options);
        below
    }

    #[test]
    fn operators() {
        let (red, blue, clear) = ([255, 0, 0, 255], [0, 0, 255, 255], [0; 4]);
        let half = [0, 0, 255, 128];
        for (base, overlay, composite, result) in [
            (red, blue, Composite::Over, blue),
            (red, half, Composite::Over, [127, 0, 128, 255]),
            (clear, half, Composite::Over, half),
            (red, clear, Composite::Over, red),
            (red, half, Composite::In, half),
            (clear, blue, Composite::In, clear),
            (clear, blue, Composite::Atop, clear),
            (red, half, Composite::Atop, [127, 0, 128, 255]),
            (red, blue, Composite::Out, clear),
            (clear, blue, Composite::Out, blue),
            (red, blue, Composite::Xor, clear),
            (red, clear, Composite::Xor, red),
            (clear, blue, Composite::Xor, blue),
            (red, blue, Composite::Lighter, [255, 0, 255, 255]),
        ] {
            assert_eq!(
                drawn(base, overlay, composite, 1.0),
                result,
                "{composite:?} of {overlay:?} on {base:?}"
            );
        }
        assert_eq!(drawn(red, blue, Composite::Over, 0.0), red);
        assert_eq!(drawn(red, blue, Composite::Over, 0.5), [128, 0, 128, 255]);
    }

    #[test]
    fn places() {
        assert_eq!(starts(100, 20, Offset::Center, false), [40]);
        assert_eq!(starts(100, 20, Offset::Start(5), false), [5]);
        assert_eq!(starts(100, 20, Offset::End(5), false), [75]);
        assert_eq!(starts(20, 100, Offset::Center, false), [-40]);
        assert_eq!(starts(50, 20, Offset::Center, true), [0, 20, 40]);
        assert_eq!(starts(50, 20, Offset::Start(5), true), [-15, 5, 25, 45]);
        assert_eq!(starts(50, 20, Offset::End(0), true), [-10, 10, 30]);
    }
}
