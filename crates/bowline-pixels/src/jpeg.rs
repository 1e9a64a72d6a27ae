//! Writing JPEG.

/// How a JPEG is written.
#[derive(Debug, Clone, Copy)]
pub struct Jpeg<'a> {
    /// 1 to 100.
    pub quality: u8,
    /// In scans from coarse to fine, or one from top to bottom.
    pub progressive: bool,
    /// An EXIF block.
    pub exif: Option<&'a [u8]>,
}

/// A JPEG could not be written: it has no pixels or too long a side, or its EXIF block is too long.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JpegError(#[from] jpeg_encoder::EncodingError);

impl Jpeg<'_> {
    /// Writes RGB samples.
    pub fn write(&self, samples: &[u8], width: u16, height: u16) -> Result<Vec<u8>, JpegError> {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, self.quality);
        encoder.set_progressive(self.progressive);
        // jpeg-encoder 0.7.1 writes wrong colors when a baseline with fewer of them than pixels is optimized.
        encoder.set_optimized_huffman_tables(self.progressive);
        if let Some(exif) = self.exif {
            encoder.add_exif_metadata(exif)?;
        }
        encoder.encode(samples, width, height, jpeg_encoder::ColorType::Rgb)?;
        Ok(bytes)
    }
}
