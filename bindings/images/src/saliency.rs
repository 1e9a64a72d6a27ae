//! Which part of a picture to keep when it is to be cut: what stands out, or where most is to be seen.

use bowline_pixels::Resizer;
use image::DynamicImage;

use crate::error::Refusal;
use crate::geometry::Window;
use crate::options::Gravity;
use crate::picture;
use crate::resize::scale;

/// The side of the small copy that is looked at.
const LOOKED_AT: u32 = 128;
/// Places that are tried along an axis.
const PLACES: usize = 64;

/// Where a part of the shape `keep` lies best.
pub(crate) fn window(pixels: &DynamicImage, keep: (f64, f64), gravity: Gravity) -> Result<Window, Refusal> {
    let (width, height) = (f64::from(pixels.width()), f64::from(pixels.height()));
    let factor = (f64::from(LOOKED_AT) / width.max(height)).min(1.0);
    let small = (
        ((width * factor).round() as u32).max(1),
        ((height * factor).round() as u32).max(1),
    );
    let whole = Window {
        left: 0.0,
        top: 0.0,
        width,
        height,
    };
    let opaque = DynamicImage::ImageRgb8(pixels.to_rgb8());
    let copy = scale(&mut Resizer::default(), &opaque, &whole, small)?;
    let (samples, _) = picture::samples(&copy);
    let map = Map::new(samples, small.0 as usize, small.1 as usize);
    let score: Box<dyn Fn(&Part) -> f64> = match gravity {
        Gravity::Entropy => Box::new(|part| map.entropy(part)),
        _ => {
            let salient = map.salient();
            Box::new(move |part| salient.sum(part))
        }
    };
    let (free_x, free_y) = ((width - keep.0).max(0.0), (height - keep.1).max(0.0));
    let mut best = (f64::NEG_INFINITY, 0.0, 0.0);
    let middle_first = |free: f64| {
        // Of places that are as good, the one nearest to the middle: they are tried from there.
        let steps = if free < 0.5 { 0 } else { PLACES };
        let mut places: Vec<f64> = (0..=steps)
            .map(|step| free * step as f64 / steps.max(1) as f64)
            .collect();
        places.sort_by(|one, other| {
            let off = |place: &f64| (place - free / 2.0).abs();
            off(one).total_cmp(&off(other))
        });
        places
    };
    for &top in &middle_first(free_y) {
        for &left in &middle_first(free_x) {
            let part = map.part(left * factor, top * factor, keep.0 * factor, keep.1 * factor);
            let score = score(&part);
            if score > best.0 + 1e-9 {
                best = (score, left, top);
            }
        }
    }
    Ok(Window {
        left: best.1,
        top: best.2,
        width: keep.0,
        height: keep.1,
    })
}

/// A part of the small copy, in its pixels; not empty.
struct Part {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

/// The small copy.
struct Map<'a> {
    samples: &'a [u8],
    width: usize,
    height: usize,
}

/// A number a pixel, summed up so that any part is four look-ups.
struct Sums {
    sums: Vec<f64>,
    stride: usize,
}

impl<'a> Map<'a> {
    fn new(samples: &'a [u8], width: usize, height: usize) -> Self {
        Self {
            samples,
            width,
            height,
        }
    }

    fn part(&self, left: f64, top: f64, width: f64, height: f64) -> Part {
        let start = |start: f64, whole: usize| (start.round() as usize).min(whole - 1);
        let end =
            |start: usize, length: f64, whole: usize| (start + (length.round() as usize).max(1)).min(whole);
        let (left, top) = (start(left, self.width), start(top, self.height));
        Part {
            left,
            top,
            right: end(left, width, self.width),
            bottom: end(top, height, self.height),
        }
    }

    fn light(&self, x: usize, y: usize) -> usize {
        let at = (y * self.width + x) * 3;
        let [red, green, blue] = [0, 1, 2].map(|channel| usize::from(self.samples[at + channel]));
        (red * 54 + green * 183 + blue * 19) >> 8
    }

    /// Shannon's, of how light the pixels are.
    fn entropy(&self, part: &Part) -> f64 {
        let mut counts = [0u32; 256];
        for y in part.top..part.bottom {
            for x in part.left..part.right {
                counts[self.light(x, y)] += 1;
            }
        }
        let all = ((part.right - part.left) * (part.bottom - part.top)) as f64;
        counts
            .iter()
            .filter(|count| **count > 0)
            .map(|count| {
                let share = f64::from(*count) / all;
                -share * share.log2()
            })
            .sum()
    }

    /// How far each pixel is from the mean of the largest part around it that it is the middle of (maximum symmetric
    /// surround, Achanta and Süsstrunk 2010, which the documentation names), in L*a*b*.
    fn salient(&self) -> Sums {
        let lab: Vec<[f64; 3]> = self.samples.chunks_exact(3).map(lab).collect();
        let channels = [0, 1, 2].map(|channel| Sums::new(self.width, self.height, |at| lab[at][channel]));
        let distance = |at: usize| {
            let (x, y) = (at % self.width, at / self.width);
            let (off_x, off_y) = (x.min(self.width - 1 - x), y.min(self.height - 1 - y));
            let surround = Part {
                left: x - off_x,
                top: y - off_y,
                right: x + off_x + 1,
                bottom: y + off_y + 1,
            };
            let area = ((2 * off_x + 1) * (2 * off_y + 1)) as f64;
            (0..3)
                .map(|channel| (channels[channel].sum(&surround) / area - lab[at][channel]).powi(2))
                .sum()
        };
        Sums::new(self.width, self.height, distance)
    }
}

impl Sums {
    fn new(width: usize, height: usize, value: impl Fn(usize) -> f64) -> Self {
        let stride = width + 1;
        let mut sums = vec![0.0; stride * (height + 1)];
        for y in 0..height {
            let mut row = 0.0;
            for x in 0..width {
                row += value(y * width + x);
                sums[(y + 1) * stride + x + 1] = sums[y * stride + x + 1] + row;
            }
        }
        Self { sums, stride }
    }

    fn sum(&self, part: &Part) -> f64 {
        let at = |x: usize, y: usize| self.sums[y * self.stride + x];
        at(part.right, part.bottom) - at(part.left, part.bottom) - at(part.right, part.top)
            + at(part.left, part.top)
    }
}

/// sRGB as L*a*b* under D65.
fn lab(pixel: &[u8]) -> [f64; 3] {
    let linear = |sample: u8| {
        let sample = f64::from(sample) / 255.0;
        if sample <= 0.04045 {
            sample / 12.92
        } else {
            ((sample + 0.055) / 1.055).powf(2.4)
        }
    };
    let (red, green, blue) = (linear(pixel[0]), linear(pixel[1]), linear(pixel[2]));
    let curve = |part: f64| {
        if part > 0.008_856 {
            part.cbrt()
        } else {
            7.787 * part + 16.0 / 116.0
        }
    };
    let x = curve((0.412_456 * red + 0.357_576 * green + 0.180_437 * blue) / 0.950_47);
    let y = curve(0.212_673 * red + 0.715_152 * green + 0.072_175 * blue);
    let z = curve((0.019_334 * red + 0.119_192 * green + 0.950_304 * blue) / 1.088_83);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grey, with a square of red and noise at the right.
    fn lopsided() -> DynamicImage {
        let mut samples = Vec::new();
        for y in 0..60u32 {
            for x in 0..240u32 {
                let inside = (180..220).contains(&x) && (10..50).contains(&y);
                let noise = (x * 7 + y * 13) as u8;
                samples.extend(if inside { [220, noise, noise / 2] } else { [128; 3] });
            }
        }
        picture::rgb(240, 60, samples)
    }

    #[test]
    fn what_stands_out_is_kept() {
        for gravity in [Gravity::Auto, Gravity::Entropy] {
            let window = window(&lopsided(), (60.0, 60.0), gravity).unwrap();
            assert!((160.0..=180.0).contains(&window.left), "{gravity:?}: {window:?}");
        }
    }

    #[test]
    fn of_places_as_good_the_middle() {
        let plain = picture::canvas(200, 100, [9, 9, 9, 255], false);
        for gravity in [Gravity::Auto, Gravity::Entropy] {
            let window = window(&plain, (100.0, 100.0), gravity).unwrap();
            assert_eq!((window.left, window.top), (50.0, 0.0), "{gravity:?}");
        }
    }
}
