//! Pixels to bytes.

use std::borrow::Cow;
use std::collections::HashMap;

use bowline_pixels::Jpeg;
use image::DynamicImage;
use webp::{AnimEncoder, AnimFrame, PixelLayout, WebPConfig};

use crate::adjust::on_background;
use crate::error::Refusal;
use crate::output::{Encoded, Format, Output};
use crate::picture::{self, Picture};
use crate::work::Watch;

/// What shows through in a format without transparency when no background is told. Not documented.
const WHITE: [u8; 4] = [255; 4];
/// Progressive JPEG is written between these (documented); beyond them baseline.
const PROGRESSIVE: std::ops::RangeInclusive<u64> = 50 * 50..=3000 * 3000;
/// zlib's level for PNG: 6 takes twice as long, and its files are three in a hundred smaller.
const DEFLATE: u8 = 4;
/// Every which pixel the palette is learnt from; 1 takes ten times as long and is hardly better.
const PALETTE_SAMPLE: i32 = 10;
/// Colors of a palette.
const PALETTE: usize = 256;
/// The longest side of an AVIF (documented); beyond it WebP is written, as is documented, too.
const AVIF_SIDE: u32 = 1_200;

/// Encodes a picture: its first frame, unless the format holds more and the picture has more.
pub(crate) fn encode(picture: &mut Picture, output: &Output, watch: &Watch) -> Result<Encoded, Refusal> {
    if !(output.format.moves() && output.animated) {
        picture.frames.truncate(1);
    }
    if let Some(color) = output.background {
        picture.each(|pixels| {
            *pixels = on_background(pixels, color);
            Ok(())
        })?;
    }
    watch.check()?;
    let first = &picture.frames[0].pixels;
    let bytes = match output.format {
        Format::Jpeg => jpeg(first, output, picture.copyright.as_deref())?,
        Format::Png => png(first, output.palette(), watch)?,
        Format::Gif => gif(picture, watch)?,
        Format::WebP if picture.frames.len() > 1 => moving_webp(picture, output)?,
        Format::WebP => webp(first, output)?,
        Format::Avif => return avif(first, output),
        Format::Rgb => on_background(first, WHITE).into_rgb8().into_raw(),
        Format::Rgba => first.to_rgba8().into_raw(),
    };
    Ok(Encoded {
        media_type: output.format.media_type(),
        bytes,
    })
}

fn area(pixels: &DynamicImage) -> u64 {
    u64::from(pixels.width()) * u64::from(pixels.height())
}

fn jpeg(pixels: &DynamicImage, output: &Output, exif: Option<&[u8]>) -> Result<Vec<u8>, Refusal> {
    let opaque: Cow<DynamicImage> = if pixels.color().has_alpha() {
        Cow::Owned(on_background(pixels, WHITE))
    } else {
        Cow::Borrowed(pixels)
    };
    let side = |side: u32| u16::try_from(side).map_err(Refusal::unwritable);
    let (width, height) = (side(opaque.width())?, side(opaque.height())?);
    let jpeg = Jpeg {
        quality: output.quality(),
        progressive: PROGRESSIVE.contains(&area(&opaque)),
        exif,
    };
    jpeg.write(opaque.as_bytes(), width, height)
        .map_err(Refusal::unwritable)
}

fn png(pixels: &DynamicImage, palette: bool, watch: &Watch) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixels.width(), pixels.height());
    encoder.set_depth(png::BitDepth::Eight);
    let samples = if palette {
        let indexed = Indexed::new(&pixels.to_rgba8());
        watch.check()?;
        encoder.set_color(png::ColorType::Indexed);
        let colors = indexed.colors.chunks_exact(4);
        encoder.set_palette(
            colors
                .clone()
                .flat_map(|color| &color[..3])
                .copied()
                .collect::<Vec<u8>>(),
        );
        encoder.set_trns(colors.map(|color| color[3]).collect::<Vec<u8>>());
        Cow::Owned(indexed.pixels)
    } else {
        encoder.set_color(if pixels.color().has_alpha() {
            png::ColorType::Rgba
        } else {
            png::ColorType::Rgb
        });
        Cow::Borrowed(pixels.as_bytes())
    };
    encoder.set_deflate_compression(png::DeflateCompression::Level(DEFLATE));
    let mut writer = encoder.write_header().map_err(Refusal::unwritable)?;
    writer.write_image_data(&samples).map_err(Refusal::unwritable)?;
    writer.finish().map_err(Refusal::unwritable)?;
    Ok(bytes)
}

/// A picture of at most 256 colors.
struct Indexed {
    /// RGBA each.
    colors: Vec<u8>,
    /// One index a pixel.
    pixels: Vec<u8>,
}

impl Indexed {
    /// The picture itself where it has no more colors, the nearest there is otherwise.
    fn new(rgba: &[u8]) -> Self {
        Self::exact(rgba).unwrap_or_else(|| {
            let network = color_quant::NeuQuant::new(PALETTE_SAMPLE, PALETTE, rgba);
            Self {
                colors: network.color_map_rgba(),
                pixels: rgba
                    .chunks_exact(4)
                    .map(|pixel| network.index_of(pixel) as u8)
                    .collect(),
            }
        })
    }

    fn exact(rgba: &[u8]) -> Option<Self> {
        let mut indices: HashMap<&[u8], u8> = HashMap::new();
        let (mut colors, mut pixels) = (Vec::new(), Vec::with_capacity(rgba.len() / 4));
        for pixel in rgba.chunks_exact(4) {
            let next = indices.len();
            let index = match indices.get(pixel) {
                Some(index) => *index,
                None => {
                    let index = u8::try_from(next).ok()?;
                    colors.extend_from_slice(pixel);
                    *indices.entry(pixel).or_insert(index)
                }
            };
            pixels.push(index);
        }
        Some(Self { colors, pixels })
    }
}

fn gif(picture: &Picture, watch: &Watch) -> Result<Vec<u8>, Refusal> {
    let (width, height) = picture.size();
    let side = |side: u32| u16::try_from(side).map_err(Refusal::unwritable);
    let (width, height) = (side(width)?, side(height)?);
    let mut bytes = Vec::new();
    {
        let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[]).map_err(Refusal::unwritable)?;
        if picture.frames.len() > 1 {
            let repeat = match picture.loops {
                0 => Some(gif::Repeat::Infinite),
                // Once is what is done without a word.
                1 => None,
                times => Some(gif::Repeat::Finite(times - 1)),
            };
            if let Some(repeat) = repeat {
                encoder.set_repeat(repeat).map_err(Refusal::unwritable)?;
            }
        }
        for frame in &picture.frames {
            watch.check()?;
            let mut samples = frame.pixels.to_rgba8().into_raw();
            let mut clear = false;
            for pixel in samples.chunks_exact_mut(4) {
                // A GIF's pixel is there or not.
                if pixel[3] < 128 {
                    pixel.fill(0);
                    clear = true;
                } else {
                    pixel[3] = 255;
                }
            }
            let mut frame_out = gif::Frame::from_rgba_speed(width, height, &mut samples, PALETTE_SAMPLE);
            frame_out.delay = u16::try_from(frame.delay.as_millis() / 10).unwrap_or(u16::MAX);
            if clear {
                // What was there would show through.
                frame_out.dispose = gif::DisposalMethod::Background;
            }
            encoder.write_frame(&frame_out).map_err(Refusal::unwritable)?;
        }
    }
    Ok(bytes)
}

fn layout(pixels: &DynamicImage) -> PixelLayout {
    if pixels.color().has_alpha() {
        PixelLayout::Rgba
    } else {
        PixelLayout::Rgb
    }
}

fn webp_config(output: &Output) -> Result<WebPConfig, Refusal> {
    let mut config = WebPConfig::new()
        .map_err(|()| Refusal::internal("libwebp has no configuration", "its version is another"))?;
    config.quality = f32::from(output.quality());
    config.alpha_quality = 100;
    Ok(config)
}

fn webp(pixels: &DynamicImage, output: &Output) -> Result<Vec<u8>, Refusal> {
    let config = webp_config(output)?;
    let (samples, _) = picture::samples(pixels);
    let encoded = webp::Encoder::new(samples, layout(pixels), pixels.width(), pixels.height())
        .encode_advanced(&config)
        .map_err(|error| Refusal::unwritable(format!("{error:?}")))?;
    Ok(encoded.to_vec())
}

fn moving_webp(picture: &Picture, output: &Output) -> Result<Vec<u8>, Refusal> {
    let config = webp_config(output)?;
    let (width, height) = picture.size();
    let mut encoder = AnimEncoder::new(width, height, &config);
    encoder.set_loop_count(i32::from(picture.loops));
    let mut shown = 0u64;
    for frame in &picture.frames {
        let (samples, _) = picture::samples(&frame.pixels);
        let timestamp = i32::try_from(shown).map_err(Refusal::unwritable)?;
        encoder.add_frame(AnimFrame::new(
            samples,
            layout(&frame.pixels),
            width,
            height,
            timestamp,
            None,
        ));
        shown += u64::try_from(frame.delay.as_millis()).unwrap_or(u64::MAX / 4);
    }
    let encoded = encoder
        .try_encode()
        .map_err(|error| Refusal::unwritable(format!("{error:?}")))?;
    let mut bytes = encoded.to_vec();
    set_length(&mut bytes, shown);
    Ok(bytes)
}

/// Makes an animated WebP last some milliseconds: the encoder is told when frames begin, and guesses when the last ends.
fn set_length(webp: &mut [u8], milliseconds: u64) {
    // RIFF: after its head, chunks of a name, a length and so many bytes, padded to an even number.
    let (mut at, mut last, mut before) = (12, None, 0u64);
    while let Some(head) = webp.get(at..at + 8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        // A frame's duration stands behind its place and size, in three bytes.
        if &head[..4] == b"ANMF"
            && let Some(duration) = webp.get(at + 20..at + 23)
        {
            if let Some((_, duration)) = last {
                before += duration;
            }
            let duration = u32::from_le_bytes([duration[0], duration[1], duration[2], 0]);
            last = Some((at + 20, u64::from(duration)));
        }
        at += 8 + length + length % 2;
    }
    if let Some((at, _)) = last {
        let rest = milliseconds.saturating_sub(before).min(0xff_ffff);
        webp[at..at + 3].copy_from_slice(&rest.to_le_bytes()[..3]);
    }
}

fn avif(pixels: &DynamicImage, output: &Output) -> Result<Encoded, Refusal> {
    if pixels.width().max(pixels.height()) > AVIF_SIDE {
        return Ok(Encoded {
            media_type: Format::WebP.media_type(),
            bytes: webp(pixels, output)?,
        });
    }
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    // Threads are bounded by jobs.
    let encoder = ravif::Encoder::new()
        .with_quality(f32::from(output.quality()))
        .with_speed(8)
        .with_num_threads(Some(1));
    let (samples, channels) = picture::samples(pixels);
    let encoded = if channels == 4 {
        let rgba: Vec<_> = samples
            .chunks_exact(4)
            .map(|pixel| ravif::RGBA8::new(pixel[0], pixel[1], pixel[2], pixel[3]))
            .collect();
        encoder.encode_rgba(ravif::Img::new(rgba.as_slice(), width, height))
    } else {
        let rgb: Vec<_> = samples
            .chunks_exact(3)
            .map(|pixel| ravif::RGB8::new(pixel[0], pixel[1], pixel[2]))
            .collect();
        encoder.encode_rgb(ravif::Img::new(rgb.as_slice(), width, height))
    };
    Ok(Encoded {
        media_type: Format::Avif.media_type(),
        bytes: encoded.map_err(Refusal::unwritable)?.avif_file,
    })
}
