//! The Images binding, as `env.NAME` is in a Worker: facts about pictures, and pictures made of them.
//!
//! ```no_run
//! use bowline_client::images::{Draw, Fit, Format, Input, Output, Transform};
//!
//! # async fn example(client: bowline_client::Client, photo: Vec<u8>, logo: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! let small = Input::new(photo)
//!     .transform(Transform { width: Some(640), fit: Some(Fit::Cover), ..Transform::default() })
//!     .draw(Input::new(logo), Draw { bottom: Some(8), right: Some(8), ..Draw::default() });
//! let picture = client.images("IMAGES").output(small, Output::new(Format::Webp)).await?;
//! std::fs::write("small.webp", &picture.bytes)?;
//! # Ok(())
//! # }
//! ```
//!
//! Source of the wire: the Images client inside workerd (a form of parts named `image`, `draw_image`, `transforms`,
//! `output_format` and so on), and Cloudflare's documentation of Images for what options mean.

pub mod hosted;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, StatusCode};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::{Binding, Error, ErrorKind, collect, full};

const HOST: &str = "https://js.images.cloudflare.com";
/// Where the binding tells its error's code.
const ERROR: &str = "cf-images-binding";

/// Facts about a picture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// Its media type.
    pub format: String,
    /// Its size in bytes. An SVG has none of these three.
    #[serde(default)]
    pub file_size: Option<u64>,
    /// Its width in pixels.
    #[serde(default)]
    pub width: Option<u32>,
    /// Its height in pixels.
    #[serde(default)]
    pub height: Option<u32>,
}

/// How a picture comes to the size that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Inside, never enlarged.
    ScaleDown,
    /// Inside.
    Contain,
    /// Filled, what is beyond cut off.
    Cover,
    /// As cover, never enlarged.
    Crop,
    /// Inside, with what is missing filled.
    Pad,
    /// To the size, whatever it does to the shape.
    Squeeze,
}

/// Which part is kept where something is cut off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gravity {
    /// The middle.
    Center,
    /// The left side.
    Left,
    /// The right side.
    Right,
    /// The upper side.
    Top,
    /// The lower side.
    Bottom,
    /// What stands out from its surroundings.
    Auto,
    /// Where most is to be seen.
    Entropy,
    /// Faces. `bowline serve` refuses it.
    Face,
    /// A point, from 0 to 1 each way.
    Point(f32, f32),
}

impl Serialize for Gravity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match self {
            Self::Center => "center",
            Self::Left => "left",
            Self::Right => "right",
            Self::Top => "top",
            Self::Bottom => "bottom",
            Self::Auto => "auto",
            Self::Entropy => "entropy",
            Self::Face => "face",
            Self::Point(x, y) => return json!({"x": x, "y": y}).serialize(serializer),
        };
        serializer.serialize_str(name)
    }
}

/// What one transform does. Its parts are carried out in the binding's order, not in that of the members.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transform {
    /// The width in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// The height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// How it comes to that size: [`Fit::ScaleDown`] unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// Which part is kept: the middle unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gravity: Option<Gravity>,
    /// Clockwise, in degrees: 0, 90, 180 or 270.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate: Option<u16>,
    /// `h`, `v` or `hv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<String>,
    /// A CSS color.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<String>,
    /// A radius, from 1 to 250.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blur: Option<f32>,
    /// A factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness: Option<f32>,
    /// A factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<f32>,
    /// A factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f32>,
    /// A factor; 0 takes all color away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation: Option<f32>,
    /// A strength, up to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharpen: Option<f32>,
    /// What is documented and has no member here, such as `trim` and `border`.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Where and how an overlay is drawn.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Draw {
    /// From 0 to 1, which it is unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opacity: Option<f32>,
    /// Pixels from the upper edge. With none of the four, it is in the middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<u32>,
    /// Pixels from the left edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u32>,
    /// Pixels from the lower edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottom: Option<u32>,
    /// Pixels from the right edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<u32>,
    /// What is documented and has no member here, such as `repeat` and `composite`.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// A picture and what is to be done with it.
#[derive(Debug, Clone)]
pub struct Input {
    image: Bytes,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Transform(Transform),
    Draw(Input, Draw),
}

impl Input {
    /// A picture as it is in a file.
    pub fn new(image: impl Into<Bytes>) -> Self {
        Self {
            image: image.into(),
            steps: Vec::new(),
        }
    }

    /// With a transform after what is done already.
    #[must_use]
    pub fn transform(mut self, transform: Transform) -> Self {
        self.steps.push(Step::Transform(transform));
        self
    }

    /// With another picture drawn on it, which may have transforms and overlays of its own.
    #[must_use]
    pub fn draw(mut self, overlay: Self, draw: Draw) -> Self {
        self.steps.push(Step::Draw(overlay, draw));
        self
    }
}

/// Formats that pictures can be had in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the formats' own names")]
pub enum Format {
    Jpeg,
    Png,
    Gif,
    Webp,
    Avif,
    /// Samples of one byte, three a pixel.
    Rgb,
    /// Samples of one byte, four a pixel.
    Rgba,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
            Self::Rgb => "rgb",
            Self::Rgba => "rgba",
        }
    }
}

/// How a picture is to be had.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    format: String,
    /// From 1 to 100.
    pub quality: Option<u8>,
    /// A CSS color for what is transparent.
    pub background: Option<String>,
    /// Whether a moving picture stays one.
    pub anim: Option<bool>,
}

impl Output {
    /// In a format, and for the rest as the binding sees fit.
    pub fn new(format: Format) -> Self {
        Self::named(format.name())
    }

    /// As [`Output::new`], in a format by the binding's own name for it.
    pub fn named(format: impl Into<String>) -> Self {
        Self {
            format: format.into(),
            quality: None,
            background: None,
            anim: None,
        }
    }
}

/// A picture that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its media type.
    pub content_type: String,
    /// What would be in its file.
    pub bytes: Bytes,
}

/// An Images binding by its name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images(Binding);

impl Images {
    /// The images that the remote keeps.
    pub fn hosted(&self) -> hosted::Hosted {
        hosted::Hosted::new(self.0.clone())
    }

    /// The Images behind a binding.
    pub fn new(binding: Binding) -> Self {
        Self(binding)
    }

    /// Facts about a picture.
    pub async fn info(&self, image: impl Into<Bytes>) -> Result<Info, Error> {
        let mut form = Form::new();
        form.file("image", &image.into());
        let (_, answer) = self.send("info", "/info", form).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| self.0.fails("info", ErrorKind::Answer(error.to_string())))
    }

    /// A picture made of others.
    pub async fn output(&self, input: Input, output: Output) -> Result<Picture, Error> {
        let mut form = Form::new();
        form.file("image", &input.image);
        let (mut steps, mut images) = (Vec::new(), 1);
        written(input.steps, 0, &mut images, &mut form, &mut steps);
        form.text("transforms", &Value::Array(steps).to_string());
        form.text("output_format", &output.format);
        if let Some(quality) = output.quality {
            form.text("output_quality", &quality.to_string());
        }
        if let Some(background) = &output.background {
            form.text("background", background);
        }
        if let Some(anim) = output.anim {
            form.text("anim", &anim.to_string());
        }
        let (content_type, bytes) = self.send("output", "/transform", form).await?;
        let content_type = content_type.ok_or_else(|| {
            let text = "a picture without a media type".to_owned();
            self.0.fails("output", ErrorKind::Answer(text))
        })?;
        Ok(Picture { content_type, bytes })
    }

    async fn send(
        &self,
        operation: &'static str,
        path: &str,
        form: Form,
    ) -> Result<(Option<String>, Bytes), Error> {
        let invalid = |text: String| self.0.fails(operation, ErrorKind::Invalid(text));
        let (kind, content) = form.end();
        let request = Request::post(format!("{HOST}{path}"))
            .header(CONTENT_TYPE, kind.map_err(|error| invalid(error.to_string()))?)
            .body(full(content))
            .map_err(|error| invalid(error.to_string()))?;
        let (parts, body) = self.0.request(operation, request).await?.into_parts();
        let bytes = collect(body, self.0.client().largest_answer())
            .await
            .map_err(|error| self.0.fails(operation, ErrorKind::Body(error)))?;
        let code = parts.headers.get(ERROR).and_then(|value| value.to_str().ok());
        let code = code.and_then(|value| value.strip_prefix("err=")?.parse().ok());
        if code.is_some() || parts.status != StatusCode::OK {
            let text = String::from_utf8_lossy(&bytes);
            return Err(self.0.refused(operation, parts.status, code, text.trim()));
        }
        let kind = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        Ok((kind.map(str::to_owned), bytes))
    }
}

/// Writes what is done with image number `image` in the order in which it is to be done; overlays are numbered as they are
/// met, each before those on it.
fn written(steps: Vec<Step>, image: usize, images: &mut usize, form: &mut Form, out: &mut Vec<Value>) {
    let step = |step: Value, mut members: Value| {
        if let (Value::Object(step), Value::Object(members)) = (step, &mut members) {
            members.extend(step);
        }
        members
    };
    for each in steps {
        match each {
            Step::Transform(transform) => out.push(step(json!(transform), json!({"imageIndex": image}))),
            Step::Draw(overlay, draw) => {
                let number = *images;
                *images += 1;
                form.file("draw_image", &overlay.image);
                written(overlay.steps, number, images, form, out);
                out.push(step(
                    json!(draw),
                    json!({"drawImageIndex": number, "targetImageIndex": image}),
                ));
            }
        }
    }
}

/// A form being written. Parts have no type of their own, and files are named after their part, as workerd's are.
struct Form {
    boundary: String,
    body: BytesMut,
}

impl Form {
    fn new() -> Self {
        // Nobody can have foreseen it, so no part contains it.
        let random: u128 = rand::random();
        Self {
            boundary: format!("{:->26}{:024}", "", random % 10u128.pow(24)),
            body: BytesMut::new(),
        }
    }

    fn part(&mut self, disposition: &str, content: &[u8]) {
        let head = format!(
            "--{}\r\ncontent-disposition: form-data; {disposition}\r\n\r\n",
            self.boundary
        );
        self.body.reserve(head.len() + content.len() + 2);
        self.body.put_slice(head.as_bytes());
        self.body.put_slice(content);
        self.body.put_slice(b"\r\n");
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        self.part(&format!("name=\"{name}\"; filename=\"{name}\""), content);
    }

    fn text(&mut self, name: &str, content: &str) {
        self.part(&format!("name=\"{name}\""), content.as_bytes());
    }

    fn end(mut self) -> (Result<HeaderValue, http::header::InvalidHeaderValue>, Bytes) {
        self.body
            .put_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        let kind = format!("multipart/form-data; boundary={}", self.boundary);
        (HeaderValue::try_from(kind), self.body.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlays_are_numbered_as_they_are_met() {
        let turned = Transform {
            rotate: Some(90),
            ..Transform::default()
        };
        let inner = Input::new("c").transform(turned.clone());
        let overlay = Input::new("b").draw(inner, Draw::default()).transform(turned);
        let top = Draw {
            top: Some(0),
            ..Draw::default()
        };
        let input = Input::new("a")
            .draw(overlay, top)
            .draw(Input::new("d"), Draw::default());
        let (mut form, mut steps, mut images) = (Form::new(), Vec::new(), 1);
        written(input.steps, 0, &mut images, &mut form, &mut steps);
        assert_eq!(images, 4);
        assert_eq!(
            Value::from(steps),
            json!([
                {"imageIndex": 2, "rotate": 90},
                {"drawImageIndex": 2, "targetImageIndex": 1},
                {"imageIndex": 1, "rotate": 90},
                {"drawImageIndex": 1, "targetImageIndex": 0, "top": 0},
                {"drawImageIndex": 3, "targetImageIndex": 0},
            ])
        );
        let text = String::from_utf8(form.end().1.to_vec()).unwrap();
        let files: Vec<&str> = text.split("\r\n").filter(|line| line.len() == 1).collect();
        assert_eq!(files, ["b", "c", "d"]);
    }
}
