//! What a request asks for, and doing it.

use serde_json::{Map, Value};

use crate::config::Limits;
use crate::error::Refusal;
use crate::geometry::Plan;
use crate::kind::{self, Kind};
use crate::options::{Draw, Transform};
use crate::output::{Encoded, Output};
use crate::picture::{Picture, turned};
use crate::work::Watch;
use crate::{adjust, decode, draw, encode, resize, svg};

/// Steps of one request.
const MOST_STEPS: usize = 256;

/// One step, on images by their number: 0 is the canvas, overlays follow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Transform { image: usize, transform: Box<Transform> },
    Draw { overlay: usize, onto: usize, draw: Draw },
}

/// Reads the part `transforms` of a request with so many images.
pub(crate) fn parse(json: &str, images: usize) -> Result<Vec<Step>, Refusal> {
    let steps: Vec<Map<String, Value>> = serde_json::from_str(json)
        .map_err(|error| Refusal::request(format!("transforms must be a list of objects: {error}")))?;
    if steps.len() > MOST_STEPS {
        return Err(Refusal::options(format!(
            "there are {} transforms and draws; {MOST_STEPS} are allowed",
            steps.len()
        )));
    }
    steps.into_iter().map(|step| Step::parse(step, images)).collect()
}

impl Step {
    fn parse(mut step: Map<String, Value>, images: usize) -> Result<Self, Refusal> {
        let mut index = |name: &str| match step.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_u64()
                .and_then(|index| usize::try_from(index).ok())
                .filter(|index| *index < images)
                .map(Some)
                .ok_or_else(|| Refusal::request(format!("{name} names no image of the request"))),
        };
        let (image, overlay, onto) = (
            index("imageIndex")?,
            index("drawImageIndex")?,
            index("targetImageIndex")?,
        );
        match (overlay, onto) {
            (None, None) => Ok(Self::Transform {
                image: image.unwrap_or(0),
                transform: Box::new(Transform::parse(&step).map_err(Refusal::options)?),
            }),
            (Some(overlay), onto) => {
                let onto = onto.unwrap_or(0);
                if overlay == onto {
                    return Err(Refusal::request("an image cannot be drawn on itself"));
                }
                let draw = Draw::parse(&step).map_err(Refusal::options)?;
                Ok(Self::Draw { overlay, onto, draw })
            }
            (None, Some(_)) => Err(Refusal::request("a draw names no image to be drawn")),
        }
    }
}

/// Carries out the steps on images, of which the first is the canvas, and encodes it.
pub(crate) fn run(
    images: &[impl AsRef<[u8]>],
    steps: &[Step],
    output: &Output,
    limits: &Limits,
    watch: &Watch,
) -> Result<Encoded, Refusal> {
    let canvas = images[0].as_ref();
    if Kind::of(canvas)? == Kind::Svg {
        // "Cloudflare does not resize SVG files and will ignore any optimization parameters."
        return Ok(Encoded {
            media_type: Kind::Svg.media_type(),
            bytes: svg::sanitize(canvas, watch)?,
        });
    }
    // All heads before any pixel: who asks for too much costs nothing.
    let mut pixels = 0;
    let mut heads = Vec::with_capacity(images.len());
    for (number, image) in images.iter().enumerate() {
        let mut head = kind::head(image.as_ref(), limits)?;
        let moves = number == 0 && output.format.moves() && output.animated;
        if !moves {
            head.frames = 1;
        }
        pixels += head.area();
        heads.push(head);
    }
    if heads[0].frames > 1 && heads[0].area() > limits.animation_area {
        return Ok(Encoded {
            media_type: heads[0].kind.media_type(),
            bytes: canvas.to_vec(),
        });
    }
    if pixels > limits.area {
        return Err(Refusal::too_large(format!(
            "the images have {pixels} pixels together; {} are allowed",
            limits.area
        )));
    }
    let mut table = Table {
        pictures: Vec::with_capacity(images.len()),
        limits,
    };
    for (number, (image, head)) in images.iter().zip(&heads).enumerate() {
        let shrink = |size| shrink(steps, number, size);
        let picture = decode::decode(image.as_ref(), head, head.frames > 1, shrink, watch)?;
        table.pictures.push(Some(picture));
    }
    for step in steps {
        watch.check()?;
        match step {
            Step::Transform { image, transform } => table.transform(*image, transform, watch)?,
            Step::Draw { overlay, onto, draw } => {
                let overlay = table.take(*overlay)?;
                draw::draw(table.picture(*onto)?, &overlay, draw, watch)?;
            }
        }
    }
    let mut canvas = table.take(0)?;
    let (width, height) = canvas.size();
    if width.max(height) > limits.side {
        return Err(too_long((width, height), limits));
    }
    encode::encode(&mut canvas, output, watch)
}

/// By how much an image may be read smaller than it is, so that what is first done to it is the same: scaled from at least as many
/// pixels as it is scaled to. 1 where it is not scaled first, or its own pixels are counted.
fn shrink(steps: &[Step], image: usize, size: (u32, u32)) -> u16 {
    let first = steps.iter().find(|step| match step {
        Step::Transform { image: other, .. } => *other == image,
        Step::Draw { overlay, onto, .. } => [*overlay, *onto].contains(&image),
    });
    let Some(Step::Transform { transform, .. }) = first else {
        return 1;
    };
    if transform.trim.is_some() {
        return 1;
    }
    let size = turned(size, transform.turns % 2 == 1);
    let plan = Plan::new(size, transform.width, transform.height, transform.fit);
    let less = |kept: f64, scaled: u32| kept / f64::from(scaled);
    match less(plan.keep.0, plan.scaled.0).min(less(plan.keep.1, plan.scaled.1)) {
        8.0.. => 8,
        4.0.. => 4,
        2.0.. => 2,
        _ => 1,
    }
}

fn too_long(size: (u32, u32), limits: &Limits) -> Refusal {
    Refusal::too_large(format!(
        "The image enlarged too much: {}x{}, but maximum dimension allowed is {}",
        size.0, size.1, limits.side
    ))
}

/// The pictures of one request; an overlay goes when it is drawn.
struct Table<'a> {
    pictures: Vec<Option<Picture>>,
    limits: &'a Limits,
}

impl Table<'_> {
    fn picture(&mut self, number: usize) -> Result<&mut Picture, Refusal> {
        self.pictures
            .get_mut(number)
            .and_then(Option::as_mut)
            .ok_or_else(|| Refusal::request("an image is used after it was drawn"))
    }

    fn take(&mut self, number: usize) -> Result<Picture, Refusal> {
        self.pictures
            .get_mut(number)
            .and_then(Option::take)
            .ok_or_else(|| Refusal::request("an image is used after it was drawn"))
    }

    /// Fails when one picture's growing to a size would be too much for all.
    fn make_room(&self, number: usize, size: (u32, u32)) -> Result<(), Refusal> {
        if size.0.max(size.1) > self.limits.side {
            return Err(too_long(size, self.limits));
        }
        let area = |(at, picture): (usize, &Option<Picture>)| match picture {
            None => 0,
            Some(picture) if at == number => {
                u64::from(size.0) * u64::from(size.1) * picture.frames.len() as u64
            }
            Some(picture) => picture.area(),
        };
        let pixels: u64 = self.pictures.iter().enumerate().map(area).sum();
        if pixels > self.limits.area {
            return Err(Refusal::too_large(format!(
                "the result would have {pixels} pixels; {} are allowed",
                self.limits.area
            )));
        }
        Ok(())
    }

    fn transform(&mut self, number: usize, transform: &Transform, watch: &Watch) -> Result<(), Refusal> {
        let picture = self.picture(number)?;
        if let Some(trim) = &transform.trim {
            resize::trim(picture, trim)?;
        }
        picture.each(|pixels| {
            watch.check()?;
            if transform.flip_horizontally {
                *pixels = pixels.fliph();
            }
            if transform.flip_vertically {
                *pixels = pixels.flipv();
            }
            match transform.turns {
                1 => *pixels = pixels.rotate90(),
                2 => *pixels = pixels.rotate180(),
                3 => *pixels = pixels.rotate270(),
                _ => {}
            }
            Ok(())
        })?;
        picture.whole = picture.whole.map(|whole| turned(whole, transform.turns % 2 == 1));
        let size = picture.whole.unwrap_or(picture.size());
        let plan = Plan::new(size, transform.width, transform.height, transform.fit);
        if plan.canvas != size {
            self.make_room(number, plan.canvas)?;
        }
        let picture = self.picture(number)?;
        resize::resize(picture, transform, &plan, watch)?;
        adjust::adjust(picture, transform, watch)?;
        if let Some(border) = &transform.border {
            let size = adjust::bordered(picture.size(), border);
            self.make_room(number, size)?;
            adjust::add_border(self.picture(number)?, border)?;
        }
        Ok(())
    }
}
