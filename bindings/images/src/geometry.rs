//! From the size that is asked for to what is cut, scaled and padded. No pixels here.

use crate::options::{Fit, Gravity};

/// A part of a picture, in its own pixels. Not whole where the picture is scaled afterwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// What makes one size of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    /// The shape of the part that stays; where it lies is for the gravity to say.
    pub(crate) keep: (f64, f64),
    /// What the part is scaled to.
    pub(crate) scaled: (u32, u32),
    /// The size of the whole result.
    pub(crate) canvas: (u32, u32),
}

impl Plan {
    /// What `fit` makes of a picture of `size` when a width, a height or both are asked for.
    pub(crate) fn new(size: (u32, u32), width: Option<u32>, height: Option<u32>, fit: Fit) -> Self {
        let (from_width, from_height) = (f64::from(size.0), f64::from(size.1));
        let whole = |scaled: (u32, u32)| Self {
            keep: (from_width, from_height),
            scaled,
            canvas: scaled,
        };
        let scaled_by = |factor: f64| (pixels(from_width * factor), pixels(from_height * factor));
        let (width, height) = match (width, height) {
            (None, None) => return whole(size),
            (Some(width), Some(height)) => (width, height),
            (width, height) => {
                // One side is free: nothing is cut or filled, whatever the fit.
                if fit == Fit::Squeeze {
                    return whole((width.unwrap_or(size.0), height.unwrap_or(size.1)));
                }
                let factor = match (width, height) {
                    (Some(width), _) => f64::from(width) / from_width,
                    (None, height) => f64::from(height.unwrap_or(size.1)) / from_height,
                };
                let never_enlarged = matches!(fit, Fit::ScaleDown | Fit::Crop | Fit::AspectCrop);
                let factor = if never_enlarged { factor.min(1.0) } else { factor };
                let (scaled_width, scaled_height) = scaled_by(factor);
                // Exactly what was asked for, whatever rounding makes of it.
                return match (width, height) {
                    _ if factor == 1.0 => whole(size),
                    (Some(width), _) => whole((width, scaled_height)),
                    (None, height) => whole((scaled_width, height.unwrap_or(scaled_height))),
                };
            }
        };
        let (to_width, to_height) = (f64::from(width), f64::from(height));
        let inner = (to_width / from_width).min(to_height / from_height);
        let outer = (to_width / from_width).max(to_height / from_height);
        let filled = |width: u32, height: u32| {
            let factor = (f64::from(width) / from_width).max(f64::from(height) / from_height);
            Self {
                keep: (
                    (f64::from(width) / factor).min(from_width),
                    (f64::from(height) / factor).min(from_height),
                ),
                scaled: (width, height),
                canvas: (width, height),
            }
        };
        match fit {
            Fit::ScaleDown if inner >= 1.0 => whole(size),
            Fit::ScaleDown | Fit::Contain => whole(scaled_by(inner)),
            Fit::Squeeze => whole((width, height)),
            Fit::Pad => Self {
                canvas: (width, height),
                ..whole({
                    let (scaled_width, scaled_height) = scaled_by(inner);
                    (scaled_width.min(width), scaled_height.min(height))
                })
            },
            Fit::Cover => filled(width, height),
            Fit::Crop => filled(width.min(size.0), height.min(size.1)),
            Fit::AspectCrop if outer <= 1.0 => filled(width, height),
            Fit::AspectCrop => {
                let kept = (pixels(to_width / outer), pixels(to_height / outer));
                filled(kept.0.min(size.0), kept.1.min(size.1))
            }
        }
    }
}

/// The nearest number of pixels, at least one.
fn pixels(side: f64) -> u32 {
    // Sides are bounded by whoever uses the plan; a float that is too large becomes the largest number.
    (side.round() as u32).max(1)
}

impl Window {
    /// Where a part of the shape `keep` lies in a picture of `size`, for gravities that need not look at pixels.
    pub(crate) fn new(size: (u32, u32), keep: (f64, f64), gravity: Gravity) -> Self {
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let (free_x, free_y) = ((width - keep.0).max(0.0), (height - keep.1).max(0.0));
        let (left, top) = match gravity {
            Gravity::Center | Gravity::Auto | Gravity::Entropy => (free_x / 2.0, free_y / 2.0),
            Gravity::Left => (0.0, free_y / 2.0),
            Gravity::Right => (free_x, free_y / 2.0),
            Gravity::Top => (free_x / 2.0, 0.0),
            Gravity::Bottom => (free_x / 2.0, free_y),
            Gravity::Remainder(x, y) => (free_x * f64::from(x), free_y * f64::from(y)),
            Gravity::Point(x, y) => (
                (width * f64::from(x) - keep.0 / 2.0).clamp(0.0, free_x),
                (height * f64::from(y) - keep.1 / 2.0).clamp(0.0, free_y),
            ),
        };
        Self {
            left,
            top,
            width: keep.0,
            height: keep.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(size: (u32, u32), width: u32, height: u32, fit: Fit) -> (u32, u32) {
        let some = |side: u32| (side != 0).then_some(side);
        Plan::new(size, some(width), some(height), fit).canvas
    }

    /// The examples of the documentation, and their neighbours.
    #[test]
    fn sizes_of_results() {
        for (size, width, height, fit, result) in [
            ((1080, 720), 500, 500, Fit::ScaleDown, (500, 333)),
            ((1080, 720), 2000, 2000, Fit::ScaleDown, (1080, 720)),
            ((1080, 720), 2160, 2160, Fit::Contain, (2160, 1440)),
            ((1080, 720), 500, 500, Fit::Cover, (500, 500)),
            ((1080, 720), 2000, 2000, Fit::Cover, (2000, 2000)),
            ((1080, 720), 1296, 1296, Fit::Crop, (1080, 720)),
            ((1080, 720), 500, 500, Fit::Crop, (500, 500)),
            ((1080, 720), 1296, 500, Fit::Crop, (1080, 500)),
            ((612, 613), 1920, 1120, Fit::AspectCrop, (612, 357)),
            ((1080, 720), 500, 500, Fit::AspectCrop, (500, 500)),
            ((1080, 720), 1080, 1080, Fit::Pad, (1080, 1080)),
            ((1080, 720), 1080, 540, Fit::Squeeze, (1080, 540)),
            ((1080, 720), 540, 0, Fit::ScaleDown, (540, 360)),
            ((1080, 720), 0, 360, Fit::Cover, (540, 360)),
            ((1080, 720), 2000, 0, Fit::ScaleDown, (1080, 720)),
            ((1080, 720), 2160, 0, Fit::Contain, (2160, 1440)),
            ((1080, 720), 100, 0, Fit::Squeeze, (100, 720)),
            ((1080, 720), 0, 0, Fit::Cover, (1080, 720)),
            ((10_000, 1), 10, 10, Fit::Contain, (10, 1)),
        ] {
            assert_eq!(
                canvas(size, width, height, fit),
                result,
                "{size:?} {width}x{height} {fit:?}"
            );
        }
        let pad = Plan::new((1080, 720), Some(1080), Some(1080), Fit::Pad);
        assert_eq!((pad.scaled, pad.keep), ((1080, 720), (1080.0, 720.0)));
        let cover = Plan::new((1080, 720), Some(500), Some(500), Fit::Cover);
        assert_eq!(cover.keep, (720.0, 720.0));
    }

    #[test]
    fn windows() {
        let window = |gravity| {
            let window = Window::new((100, 50), (40.0, 50.0), gravity);
            (window.left, window.top)
        };
        assert_eq!(window(Gravity::Center), (30.0, 0.0));
        assert_eq!(window(Gravity::Left), (0.0, 0.0));
        assert_eq!(window(Gravity::Right), (60.0, 0.0));
        assert_eq!(window(Gravity::Top), (30.0, 0.0));
        assert_eq!(window(Gravity::Remainder(0.25, 1.0)), (15.0, 0.0));
        assert_eq!(window(Gravity::Point(0.5, 0.5)), (30.0, 0.0));
        assert_eq!(window(Gravity::Point(0.9, 0.5)), (60.0, 0.0));
        assert_eq!(window(Gravity::Point(0.0, 0.5)), (0.0, 0.0));
    }
}
