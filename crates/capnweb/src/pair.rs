//! Two sessions in one process.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::driver::{Received, Wire, drive};
use crate::{SessionOptions, Stub, Target};

/// Connects two main objects in memory, message by message as over a network. Returns the reference to the second, as the
/// side of the first holds it. Both sessions end when it is dropped.
pub fn pair(near: Arc<dyn Target>, far: Arc<dyn Target>, options: SessionOptions) -> Stub {
    let (to_far, from_near) = mpsc::unbounded_channel();
    let (to_near, from_far) = mpsc::unbounded_channel();
    let near = options.core(near);
    let far = options.core(far);
    let stub = Stub::owner(Arc::clone(&near), near.with(|state| state.session.remote_main()));
    for (core, wire) in [
        (near, Channel(to_far, from_far)),
        (far, Channel(to_near, from_near)),
    ] {
        let options = options.clone();
        tokio::spawn(async move { drive(core, wire, &options).await });
    }
    stub
}

/// One end. Its queue is bounded by what the sessions' limits let either side have under way.
struct Channel(
    mpsc::UnboundedSender<Option<String>>,
    mpsc::UnboundedReceiver<Option<String>>,
);

impl Wire for Channel {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        self.1.poll_recv(cx).map(|message| match message {
            Some(Some(text)) => Received::Text(text.into()),
            Some(None) => Received::Closed("3000 ".into()),
            None => Received::Closed("1006 ".into()),
        })
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    fn feed(&mut self, message: String) -> bool {
        self.0.send(Some(message)).is_ok()
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    async fn close(&mut self, _: u16, _: &str) {
        // The other end may be gone.
        let _ = self.0.send(None);
    }
}
