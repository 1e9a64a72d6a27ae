//! Bytes to pixels. Colors become sRGB, and the orientation that EXIF tells is carried out.

use std::io::Cursor;
use std::time::Duration;

use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ImageDecoder};
use moxcms::{ColorProfile, DataColorSpace, Layout, ProfileText, TransformOptions};

use crate::error::Refusal;
use crate::exif;
use crate::kind::{Head, Kind};
use crate::picture::{self, Frame, Picture, turned};
use crate::work::Watch;

/// What stands in a file beside its pixels.
#[derive(Default)]
struct Metadata {
    exif: Option<Vec<u8>>,
    profile: Option<Vec<u8>>,
}

/// Decodes an image whose head was read, all frames of it or the first. `shrink` says of a size by how much less is enough: 1, or
/// a power of two. A JPEG is read smaller by as much.
pub(crate) fn decode(
    bytes: &[u8],
    head: &Head,
    animated: bool,
    shrink: impl Fn((u32, u32)) -> u16,
    watch: &Watch,
) -> Result<Picture, Refusal> {
    watch.check()?;
    let animated = animated && head.frames > 1;
    let (mut picture, metadata) = match head.kind {
        Kind::Jpeg => jpeg(bytes, shrink)?,
        Kind::Png => still(PngDecoder::new(Cursor::new(bytes)).map_err(Refusal::broken)?)?,
        Kind::Gif if animated => (animation(bytes, watch)?, Metadata::default()),
        Kind::Gif => still(GifDecoder::new(Cursor::new(bytes)).map_err(Refusal::broken)?)?,
        Kind::WebP => webp(bytes, animated, watch)?,
        Kind::Svg | Kind::Avif | Kind::Heic | Kind::Tiff => {
            return Err(Refusal::not_an_image("The requested file is not a raster image"));
        }
    };
    if let Some(profile) = &metadata.profile {
        let converter = Converter::new(profile, picture.frames[0].pixels.color().has_alpha());
        if let Some(converter) = converter {
            picture.each(|pixels| {
                watch.check()?;
                converter.convert(pixels);
                Ok(())
            })?;
        }
    }
    if let Some(exif) = &metadata.exif {
        let orientation = Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms);
        picture.each(|pixels| {
            pixels.apply_orientation(orientation);
            Ok(())
        })?;
        picture.whole = picture.whole.map(|whole| turned(whole, is_sideways(orientation)));
        picture.copyright = exif::only_copyright(exif);
    }
    watch.check()?;
    Ok(picture)
}

/// Broken metadata is no metadata.
fn metadata(decoder: &mut impl ImageDecoder) -> Metadata {
    Metadata {
        exif: decoder.exif_metadata().ok().flatten(),
        profile: decoder.icc_profile().ok().flatten(),
    }
}

/// Whether EXIF says that width and height change places.
fn is_sideways(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn jpeg(bytes: &[u8], shrink: impl Fn((u32, u32)) -> u16) -> Result<(Picture, Metadata), Refusal> {
    let mut decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(Refusal::broken)?;
    let metadata = metadata(&mut decoder);
    let orientation = metadata.exif.as_deref().and_then(Orientation::from_exif_chunk);
    let whole = decoder.dimensions();
    let by = shrink(turned(whole, orientation.is_some_and(is_sideways)));
    if by > 1
        && let Some(small) = bowline_pixels::read_smaller(bytes, by)
    {
        let mut picture = Picture::still(picture::rgb(small.width, small.height, small.samples));
        picture.whole = Some(whole);
        return Ok((picture, metadata));
    }
    still(decoder)
}

fn still(mut decoder: impl ImageDecoder) -> Result<(Picture, Metadata), Refusal> {
    let metadata = metadata(&mut decoder);
    let pixels = DynamicImage::from_decoder(decoder).map_err(Refusal::broken)?;
    Ok((Picture::still(picture::eight_bits(pixels)), metadata))
}

fn animation(bytes: &[u8], watch: &Watch) -> Result<Picture, Refusal> {
    let decoder = GifDecoder::new(Cursor::new(bytes)).map_err(Refusal::broken)?;
    let loops = gif_loops(bytes);
    let mut frames = Vec::new();
    for frame in decoder.into_frames() {
        watch.check()?;
        match frame {
            Ok(frame) => {
                let delay = Duration::from(frame.delay());
                let pixels = DynamicImage::ImageRgba8(frame.into_buffer());
                frames.push(Frame { pixels, delay });
            }
            // As where they were counted.
            Err(_) if !frames.is_empty() => break,
            Err(error) => return Err(Refusal::broken(error)),
        }
    }
    if frames.is_empty() {
        return Err(Refusal::broken("it has no frame"));
    }
    Ok(Picture {
        frames,
        whole: None,
        loops,
        copyright: None,
    })
}

/// How often it is played; 0 is for ever. GIF counts repetitions.
fn gif_loops(bytes: &[u8]) -> u16 {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let Ok(mut decoder) = options.read_info(bytes) else {
        return 0;
    };
    // The count stands in front of the first frame.
    let _ = decoder.next_frame_info();
    match decoder.repeat() {
        gif::Repeat::Infinite => 0,
        gif::Repeat::Finite(more) => more.saturating_add(1),
    }
}

fn webp(bytes: &[u8], animated: bool, watch: &Watch) -> Result<(Picture, Metadata), Refusal> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(Refusal::broken)?;
    let metadata = Metadata {
        exif: decoder.exif_metadata().ok().flatten(),
        profile: decoder.icc_profile().ok().flatten(),
    };
    let (width, height) = decoder.dimensions();
    let alpha = decoder.has_alpha();
    let length = decoder
        .output_buffer_size()
        .ok_or_else(|| Refusal::broken("its size is beyond all bounds"))?;
    let pixels = |samples| {
        if alpha {
            picture::rgba(width, height, samples)
        } else {
            picture::rgb(width, height, samples)
        }
    };
    if !animated {
        let mut samples = vec![0; length];
        decoder.read_image(&mut samples).map_err(Refusal::broken)?;
        return Ok((Picture::still(pixels(samples)), metadata));
    }
    let loops = match decoder.loop_count() {
        image_webp::LoopCount::Forever => 0,
        image_webp::LoopCount::Times(times) => times.get(),
    };
    let mut frames = Vec::new();
    for _ in 0..decoder.num_frames() {
        watch.check()?;
        let mut samples = vec![0; length];
        match decoder.read_frame(&mut samples) {
            Ok(milliseconds) => frames.push(Frame {
                pixels: pixels(samples),
                delay: Duration::from_millis(u64::from(milliseconds)),
            }),
            Err(_) if !frames.is_empty() => break,
            Err(error) => return Err(Refusal::broken(error)),
        }
    }
    if frames.is_empty() {
        return Err(Refusal::broken("it has no frame"));
    }
    let picture = Picture {
        frames,
        whole: None,
        loops,
        copyright: None,
    };
    Ok((picture, metadata))
}

/// Turns colors of a profile into sRGB.
struct Converter(std::sync::Arc<moxcms::Transform8BitExecutor>);

impl Converter {
    /// `None` where nothing is to be done, or can be.
    fn new(profile: &[u8], alpha: bool) -> Option<Self> {
        let profile = ColorProfile::new_from_slice(profile).ok()?;
        // CMYK and grey have become RGB by then, without the profile.
        if profile.color_space != DataColorSpace::Rgb || is_srgb(&profile) {
            return None;
        }
        let layout = if alpha { Layout::Rgba } else { Layout::Rgb };
        profile
            .create_transform_8bit(
                layout,
                &ColorProfile::new_srgb(),
                layout,
                TransformOptions::default(),
            )
            .ok()
            .map(Self)
    }

    fn convert(&self, pixels: &mut DynamicImage) {
        let width = pixels.width() as usize;
        let (samples, channels) = picture::samples_mut(pixels);
        let mut converted = vec![0; width * channels];
        for row in samples.chunks_exact_mut(width * channels) {
            if self.0.transform(row, &mut converted).is_ok() {
                row.copy_from_slice(&converted);
            }
        }
    }
}

fn is_srgb(profile: &ColorProfile) -> bool {
    let named = |text: &str| text.contains("sRGB");
    match &profile.description {
        Some(ProfileText::PlainString(text)) => named(text),
        Some(ProfileText::Localizable(texts)) => texts.iter().any(|text| named(&text.value)),
        Some(ProfileText::Description(text)) => named(&text.ascii_string),
        None => false,
    }
}
