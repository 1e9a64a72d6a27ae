//! What `output()` asks for.

use crate::error::Refusal;
use crate::options::{Color, css_color};

/// What is used when nothing is said.
const DEFAULT_QUALITY: u8 = 85;

/// A form in which a picture leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    Gif,
    WebP,
    Avif,
    /// Samples without a head, three a pixel.
    Rgb,
    /// Samples without a head, four a pixel.
    Rgba,
}

/// What `output()` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: Format,
    /// From 1 to 100; none where it was not told.
    quality: Option<u8>,
    pub(crate) background: Option<Color>,
    /// Whether an animation stays one, where the format can hold it.
    pub(crate) animated: bool,
}

/// An encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

impl Format {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(match text {
            "image/jpeg" => Self::Jpeg,
            "image/png" => Self::Png,
            "image/gif" => Self::Gif,
            "image/webp" => Self::WebP,
            "image/avif" => Self::Avif,
            "rgb" => Self::Rgb,
            "rgba" => Self::Rgba,
            other => {
                let shown: String = other.chars().take(60).collect();
                return Err(Refusal::options(format!(
                    "format must be image/jpeg, image/png, image/gif, image/webp, image/avif, rgb or rgba, not \
                     \"{shown}\""
                )));
            }
        })
    }

    /// Whether it can hold more than one frame.
    pub(crate) fn moves(self) -> bool {
        matches!(self, Self::Gif | Self::WebP)
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
            Self::Avif => "image/avif",
            // What Cloudflare says of these is not documented.
            Self::Rgb | Self::Rgba => "application/octet-stream",
        }
    }
}

impl Output {
    /// A picture of a format, everything else as it is when nothing is said.
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            quality: None,
            background: None,
            animated: true,
        }
    }

    /// Reads the parts of a request.
    pub(crate) fn parse(
        format: Option<&str>,
        quality: Option<&str>,
        background: Option<&str>,
        animated: Option<&str>,
    ) -> Result<Self, Refusal> {
        let format = format.ok_or_else(|| Refusal::options("output() needs a format"))?;
        let mut output = Self::new(Format::parse(format)?);
        output.quality = quality.map(parse_quality).transpose()?;
        output.background = background
            .map(|text| {
                css_color(text)
                    .ok_or_else(|| Refusal::options("background must be a CSS color such as \"#ff8800\""))
            })
            .transpose()?;
        output.animated = match animated {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(Refusal::options("anim must be true or false")),
        };
        Ok(output)
    }

    pub(crate) fn quality(&self) -> u8 {
        self.quality.unwrap_or(DEFAULT_QUALITY)
    }

    /// "An explicit quality setting allows the use of PNG8": below 100 it is used.
    pub(crate) fn palette(&self) -> bool {
        self.quality.is_some_and(|quality| quality < 100)
    }
}

fn parse_quality(text: &str) -> Result<u8, Refusal> {
    // What the names stand for is not documented; these are the numbers of miniflare 5.
    let named = match text {
        "low" => Some(35),
        "medium-low" => Some(50),
        "medium-high" => Some(70),
        "high" => Some(90),
        _ => None,
    };
    named
        .or_else(|| {
            let number = text.parse::<f64>().ok()?;
            (1.0..=100.0).contains(&number).then(|| number.round() as u8)
        })
        .ok_or_else(|| {
            Refusal::options("quality must be from 1 to 100, or low, medium-low, medium-high or high")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let output = Output::parse(Some("image/webp"), None, None, None).unwrap();
        assert_eq!(output, Output::new(Format::WebP));
        assert_eq!(
            (output.quality(), output.palette(), output.animated),
            (85, false, true)
        );
        let output = Output::parse(Some("image/png"), Some("80"), Some("#fff"), Some("false")).unwrap();
        assert_eq!(
            (output.quality(), output.palette(), output.animated),
            (80, true, false)
        );
        assert_eq!(output.background, Some([255; 4]));
        assert_eq!(
            Output::parse(Some("image/jpeg"), Some("low"), None, None)
                .unwrap()
                .quality(),
            35
        );
    }

    #[test]
    fn faults() {
        for (format, quality, background, animated, part) in [
            (None, None, None, None, "needs a format"),
            (Some("errfmt"), None, None, None, "not \"errfmt\""),
            (Some("image/jpeg"), Some("0"), None, None, "quality must be"),
            (Some("image/jpeg"), Some("101"), None, None, "quality must be"),
            (Some("image/jpeg"), Some("NaN"), None, None, "quality must be"),
            (
                Some("image/jpeg"),
                None,
                Some("rouge"),
                None,
                "background must be",
            ),
            (Some("image/jpeg"), None, None, Some("1"), "anim must be"),
        ] {
            let refusal = Output::parse(format, quality, background, animated).unwrap_err();
            assert_eq!(refusal.code, 9401);
            assert!(refusal.to_string().contains(part), "{refusal}");
        }
    }
}
