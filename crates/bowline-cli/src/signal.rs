//! What ends a command from outside: SIGTERM, SIGINT, the end of standard input.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves on the first of the two. They are caught from the call on, not from the first poll: a stop right after the
/// line that says "ready" must be clean too.
pub(crate) fn stop() -> impl Future<Output = ()> + Send {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            // Without handlers the default action ends the process, which is what a signal asks for.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Resolves when standard input ends, if that is `asked` for; what is written to it is ignored.
///
/// A thread of its own reads, which the process does not wait for: a runtime would not end while one of its threads reads.
pub(crate) fn stdin_ends(asked: bool) -> impl Future<Output = ()> + Send {
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    if asked {
        std::thread::spawn(move || {
            // However reading ended, nothing more will come.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drop(ended);
        });
    }
    async move {
        if asked {
            let _ = end.await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}
