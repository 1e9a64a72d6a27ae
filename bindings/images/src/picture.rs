//! A picture in memory.

use std::time::Duration;

use image::{DynamicImage, ImageBuffer, RgbImage, RgbaImage};

use crate::error::Refusal;

/// A still or moving picture. All frames have one size and one layout: RGB or RGBA, sRGB, eight bits a channel.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    /// Never empty.
    pub(crate) frames: Vec<Frame>,
    /// The size of the image in the file, turned as the picture is, while less of it was read than that.
    pub(crate) whole: Option<(u32, u32)>,
    /// How often an animation is played; 0 is for ever.
    pub(crate) loops: u16,
    /// An EXIF block that holds the copyright and nothing else.
    pub(crate) copyright: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) pixels: DynamicImage,
    /// How long it is shown.
    pub(crate) delay: Duration,
}

impl Picture {
    pub(crate) fn still(pixels: DynamicImage) -> Self {
        let delay = Duration::ZERO;
        Self {
            frames: vec![Frame { pixels, delay }],
            whole: None,
            loops: 0,
            copyright: None,
        }
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        let first = &self.frames[0].pixels;
        (first.width(), first.height())
    }

    /// Pixels of all frames.
    pub(crate) fn area(&self) -> u64 {
        let (width, height) = self.size();
        u64::from(width) * u64::from(height) * self.frames.len() as u64
    }

    /// Makes each frame another; they stay of one size and layout when `next` treats like alike.
    pub(crate) fn each(
        &mut self,
        mut next: impl FnMut(&mut DynamicImage) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.frames
            .iter_mut()
            .try_for_each(|frame| next(&mut frame.pixels))
    }
}

/// The layouts that a [`Picture`] has, from any.
pub(crate) fn eight_bits(pixels: DynamicImage) -> DynamicImage {
    match pixels {
        DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_) => pixels,
        other if other.color().has_alpha() => DynamicImage::ImageRgba8(other.into_rgba8()),
        other => DynamicImage::ImageRgb8(other.into_rgb8()),
    }
}

pub(crate) fn rgb(width: u32, height: u32, samples: Vec<u8>) -> DynamicImage {
    let image: Option<RgbImage> = ImageBuffer::from_raw(width, height, samples);
    DynamicImage::ImageRgb8(image.expect("there are three samples a pixel"))
}

pub(crate) fn rgba(width: u32, height: u32, samples: Vec<u8>) -> DynamicImage {
    let image: Option<RgbaImage> = ImageBuffer::from_raw(width, height, samples);
    DynamicImage::ImageRgba8(image.expect("there are four samples a pixel"))
}

/// A canvas of one color, with alpha only when the color or `alpha` asks for it.
pub(crate) fn canvas(width: u32, height: u32, color: [u8; 4], alpha: bool) -> DynamicImage {
    let area = width as usize * height as usize;
    if alpha || color[3] != 255 {
        rgba(width, height, color.repeat(area))
    } else {
        rgb(width, height, color[..3].repeat(area))
    }
}

/// The samples, and how many a pixel has.
pub(crate) fn samples(pixels: &DynamicImage) -> (&[u8], usize) {
    (pixels.as_bytes(), usize::from(pixels.color().channel_count()))
}

/// The samples to be changed, and how many a pixel has.
pub(crate) fn samples_mut(pixels: &mut DynamicImage) -> (&mut [u8], usize) {
    match pixels {
        DynamicImage::ImageRgb8(image) => (image, 3),
        DynamicImage::ImageRgba8(image) => (image, 4),
        _ => unreachable!("a picture is RGB or RGBA"),
    }
}

/// A size, with its sides exchanged when its picture lies `sideways`.
pub(crate) fn turned((width, height): (u32, u32), sideways: bool) -> (u32, u32) {
    if sideways {
        (height, width)
    } else {
        (width, height)
    }
}
