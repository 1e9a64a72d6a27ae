//! EXIF: of what a photograph tells about itself, its copyright stays and nothing else.

use std::io::Cursor;

use exif::experimental::Writer;
use exif::{In, Reader, Tag, Value};

/// Bytes of a copyright that is kept; an EXIF block in a JPEG has 64 kB.
const LONGEST: usize = 16 * 1024;

/// An EXIF block with the copyright of another; `None` where there is none.
pub(crate) fn only_copyright(block: &[u8]) -> Option<Vec<u8>> {
    let read = Reader::new().read_raw(block.to_vec()).ok()?;
    let field = read.get_field(Tag::Copyright, In::PRIMARY)?;
    match &field.value {
        Value::Ascii(texts) => {
            let length: usize = texts.iter().map(Vec::len).sum();
            if length == 0 || length > LONGEST {
                return None;
            }
        }
        _ => return None,
    }
    let mut writer = Writer::new();
    writer.push_field(field);
    let mut written = Cursor::new(Vec::new());
    writer.write(&mut written, false).ok()?;
    Some(written.into_inner())
}

#[cfg(test)]
mod tests {
    use exif::Field;

    use super::*;

    fn field(tag: Tag, text: &str) -> Field {
        Field {
            tag,
            ifd_num: In::PRIMARY,
            value: Value::Ascii(vec![text.as_bytes().to_vec()]),
        }
    }

    #[test]
    fn only_the_copyright_stays() {
        let (artist, copyright) = (field(Tag::Artist, "A secret"), field(Tag::Copyright, "(c) Ann"));
        let mut writer = Writer::new();
        writer.push_field(&artist);
        writer.push_field(&copyright);
        let mut block = Cursor::new(Vec::new());
        writer.write(&mut block, true).unwrap();
        let kept = only_copyright(block.get_ref()).unwrap();
        let read = Reader::new().read_raw(kept).unwrap();
        assert_eq!(read.fields().count(), 1);
        let text = read.get_field(Tag::Copyright, In::PRIMARY).unwrap();
        assert_eq!(text.display_value().to_string(), "\"(c) Ann\"");
    }

    #[test]
    fn what_is_no_exif_has_none() {
        for block in [&b""[..], b"II*\0", b"MM\0*\xff\xff\xff\xff", &[0xff; 100]] {
            assert_eq!(only_copyright(block), None);
        }
    }
}
