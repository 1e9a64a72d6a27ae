//! SVG passes through, without what could act in a page: scripts, links and what is elsewhere.

use crate::error::Refusal;
use crate::work::Watch;

/// A sanitized copy.
pub(crate) fn sanitize(bytes: &[u8], watch: &Watch) -> Result<Vec<u8>, Refusal> {
    watch.check()?;
    let mut filter = svg_hush::Filter::new();
    filter.set_data_url_filter(svg_hush::data_url_filter::allow_standard_images);
    let mut clean = Vec::with_capacity(bytes.len());
    filter.filter(bytes, &mut clean).map_err(Refusal::broken)?;
    watch.check()?;
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_that_acts_is_left() {
        let svg = br##"<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script>
            <a href="https://example.com/"><rect width="5" height="5" fill="#f80"/></a>
            <image href="https://example.com/x.png"/></svg>"##;
        let clean = sanitize(svg, &Watch::new(Duration::from_secs(5))).unwrap();
        let clean = String::from_utf8(clean).unwrap();
        assert!(clean.contains("<rect"), "{clean}");
        for gone in ["alert", "script", "onload", "example.com"] {
            assert!(!clean.contains(gone), "{gone}: {clean}");
        }
    }

    #[test]
    fn entities_do_not_multiply() {
        let mut svg = String::from("<!DOCTYPE svg [<!ENTITY a0 \"aaaaaaaaaa\">");
        for level in 1..12 {
            let before = format!("&a{};", level - 1).repeat(10);
            svg.push_str(&format!("<!ENTITY a{level} \"{before}\">"));
        }
        svg.push_str("]><svg xmlns=\"http://www.w3.org/2000/svg\"><text>&a11;</text></svg>");
        let clean = sanitize(svg.as_bytes(), &Watch::new(Duration::from_secs(5)));
        assert!(clean.is_err() || clean.unwrap().len() < 1 << 20);
    }
}
