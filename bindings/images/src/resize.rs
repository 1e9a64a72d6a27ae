//! Cutting, scaling and padding.

use bowline_pixels::{Crop, Resizer};
use image::DynamicImage;

use crate::error::Refusal;
use crate::geometry::{Plan, Window};
use crate::options::{Color, Fit, Gravity, Transform, Trim};
use crate::picture::{self, Picture};
use crate::saliency;
use crate::work::Watch;

/// What is seen beside a padded picture when no color is told.
const WHITE: Color = [255; 4];

/// Brings a picture to the size that is asked for. The plan is one of the whole picture.
pub(crate) fn resize(
    picture: &mut Picture,
    transform: &Transform,
    plan: &Plan,
    watch: &Watch,
) -> Result<(), Refusal> {
    let size = picture.size();
    let sides = (f64::from(size.0), f64::from(size.1));
    let whole = picture.whole.take().unwrap_or(size);
    // In pixels that are there.
    let keep = (
        (plan.keep.0 * (sides.0 / f64::from(whole.0))).min(sides.0),
        (plan.keep.1 * (sides.1 / f64::from(whole.1))).min(sides.1),
    );
    let window = match transform.gravity {
        // Frames of an animation are cut alike.
        Gravity::Auto | Gravity::Entropy if plan.keep != (f64::from(whole.0), f64::from(whole.1)) => {
            saliency::window(&picture.frames[0].pixels, keep, transform.gravity)?
        }
        gravity => Window::new(size, keep, gravity),
    };
    let mut resizer = Resizer::default();
    picture.each(|pixels| {
        watch.check()?;
        if plan.scaled != size || keep != sides {
            *pixels = scale(&mut resizer, pixels, &window, plan.scaled)?;
        }
        if transform.fit == Fit::Pad && plan.canvas != plan.scaled {
            let free = Window::new(
                plan.canvas,
                (f64::from(plan.scaled.0), f64::from(plan.scaled.1)),
                transform.gravity,
            );
            let at = (free.left.floor() as i64, free.top.floor() as i64);
            *pixels = on_canvas(pixels, plan.canvas, at, transform.background.unwrap_or(WHITE));
        }
        Ok(())
    })
}

/// A part of a picture at another size.
pub(crate) fn scale(
    resizer: &mut Resizer,
    pixels: &DynamicImage,
    window: &Window,
    to: (u32, u32),
) -> Result<DynamicImage, Refusal> {
    let (samples, channels) = picture::samples(pixels);
    let size = (pixels.width(), pixels.height());
    let part = Crop {
        left: window.left,
        top: window.top,
        width: window.width,
        height: window.height,
    };
    let scaled = if channels == 4 {
        resizer
            .rgba(samples, size, part, to)
            .map(|samples| picture::rgba(to.0, to.1, samples))
    } else {
        resizer
            .rgb(samples, size, part, to)
            .map(|samples| picture::rgb(to.0, to.1, samples))
    };
    scaled.map_err(|error| Refusal::internal("a picture could not be resized", &error))
}

/// A picture on a larger canvas, which shows beside it and not through it.
pub(crate) fn on_canvas(
    pixels: &DynamicImage,
    size: (u32, u32),
    at: (i64, i64),
    color: Color,
) -> DynamicImage {
    let alpha = pixels.color().has_alpha() || color[3] != 255;
    let mut canvas = picture::canvas(size.0, size.1, color, alpha);
    if alpha && !pixels.color().has_alpha() {
        let pixels = DynamicImage::ImageRgba8(pixels.to_rgba8());
        image::imageops::replace(&mut canvas, &pixels, at.0, at.1);
    } else {
        image::imageops::replace(&mut canvas, pixels, at.0, at.1);
    }
    canvas
}

/// Cuts off what is told, then a border of one color.
pub(crate) fn trim(picture: &mut Picture, trim: &Trim) -> Result<(), Refusal> {
    let (width, height) = picture.size();
    let nothing = || Refusal::options(format!("trim leaves nothing of {width}x{height} pixels"));
    let side = |whole: u32, start: u32, end: u32, length: Option<u32>| {
        let left = whole.saturating_sub(start);
        let kept = length.map_or(left.saturating_sub(end), |length| length.min(left));
        (kept > 0).then_some(kept)
    };
    let kept_width = side(width, trim.left, trim.right, trim.width).ok_or_else(nothing)?;
    let kept_height = side(height, trim.top, trim.bottom, trim.height).ok_or_else(nothing)?;
    let mut kept = (trim.left, trim.top, kept_width, kept_height);
    if let Some(border) = &trim.border {
        let first = picture.frames[0].pixels.crop_imm(kept.0, kept.1, kept.2, kept.3);
        let color = border.color.unwrap_or_else(|| first_pixel(&first));
        // A picture of one color has no border: nothing would stay.
        if let Some((left, top, right, bottom)) = differing(&first, color, border.tolerance) {
            let keep = border.keep;
            let (left, top) = (left.saturating_sub(keep), top.saturating_sub(keep));
            let right = right.saturating_add(keep).min(kept.2 - 1);
            let bottom = bottom.saturating_add(keep).min(kept.3 - 1);
            kept = (kept.0 + left, kept.1 + top, right - left + 1, bottom - top + 1);
        }
    }
    if kept == (0, 0, width, height) {
        return Ok(());
    }
    picture.each(|pixels| {
        *pixels = pixels.crop_imm(kept.0, kept.1, kept.2, kept.3);
        Ok(())
    })
}

fn first_pixel(pixels: &DynamicImage) -> Color {
    let (samples, channels) = picture::samples(pixels);
    let mut color = WHITE;
    color[..channels].copy_from_slice(&samples[..channels]);
    color
}

/// The smallest part with everything that differs from a color: left, top, right, bottom, all inside.
fn differing(pixels: &DynamicImage, color: Color, tolerance: f32) -> Option<(u32, u32, u32, u32)> {
    let (samples, channels) = picture::samples(pixels);
    let row_length = pixels.width() as usize * channels;
    let differs = |pixel: &[u8]| {
        let pairs = pixel.iter().zip(color);
        pairs
            .into_iter()
            .any(|(one, other)| f32::from(one.abs_diff(other)) > tolerance)
    };
    let mut found: Option<(u32, u32, u32, u32)> = None;
    for (y, row) in (0..).zip(samples.chunks_exact(row_length)) {
        let mut pixels = row.chunks_exact(channels);
        let Some(first) = pixels.position(differs) else {
            continue;
        };
        let last = row
            .chunks_exact(channels)
            .rposition(differs)
            .expect("one was found from the other side");
        // Sides fit: they are those of a picture.
        let (first, last) = (first as u32, last as u32);
        found = Some(match found {
            None => (first, y, last, y),
            Some((left, top, right, _)) => (left.min(first), top, right.max(last), y),
        });
    }
    found
}
