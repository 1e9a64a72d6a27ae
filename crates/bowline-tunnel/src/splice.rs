//! Two streams made one.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};

use crate::relay::PARTING;

/// Carries bytes both ways until both directions have ended. The end of one is passed on; an error in one leaves the other
/// a little time for what is on its way: the last words of a side that hangs up are often the reason why.
pub async fn splice(one: impl AsyncRead + AsyncWrite, other: impl AsyncRead + AsyncWrite) {
    let (mut from_one, mut to_one) = split(one);
    let (mut from_other, mut to_other) = split(other);
    let there = async {
        let copied = copy(&mut from_one, &mut to_other).await;
        // The far side may be gone already.
        let _ = to_other.shutdown().await;
        copied
    };
    let back = async {
        let copied = copy(&mut from_other, &mut to_one).await;
        let _ = to_one.shutdown().await;
        copied
    };
    let (mut there, mut back) = (std::pin::pin!(there), std::pin::pin!(back));
    let (failed, first_was_there) = tokio::select! {
        copied = &mut there => (copied.is_err(), true),
        copied = &mut back => (copied.is_err(), false),
    };
    let rest = async {
        if first_was_there {
            let _ = back.await;
        } else {
            let _ = there.await;
        }
    };
    if failed {
        let _ = tokio::time::timeout(PARTING, rest).await;
    } else {
        rest.await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_failing_direction_leaves_the_other_its_last_words() {
        let (mut client, near) = duplex(64);
        // A far side that takes nothing and still has something to say.
        let far = tokio::io::join(&b"the reason why"[..], Broken);
        client.write_all(b"lost").await.unwrap();
        splice(near, far).await;
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "the reason why");
    }

    struct Broken;

    impl AsyncWrite for Broken {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::task::Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }
}
