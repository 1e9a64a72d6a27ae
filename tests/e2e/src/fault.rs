//! An edge that answers what a gate of ours never would: the look-alikes of a refusal, as published captures show them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use http::header::UPGRADE;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::upstream::{self, Answering};

/// One answer. The default is the origin's own: 200, or a WebSocket.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reply {
    /// Its status; 0 is the origin's own answer.
    pub status: u16,
    /// Its headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// Its body.
    pub body: &'static str,
}

/// An edge with one answer to requests and one to upgrades, whoever asks.
pub async fn edge(request: Reply, upgrade: Reply) -> Result<SocketAddr> {
    let answering: Answering = Arc::new(move |asked| {
        let reply = if asked.headers().contains_key(UPGRADE) {
            upgrade
        } else {
            request
        };
        if reply.status == 0 {
            return Ok(None);
        }
        let mut response = upstream::text(reply.body);
        *response.status_mut() = StatusCode::from_u16(reply.status)?;
        for (name, value) in reply.headers {
            response
                .headers_mut()
                .append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Ok(Some(response))
    });
    upstream::answering(answering).await
}
