//! Scaling.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions};

/// The part of a picture that is scaled, in pixels.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "they are what they are called")]
pub struct Crop {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// A picture could not be scaled: its samples are fewer than its size says, or the part lies outside.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ResizeError(String);

impl ResizeError {
    fn new(cause: impl ToString) -> Self {
        Self(cause.to_string())
    }
}

/// Scales by convolution with a Lanczos window of three lobes. It keeps the memory that it needs from one picture to the next.
#[derive(Debug, Default)]
pub struct Resizer(fast_image_resize::Resizer);

impl Resizer {
    /// The samples of a part of an RGB picture, brought to the size `to` (width, height).
    pub fn rgb(
        &mut self,
        samples: &[u8],
        size: (u32, u32),
        part: Crop,
        to: (u32, u32),
    ) -> Result<Vec<u8>, ResizeError> {
        self.scale::<U8x3>(samples, size, part, to)
    }

    /// As [`rgb`](Self::rgb), of an RGBA picture, whose colors count as much as they are opaque.
    pub fn rgba(
        &mut self,
        samples: &[u8],
        size: (u32, u32),
        part: Crop,
        to: (u32, u32),
    ) -> Result<Vec<u8>, ResizeError> {
        self.scale::<U8x4>(samples, size, part, to)
    }

    fn scale<P: PixelTrait>(
        &mut self,
        samples: &[u8],
        size: (u32, u32),
        part: Crop,
        to: (u32, u32),
    ) -> Result<Vec<u8>, ResizeError> {
        let mut scaled = vec![0; to.0 as usize * to.1 as usize * P::size()];
        let source = TypedImageRef::<P>::from_buffer(size.0, size.1, samples).map_err(ResizeError::new)?;
        let mut target = TypedImage::<P>::from_buffer(to.0, to.1, &mut scaled).map_err(ResizeError::new)?;
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
            .crop(part.left, part.top, part.width, part.height);
        self.0
            .resize_typed(&source, &mut target, &options)
            .map_err(ResizeError::new)?;
        Ok(scaled)
    }
}
