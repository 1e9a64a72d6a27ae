//! Options of transforms and draws, as a Worker gives them.
//!
//! Source of names, ranges and defaults: the types inside workerd 1.20261117.1 and Cloudflare's page of Images features
//! (2026). An option that is not known is refused: to leave it out would be to pretend.

use serde_json::{Map, Value};

/// The longest side that may be asked for.
pub(crate) const LONGEST_SIDE: u32 = 12_000;

/// A color with its opacity.
pub(crate) type Color = [u8; 4];

/// What one `transform()` asks for. Its parts are carried out in a fixed order: trim, flip, rotate, resize, background,
/// brightness, contrast, gamma, saturation, blur, sharpen, border.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Transform {
    pub(crate) trim: Option<Trim>,
    pub(crate) flip_horizontally: bool,
    pub(crate) flip_vertically: bool,
    /// Quarter turns, clockwise.
    pub(crate) turns: u8,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) fit: Fit,
    pub(crate) gravity: Gravity,
    pub(crate) background: Option<Color>,
    /// Factors, of which `None` and 1 change nothing.
    pub(crate) brightness: Option<f32>,
    pub(crate) contrast: Option<f32>,
    pub(crate) gamma: Option<f32>,
    pub(crate) saturation: Option<f32>,
    /// A radius, from 1 to 250.
    pub(crate) blur: Option<f32>,
    /// A strength, up to 10.
    pub(crate) sharpen: Option<f32>,
    pub(crate) border: Option<Border>,
}

/// How a picture comes to the size that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fit {
    /// Inside, never enlarged.
    #[default]
    ScaleDown,
    /// Inside.
    Contain,
    /// Filled, what is beyond cut off.
    Cover,
    /// As cover, but a picture is never enlarged.
    Crop,
    /// As crop, but of the asked shape in any case.
    AspectCrop,
    /// As contain, with what is missing filled.
    Pad,
    /// To the size, whatever it does to the shape.
    Squeeze,
}

/// Which part is kept where something is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Gravity {
    #[default]
    Center,
    Left,
    Right,
    Top,
    Bottom,
    /// What stands out from its surroundings.
    Auto,
    /// Where most is to be seen.
    Entropy,
    /// A share of what is cut off, horizontally and vertically.
    Remainder(f32, f32),
    /// A point to be in the middle, as far as the picture allows.
    Point(f32, f32),
}

/// What is cut off first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Trim {
    pub(crate) top: u32,
    pub(crate) left: u32,
    pub(crate) bottom: u32,
    pub(crate) right: u32,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    /// A border of one color, cut off after the rest.
    pub(crate) border: Option<TrimBorder>,
}

/// A border to be found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrimBorder {
    /// Its color; that of the first pixel when it is not told.
    pub(crate) color: Option<Color>,
    /// How far a channel may be off.
    pub(crate) tolerance: f32,
    /// Pixels of it that stay.
    pub(crate) keep: u32,
}

impl Default for TrimBorder {
    fn default() -> Self {
        Self {
            color: None,
            // Not documented; that of sharp.
            tolerance: 10.0,
            keep: 0,
        }
    }
}

/// A border to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Border {
    pub(crate) color: Color,
    pub(crate) top: u32,
    pub(crate) left: u32,
    pub(crate) bottom: u32,
    pub(crate) right: u32,
}

/// Where and how an overlay is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draw {
    pub(crate) opacity: f32,
    pub(crate) repeat_x: bool,
    pub(crate) repeat_y: bool,
    pub(crate) horizontal: Offset,
    pub(crate) vertical: Offset,
    pub(crate) composite: Composite,
}

/// Pixels from an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offset {
    Center,
    /// From the left or the top.
    Start(i64),
    /// From the right or the bottom.
    End(i64),
}

/// How an overlay and what is below it become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Composite {
    Over,
    In,
    Atop,
    Out,
    Xor,
    Lighter,
}

impl Transform {
    /// Reads the options; the error is a sentence for the developer.
    pub(crate) fn parse(options: &Map<String, Value>) -> Result<Self, String> {
        let mut transform = Self::default();
        for (name, value) in options {
            if value.is_null() {
                continue;
            }
            match name.as_str() {
                "width" => transform.width = Some(side(name, value)?),
                "height" => transform.height = Some(side(name, value)?),
                "fit" => transform.fit = Fit::parse(value)?,
                "gravity" => transform.gravity = Gravity::parse(value)?,
                "rotate" => transform.turns = turns(value)?,
                "flip" => match value.as_str() {
                    Some("h") => transform.flip_horizontally = true,
                    Some("v") => transform.flip_vertically = true,
                    Some("hv" | "vh") => {
                        transform.flip_horizontally = true;
                        transform.flip_vertically = true;
                    }
                    _ => {
                        return Err(format!(
                            "flip must be \"h\", \"v\" or \"hv\", not {}",
                            shown(value)
                        ));
                    }
                },
                "trim" => transform.trim = Trim::parse(value)?,
                "background" => transform.background = Some(color(name, value)?),
                // "0 is ignored" for these three.
                "brightness" => transform.brightness = factor(name, value)?.filter(|factor| *factor != 0.0),
                "contrast" => transform.contrast = factor(name, value)?.filter(|factor| *factor != 0.0),
                "gamma" => transform.gamma = factor(name, value)?.filter(|factor| *factor != 0.0),
                "saturation" => transform.saturation = factor(name, value)?,
                "blur" => {
                    let radius = number(name, value, 0.0, 250.0)?;
                    if radius > 0.0 && radius < 1.0 {
                        return Err(format!("blur must be from 1 to 250, not {radius}"));
                    }
                    transform.blur = Some(radius).filter(|radius| *radius > 0.0);
                }
                "sharpen" => {
                    transform.sharpen =
                        Some(number(name, value, 0.0, 10.0)?).filter(|strength| *strength > 0.0);
                }
                "border" => transform.border = Border::parse(value)?,
                "segment" => {
                    return Err(
                        "segment is not offered here: there is no model that finds a foreground".into(),
                    );
                }
                "zoom" => return Err("zoom is not offered here: it needs gravity \"face\"".into()),
                other => return Err(format!("`{other}` is not an option of a transform")),
            }
        }
        Ok(transform)
    }
}

impl Fit {
    fn parse(value: &Value) -> Result<Self, String> {
        Ok(match value.as_str() {
            Some("scale-down") => Self::ScaleDown,
            Some("contain") => Self::Contain,
            Some("cover") => Self::Cover,
            Some("crop") => Self::Crop,
            Some("aspect-crop") => Self::AspectCrop,
            Some("pad") => Self::Pad,
            Some("squeeze") => Self::Squeeze,
            _ => {
                return Err(format!(
                    "fit must be scale-down, contain, cover, crop, aspect-crop, pad or squeeze, not {}",
                    shown(value)
                ));
            }
        })
    }
}

impl Gravity {
    fn parse(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(name) => match name.as_str() {
                "center" => Self::Center,
                "left" => Self::Left,
                "right" => Self::Right,
                "top" => Self::Top,
                "bottom" => Self::Bottom,
                "auto" => Self::Auto,
                "entropy" => Self::Entropy,
                "face" => {
                    return Err(
                        "gravity \"face\" is not offered here: there is no model that finds faces".into(),
                    );
                }
                _ => {
                    return Err(format!(
                        "gravity must be center, left, right, top, bottom, auto, entropy or {{x, y, mode}}, not {}",
                        shown(value)
                    ));
                }
            },
            Value::Object(point) => {
                known("gravity", point, &["x", "y", "mode"])?;
                let coordinate = |name: &str| match given(point, name) {
                    None => Ok(0.5),
                    Some(value) => number(&format!("gravity.{name}"), value, 0.0, 1.0),
                };
                let (x, y) = (coordinate("x")?, coordinate("y")?);
                match given(point, "mode").map(Value::as_str) {
                    Some(Some("remainder")) => Self::Remainder(x, y),
                    // The documentation's words without a mode: around the point, as much as possible.
                    None | Some(Some("box-center")) => Self::Point(x, y),
                    _ => return Err("gravity.mode must be \"remainder\" or \"box-center\"".into()),
                }
            }
            _ => {
                return Err(format!(
                    "gravity must be a name or {{x, y, mode}}, not {}",
                    shown(value)
                ));
            }
        })
    }
}

impl Trim {
    fn parse(value: &Value) -> Result<Option<Self>, String> {
        let members = match value {
            Value::String(name) if name == "border" => {
                return Ok(Some(Self {
                    border: Some(TrimBorder::default()),
                    ..Self::default()
                }));
            }
            Value::Object(members) => members,
            _ => {
                return Err(
                    "trim must be \"border\" or {top, right, bottom, left, width, height, border}".into(),
                );
            }
        };
        known(
            "trim",
            members,
            &["top", "right", "bottom", "left", "width", "height", "border"],
        )?;
        let pixels = |name: &str| given(members, name).map(|value| whole(&format!("trim.{name}"), value));
        let border = match given(members, "border") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(TrimBorder::default()),
            Some(Value::Object(border)) => {
                known("trim.border", border, &["color", "tolerance", "keep"])?;
                let tolerance = given(border, "tolerance")
                    .map(|value| number("trim.border.tolerance", value, 0.0, 255.0))
                    .transpose()?;
                Some(TrimBorder {
                    color: given(border, "color")
                        .map(|value| color("trim.border.color", value))
                        .transpose()?,
                    tolerance: tolerance.unwrap_or(TrimBorder::default().tolerance),
                    keep: given(border, "keep")
                        .map(|value| whole("trim.border.keep", value))
                        .transpose()?
                        .unwrap_or(0),
                })
            }
            Some(_) => return Err("trim.border must be true or {color, tolerance, keep}".into()),
        };
        Ok(Some(Self {
            top: pixels("top").transpose()?.unwrap_or(0),
            left: pixels("left").transpose()?.unwrap_or(0),
            bottom: pixels("bottom").transpose()?.unwrap_or(0),
            right: pixels("right").transpose()?.unwrap_or(0),
            width: pixels("width").transpose()?,
            height: pixels("height").transpose()?,
            border,
        }))
    }
}

impl Border {
    fn parse(value: &Value) -> Result<Option<Self>, String> {
        let members = value
            .as_object()
            .ok_or("border must be {color, width} or {color, top, right, bottom, left}")?;
        known(
            "border",
            members,
            &["color", "width", "top", "right", "bottom", "left"],
        )?;
        let pixels = |name: &str| given(members, name).map(|value| whole(&format!("border.{name}"), value));
        let all = pixels("width").transpose()?.unwrap_or(0);
        let edge = |name: &str| Ok::<_, String>(pixels(name).transpose()?.unwrap_or(all));
        let border = Self {
            // Not documented where none is given.
            color: match given(members, "color") {
                Some(value) => color("border.color", value)?,
                None => [0, 0, 0, 255],
            },
            top: edge("top")?,
            left: edge("left")?,
            bottom: edge("bottom")?,
            right: edge("right")?,
        };
        Ok(Some(border).filter(|border| border.top | border.left | border.bottom | border.right != 0))
    }
}

impl Draw {
    /// Reads the options; the error is a sentence for the developer.
    pub(crate) fn parse(options: &Map<String, Value>) -> Result<Self, String> {
        let mut draw = Self {
            opacity: 1.0,
            repeat_x: false,
            repeat_y: false,
            horizontal: Offset::parse(options, "left", "right")?,
            vertical: Offset::parse(options, "top", "bottom")?,
            composite: Composite::Over,
        };
        for (name, value) in options {
            match (name.as_str(), value) {
                ("left" | "right" | "top" | "bottom", _) | (_, Value::Null) => {}
                ("opacity", value) => draw.opacity = number(name, value, 0.0, 1.0)?,
                ("repeat", Value::Bool(both)) => (draw.repeat_x, draw.repeat_y) = (*both, *both),
                ("repeat", Value::String(axis)) if axis == "x" => draw.repeat_x = true,
                ("repeat", Value::String(axis)) if axis == "y" => draw.repeat_y = true,
                ("repeat", _) => {
                    return Err(format!(
                        "repeat must be true, \"x\" or \"y\", not {}",
                        shown(value)
                    ));
                }
                ("composite", value) => draw.composite = Composite::parse(value)?,
                (other, _) => return Err(format!("`{other}` is not an option of draw()")),
            }
        }
        Ok(draw)
    }
}

impl Offset {
    fn parse(options: &Map<String, Value>, start: &str, end: &str) -> Result<Self, String> {
        let pixels = |name: &str| {
            given(options, name)
                .map(|value| {
                    let far = f64::from(LONGEST_SIDE);
                    let value = value
                        .as_f64()
                        .filter(|value| value.abs() <= far)
                        .ok_or_else(|| format!("{name} must be a number of pixels, not {}", shown(value)))?;
                    Ok::<_, String>(value.round() as i64)
                })
                .transpose()
        };
        match (pixels(start)?, pixels(end)?) {
            (None, None) => Ok(Self::Center),
            (Some(from), None) => Ok(Self::Start(from)),
            (None, Some(from)) => Ok(Self::End(from)),
            (Some(_), Some(_)) => Err(format!("{start} and {end} must not both be given")),
        }
    }
}

impl Composite {
    fn parse(value: &Value) -> Result<Self, String> {
        Ok(match value.as_str() {
            Some("over") => Self::Over,
            Some("in") => Self::In,
            Some("atop") => Self::Atop,
            Some("out") => Self::Out,
            Some("xor") => Self::Xor,
            Some("lighter") => Self::Lighter,
            _ => {
                return Err(format!(
                    "composite must be over, in, atop, out, xor or lighter, not {}",
                    shown(value)
                ));
            }
        })
    }
}

/// Any CSS color.
pub(crate) fn css_color(text: &str) -> Option<Color> {
    // The parser takes time that grows with the text, and no color is long.
    (text.len() <= 128)
        .then(|| csscolorparser::parse(text).ok())
        .flatten()
        .map(|color| color.to_rgba8())
}

fn color(name: &str, value: &Value) -> Result<Color, String> {
    value.as_str().and_then(css_color).ok_or_else(|| {
        format!(
            "{name} must be a CSS color such as \"#ff8800\" or \"rgb(255 136 0 / 50%)\", not {}",
            shown(value)
        )
    })
}

fn side(name: &str, value: &Value) -> Result<u32, String> {
    let problem = || {
        format!(
            "{name} must be a number of pixels from 1 to {LONGEST_SIDE}, not {}",
            shown(value)
        )
    };
    let number = value.as_f64().ok_or_else(problem)?;
    let rounded = number.round();
    (number >= 1.0 && rounded <= f64::from(LONGEST_SIDE))
        .then_some(rounded as u32)
        .ok_or_else(problem)
}

fn whole(name: &str, value: &Value) -> Result<u32, String> {
    number(name, value, 0.0, LONGEST_SIDE as f32).map(|number| number.round() as u32)
}

/// A factor. What is beyond a hundredfold changes nothing that could be seen.
fn factor(name: &str, value: &Value) -> Result<Option<f32>, String> {
    number(name, value, 0.0, 100.0).map(Some)
}

fn number(name: &str, value: &Value, least: f32, most: f32) -> Result<f32, String> {
    value
        .as_f64()
        .map(|number| number as f32)
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            format!(
                "{name} must be a number from {least} to {most}, not {}",
                shown(value)
            )
        })
}

fn turns(value: &Value) -> Result<u8, String> {
    match value.as_f64() {
        Some(0.0 | 360.0) => Ok(0),
        Some(90.0) => Ok(1),
        Some(180.0) => Ok(2),
        Some(270.0) => Ok(3),
        _ => Err(format!("rotate must be 0, 90, 180 or 270, not {}", shown(value))),
    }
}

fn given<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn known(of: &str, members: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    match members.keys().find(|key| !names.contains(&key.as_str())) {
        Some(unknown) => Err(format!(
            "{of} has no member `{unknown}`; it has {}",
            names.join(", ")
        )),
        None => Ok(()),
    }
}

/// A value for a message, cut short.
fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 60 {
        text = text.chars().take(60).collect::<String>() + "…";
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn transform(options: Value) -> Result<Transform, String> {
        Transform::parse(options.as_object().unwrap())
    }

    fn draw(options: Value) -> Result<Draw, String> {
        Draw::parse(options.as_object().unwrap())
    }

    #[test]
    fn defaults_change_nothing() {
        let plain = Transform::default();
        for options in [
            json!({}),
            json!({"width": null, "rotate": 0, "blur": 0, "sharpen": 0, "brightness": 0, "contrast": 0, "gamma": 0}),
            json!({"border": {"width": 0, "color": "red"}, "fit": "scale-down", "gravity": "center"}),
        ] {
            assert_eq!(transform(options.clone()).unwrap(), plain, "{options}");
        }
        // The only factor whose 0 means something.
        assert_eq!(transform(json!({"saturation": 0})).unwrap().saturation, Some(0.0));
    }

    #[test]
    fn colors_are_those_of_css() {
        for (text, color) in [
            ("#f80", [255, 136, 0, 255]),
            ("red", [255, 0, 0, 255]),
            ("rgb(255 255 0)", [255, 255, 0, 255]),
            ("rgba(240,40,145,0)", [240, 40, 145, 0]),
            ("hsl(120 100% 50% / 50%)", [0, 255, 0, 128]),
            ("transparent", [0, 0, 0, 0]),
        ] {
            assert_eq!(css_color(text), Some(color), "{text}");
        }
        for bad in ["", "rouge", "#12", "url(x)", &"a".repeat(1000)] {
            assert_eq!(css_color(bad), None, "{bad}");
        }
    }

    #[test]
    fn faults_name_their_option() {
        for (options, part) in [
            (json!({"width": 0}), "width must be"),
            (json!({"width": 12_001}), "width must be"),
            (json!({"width": 0.4}), "width must be"),
            (json!({"width": "auto"}), "width must be"),
            (json!({"height": -1}), "height must be"),
            (json!({"height": 1e300}), "height must be"),
            (json!({"fit": "fill"}), "fit must be"),
            (json!({"rotate": 45}), "rotate must be"),
            (json!({"flip": "x"}), "flip must be"),
            (json!({"gravity": "face"}), "\"face\" is not offered"),
            (json!({"gravity": "north"}), "gravity must be"),
            (json!({"gravity": {"x": 2}}), "gravity.x must be"),
            (json!({"gravity": {"z": 2}}), "no member `z`"),
            (json!({"gravity": {"mode": "x"}}), "gravity.mode"),
            (json!({"segment": "foreground"}), "segment is not offered"),
            (json!({"blur": 251}), "blur must be"),
            (json!({"blur": 0.5}), "blur must be"),
            (json!({"sharpen": 11}), "sharpen must be"),
            (json!({"brightness": -1}), "brightness must be"),
            (json!({"gamma": "x"}), "gamma must be"),
            (json!({"background": "rouge"}), "background must be a CSS color"),
            (json!({"border": 1}), "border must be"),
            (json!({"border": {"width": -1}}), "border.width must be"),
            (json!({"trim": "all"}), "trim must be"),
            (
                json!({"trim": {"border": {"tolerance": 300}}}),
                "trim.border.tolerance",
            ),
            (json!({"quality": 80}), "`quality` is not an option"),
        ] {
            let problem = transform(options.clone()).unwrap_err();
            assert!(problem.contains(part), "{options}: {problem}");
        }
        for (options, part) in [
            (json!({"left": 1, "right": 1}), "left and right"),
            (json!({"top": 1, "bottom": 1}), "top and bottom"),
            (json!({"top": 1e9}), "top must be"),
            (json!({"opacity": 1.5}), "opacity must be"),
            (json!({"repeat": "z"}), "repeat must be"),
            (json!({"composite": "multiply"}), "composite must be"),
            (json!({"width": 5}), "`width` is not an option"),
        ] {
            let problem = draw(options.clone()).unwrap_err();
            assert!(problem.contains(part), "{options}: {problem}");
        }
    }

    #[test]
    fn draws() {
        let plain = draw(json!({})).unwrap();
        assert_eq!(
            (plain.horizontal, plain.vertical),
            (Offset::Center, Offset::Center)
        );
        let set = draw(json!({"bottom": 5, "left": -3.4, "repeat": "y", "opacity": 0.5, "composite": "xor"}))
            .unwrap();
        assert_eq!(
            (set.horizontal, set.vertical),
            (Offset::Start(-3), Offset::End(5))
        );
        assert_eq!(
            (set.repeat_x, set.repeat_y, set.composite),
            (false, true, Composite::Xor)
        );
    }
}
