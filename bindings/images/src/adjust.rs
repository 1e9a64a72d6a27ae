//! Light, color and sharpness; backgrounds and borders.

use image::DynamicImage;
use image::imageops::{GaussianBlurParameters, blur_advanced, fast_blur};

use crate::error::Refusal;
use crate::options::{Border, Color, Transform};
use crate::picture::{self, Picture, samples_mut};
use crate::resize::on_canvas;
use crate::work::Watch;

/// Up to here a Gaussian is computed as such; boxes come near enough to a wider one and take no longer for it.
const WIDE: f32 = 3.0;
/// What is taken for a detail by the sharpening, as a standard deviation in pixels.
const DETAIL: f32 = 1.0;

/// Everything of a transform that leaves the size as it is.
pub(crate) fn adjust(picture: &mut Picture, transform: &Transform, watch: &Watch) -> Result<(), Refusal> {
    let curve = curve(transform);
    picture.each(|pixels| {
        watch.check()?;
        if let Some(color) = transform.background {
            *pixels = on_background(pixels, color);
        }
        if let Some(curve) = &curve {
            bend(pixels, curve);
        }
        if let Some(factor) = transform.saturation.filter(|factor| *factor != 1.0) {
            saturate(pixels, factor);
        }
        if let Some(radius) = transform.blur {
            watch.check()?;
            *pixels = blur(pixels, radius / 2.0);
        }
        if let Some(strength) = transform.sharpen {
            watch.check()?;
            sharpen(pixels, strength);
        }
        Ok(())
    })
}

/// Brightness, contrast and gamma of one sample, in that order; `None` where they change nothing.
fn curve(transform: &Transform) -> Option<[u8; 256]> {
    let factor = |factor: Option<f32>| factor.unwrap_or(1.0);
    let (brightness, contrast, gamma) = (
        factor(transform.brightness),
        factor(transform.contrast),
        factor(transform.gamma),
    );
    if [brightness, contrast, gamma] == [1.0; 3] {
        return None;
    }
    Some(std::array::from_fn(|sample| {
        let bright = (sample as f32 / 255.0 * brightness).clamp(0.0, 1.0);
        let contrasted = ((bright - 0.5) * contrast + 0.5).clamp(0.0, 1.0);
        (contrasted.powf(1.0 / gamma) * 255.0).round() as u8
    }))
}

fn bend(pixels: &mut DynamicImage, curve: &[u8; 256]) {
    let (samples, channels) = samples_mut(pixels);
    for pixel in samples.chunks_exact_mut(channels) {
        for sample in &mut pixel[..3] {
            *sample = curve[usize::from(*sample)];
        }
    }
}

fn saturate(pixels: &mut DynamicImage, factor: f32) {
    let (samples, channels) = samples_mut(pixels);
    for pixel in samples.chunks_exact_mut(channels) {
        let [red, green, blue] = [0, 1, 2].map(|channel| f32::from(pixel[channel]));
        let grey = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        for (sample, color) in pixel.iter_mut().zip([red, green, blue]) {
            *sample = (grey + (color - grey) * factor).round().clamp(0.0, 255.0) as u8;
        }
    }
}

/// A Gaussian blur of a standard deviation in pixels.
pub(crate) fn blur(pixels: &DynamicImage, deviation: f32) -> DynamicImage {
    // Three boxes are wider than small pictures; their radius is of no more use than a side.
    let deviation = deviation.min(pixels.width().max(pixels.height()) as f32).max(0.1);
    match pixels {
        DynamicImage::ImageRgb8(image) if deviation > WIDE => {
            DynamicImage::ImageRgb8(fast_blur(image, deviation))
        }
        DynamicImage::ImageRgb8(image) => {
            let parameters = GaussianBlurParameters::new_from_sigma(deviation);
            DynamicImage::ImageRgb8(blur_advanced(image, parameters))
        }
        // What is transparent has a color, too, which must not bleed into what is seen.
        other => {
            let mut premultiplied = other.to_rgba8();
            multiply(&mut premultiplied);
            let mut blurred = if deviation > WIDE {
                fast_blur(&premultiplied, deviation)
            } else {
                let parameters = GaussianBlurParameters::new_from_sigma(deviation);
                blur_advanced(&premultiplied, parameters)
            };
            divide(&mut blurred);
            DynamicImage::ImageRgba8(blurred)
        }
    }
}

fn multiply(samples: &mut [u8]) {
    for pixel in samples.chunks_exact_mut(4) {
        let alpha = u16::from(pixel[3]);
        for sample in &mut pixel[..3] {
            *sample = ((u16::from(*sample) * alpha + 127) / 255) as u8;
        }
    }
}

fn divide(samples: &mut [u8]) {
    for pixel in samples.chunks_exact_mut(4) {
        let alpha = u16::from(pixel[3]).max(1);
        for sample in &mut pixel[..3] {
            *sample = ((u16::from(*sample) * 255 + alpha / 2) / alpha).min(255) as u8;
        }
    }
}

/// An unsharp mask: the difference from the blurred, added as often as the strength tells.
fn sharpen(pixels: &mut DynamicImage, strength: f32) {
    let blurred = blur(pixels, DETAIL);
    let (soft, _) = picture::samples(&blurred);
    let (samples, channels) = samples_mut(pixels);
    for (pixel, soft) in samples
        .chunks_exact_mut(channels)
        .zip(soft.chunks_exact(channels))
    {
        for (sample, soft) in pixel[..3].iter_mut().zip(soft) {
            let (sharp, soft) = (f32::from(*sample), f32::from(*soft));
            *sample = (sharp + (sharp - soft) * strength).round().clamp(0.0, 255.0) as u8;
        }
    }
}

/// A picture with a color underneath.
pub(crate) fn on_background(pixels: &DynamicImage, color: Color) -> DynamicImage {
    let DynamicImage::ImageRgba8(image) = pixels else {
        return pixels.clone();
    };
    let (width, height) = image.dimensions();
    let below = f32::from(color[3]) / 255.0;
    if color[3] == 255 {
        let mut samples = Vec::with_capacity(image.len() / 4 * 3);
        for pixel in image.chunks_exact(4) {
            let alpha = u16::from(pixel[3]);
            for (over, under) in pixel[..3].iter().zip(color) {
                let sum = u16::from(*over) * alpha + u16::from(under) * (255 - alpha);
                samples.push(((sum + 127) / 255) as u8);
            }
        }
        return picture::rgb(width, height, samples);
    }
    let mut samples = Vec::with_capacity(image.len());
    for pixel in image.chunks_exact(4) {
        let alpha = f32::from(pixel[3]) / 255.0;
        let share = below * (1.0 - alpha);
        let whole = alpha + share;
        for (over, under) in pixel[..3].iter().zip(color) {
            let sum = f32::from(*over) * alpha + f32::from(under) * share;
            samples.push(if whole > 0.0 {
                (sum / whole).round() as u8
            } else {
                0
            });
        }
        samples.push((whole * 255.0).round() as u8);
    }
    picture::rgba(width, height, samples)
}

/// Adds a border around each frame.
pub(crate) fn add_border(picture: &mut Picture, border: &Border) -> Result<(), Refusal> {
    let size = bordered(picture.size(), border);
    picture.each(|pixels| {
        *pixels = on_canvas(
            pixels,
            size,
            (i64::from(border.left), i64::from(border.top)),
            border.color,
        );
        Ok(())
    })
}

/// The size with a border.
pub(crate) fn bordered(size: (u32, u32), border: &Border) -> (u32, u32) {
    // Options and pictures are bounded far below what a number holds.
    (
        size.0 + border.left + border.right,
        size.1 + border.top + border.bottom,
    )
}
