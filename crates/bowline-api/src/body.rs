//! Bodies of answers, read whole and within bounds.

use bowline_upstream::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

/// Reads a body of at most `most` bytes. The error is a fragment that says what went wrong.
pub(crate) async fn read(mut body: Body, most: usize) -> Result<Bytes, String> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > most {
                return Err(format!("the answer is longer than {most} bytes"));
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}
