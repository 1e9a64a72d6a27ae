//! Writing JPEG, and reading it at a fraction of its size.

/// A JPEG read smaller than it is.
#[derive(Debug)]
pub struct Small {
    /// Pixels a row: those of the whole, divided and rounded up.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// RGB.
    pub samples: Vec<u8>,
}

/// Reads a JPEG of colors with its sides divided by 2, 4 or 8: of each block of 8 x 8 pixels only the low frequencies are made
/// into pixels, which is most of the work of reading saved.
///
/// `None` for what cannot be read so: whoever asks is to read it whole, and to say what is wrong with it if anything is.
pub fn read_smaller(bytes: &[u8], by: u16) -> Option<Small> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().ok()?;
    let whole = decoder.info()?;
    if whole.pixel_format != jpeg_decoder::PixelFormat::RGB24 {
        return None;
    }
    let wanted = (whole.width.div_ceil(by), whole.height.div_ceil(by));
    if decoder.scale(wanted.0, wanted.1).ok()? != wanted {
        return None;
    }
    let samples = decoder.decode().ok()?;
    Some(Small {
        width: wanted.0.into(),
        height: wanted.1.into(),
        samples,
    })
}

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
