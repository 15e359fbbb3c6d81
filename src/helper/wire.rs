//! The controller's side of a stream of frames.
//!
//! Nothing here knows what is at the other end of the stream: SSH, a child or a test.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame::{Frame, FrameError, HEADER, Header};

/// Reads the next frame; none at the end of the stream. Not to be dropped half-way: what was read
/// of a frame would be lost.
///
/// # Errors
/// When the stream fails, ends inside a frame, or carries something else than frames.
pub async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Frame>, FrameError> {
    let mut header = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match stream.read(&mut header[filled..]).await? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(FrameError::CutOff),
            count => filled += count,
        }
    }
    let header = Header::parse(header)?;
    let mut payload = Vec::new();
    stream
        .take(header.payload as u64)
        .read_to_end(&mut payload)
        .await?;
    if payload.len() < header.payload {
        return Err(FrameError::CutOff);
    }
    header.frame(payload).map(Some)
}

/// Writes a frame made by [`super::frame::encode_message`] or [`super::frame::encode_bytes`], and flushes.
///
/// # Errors
/// When the stream fails.
pub async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
) -> Result<(), FrameError> {
    stream.write_all(frame).await?;
    stream.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::frame::{encode_bytes, encode_message};
    use crate::helper::protocol::Message;

    #[tokio::test]
    async fn what_one_side_writes_the_other_reads() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let sender = tokio::spawn(async move {
            let frame = encode_message(&Message::Alive).unwrap();
            write_frame(&mut here, &frame).await.unwrap();
            let frame = encode_bytes(&[7; 1000]).unwrap();
            write_frame(&mut here, &frame).await.unwrap();
        });
        let first = read_frame(&mut there).await.unwrap().unwrap();
        assert!(matches!(first, Frame::Message(message) if matches!(*message, Message::Alive)));
        let second = read_frame(&mut there).await.unwrap().unwrap();
        assert!(matches!(second, Frame::Bytes(bytes) if bytes == [7; 1000]));
        assert!(read_frame(&mut there).await.unwrap().is_none());
        sender.await.unwrap();
    }
}
