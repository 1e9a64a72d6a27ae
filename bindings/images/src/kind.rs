//! What some bytes are, by how they begin.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;

use crate::config::Limits;
use crate::error::Refusal;

/// Bytes in which an SVG's root must begin.
const SVG_HEAD: usize = 4096;

/// The kinds that are read, and those that can be named when they are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Jpeg,
    Png,
    Gif,
    WebP,
    Svg,
    Avif,
    Heic,
    Tiff,
}

/// What the head of a raster image tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// As far as they were counted: enough to see whether there are too many.
    pub(crate) frames: u64,
}

impl Head {
    /// Pixels of all frames.
    pub(crate) fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * self.frames
    }
}

impl Kind {
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, Refusal> {
        let kind = match bytes {
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Self::Png,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::Gif,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::WebP,
            [
                _,
                _,
                _,
                _,
                b'f',
                b't',
                b'y',
                b'p',
                b'a',
                b'v',
                b'i',
                b'f' | b's',
                ..,
            ] => Self::Avif,
            [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', ..]
            | [
                _,
                _,
                _,
                _,
                b'f',
                b't',
                b'y',
                b'p',
                b'm',
                b'i' | b's',
                b'f',
                b'1',
                ..,
            ] => Self::Heic,
            [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Self::Tiff,
            _ if is_svg(bytes) => Self::Svg,
            _ => return Err(Refusal::not_an_image("The requested file is not an image")),
        };
        Ok(kind)
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
            Self::Svg => "image/svg+xml",
            Self::Avif => "image/avif",
            Self::Heic => "image/heic",
            Self::Tiff => "image/tiff",
        }
    }
}

fn is_svg(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(SVG_HEAD)];
    let head = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    head.starts_with(b"<") && !head.contains(&0) && head.windows(4).any(|part| part == b"<svg")
}

/// Reads the head of a raster image and holds it against the limits, before any pixel is decoded.
pub(crate) fn head(bytes: &[u8], limits: &Limits) -> Result<Head, Refusal> {
    let kind = Kind::of(bytes)?;
    let (width, height, frames) = match kind {
        Kind::Jpeg => {
            let (width, height) = JpegDecoder::new(Cursor::new(bytes))
                .map_err(Refusal::broken)?
                .dimensions();
            (width, height, 1)
        }
        Kind::Png => {
            let (width, height) = PngDecoder::new(Cursor::new(bytes))
                .map_err(Refusal::broken)?
                .dimensions();
            (width, height, 1)
        }
        Kind::WebP => {
            let decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(Refusal::broken)?;
            let (width, height) = decoder.dimensions();
            let frames = if decoder.is_animated() {
                decoder.num_frames()
            } else {
                1
            };
            (width, height, u64::from(frames.max(1)))
        }
        Kind::Gif => gif(bytes, limits)?,
        Kind::Svg => {
            return Err(Refusal::not_an_image(
                "Conversion between SVG and raster formats is not supported",
            ));
        }
        Kind::Avif => return Err(Refusal::not_an_image("AVIF input is not offered here")),
        Kind::Heic => {
            return Err(Refusal::not_an_image(
                "The HEIC format is not supported. You must convert HEIC files to one of the supported formats \
                 (e.g. JPEG or PNG)",
            ));
        }
        Kind::Tiff => {
            return Err(Refusal::not_an_image(
                "The TIFF format is not supported. You must convert TIFF files to one of the supported formats \
                 (e.g. JPEG or PNG)",
            ));
        }
    };
    if width == 0 || height == 0 {
        return Err(Refusal::too_large("The image has width or height of size 0"));
    }
    let head = Head {
        kind,
        width,
        height,
        frames,
    };
    // What is beyond the limit for animations passes through undecoded, up to the limit itself.
    if head.area() > limits.area {
        return Err(Refusal::too_large(format!(
            "it has {width}x{height} pixels in {frames} frames; {} pixels are allowed in all",
            limits.area
        )));
    }
    Ok(head)
}

/// Size and frames of a GIF: its blocks are walked, nothing is decompressed.
fn gif(bytes: &[u8], limits: &Limits) -> Result<(u32, u32, u64), Refusal> {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let mut decoder = options.read_info(bytes).map_err(Refusal::broken)?;
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let area = u64::from(width) * u64::from(height);
    let mut frames = 0;
    while area * frames <= limits.area {
        match decoder.next_frame_info() {
            Ok(Some(_)) => frames += 1,
            Ok(None) => break,
            // As browsers do: what is there of a torn animation is shown.
            Err(_) if frames > 0 => break,
            Err(error) => return Err(Refusal::broken(error)),
        }
    }
    if frames == 0 {
        return Err(Refusal::broken("it has no frame"));
    }
    Ok((width, height, frames))
}
