//! Frames: how messages and bytes of packs are told apart on a stream.
//!
//! The pure half (a header, a payload) is used by both ends; the blocking reader and writer are
//! the helper's. The controller's are in [`super::wire`]. Nothing here knows what a message means.

use std::io::{self, Read, Write};

use thiserror::Error;

use super::protocol::{FRAME_LIMIT, Message, PACK_FRAME};

/// Bytes before the payload: the length and the kind.
pub const HEADER: usize = 5;

const MESSAGE: u8 = 0;
const BYTES: u8 = 1;

/// One frame.
#[derive(Debug, Clone)]
pub enum Frame {
    /// A message.
    Message(Box<Message>),
    /// Some bytes of a pack.
    Bytes(Vec<u8>),
}

/// Why a frame couldn't be read or written. The stream is of no use after it.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The stream itself failed.
    #[error("the connection failed: {0}")]
    Stream(#[from] io::Error),
    /// The stream ended inside a frame.
    #[error("the connection ended in the middle of a message")]
    CutOff,
    /// A frame is longer than anything that is ever sent.
    #[error(
        "a message of {length} bytes arrived, {limit} are allowed; something else than rosey's helper is talking"
    )]
    TooLong {
        /// Its length.
        length: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The kind is neither a message nor bytes.
    #[error(
        "a message of the unknown kind {0} arrived; something else than rosey's helper is talking"
    )]
    UnknownKind(u8),
    /// The message isn't one of the protocol.
    #[error("a message could not be understood: {0}")]
    Malformed(#[source] serde_json::Error),
}

/// The length and kind of a frame, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the payload.
    pub payload: usize,
    kind: u8,
}

impl Header {
    /// Takes a header apart.
    ///
    /// # Errors
    /// When no such frame is ever sent.
    pub(crate) fn parse(bytes: [u8; HEADER]) -> Result<Self, FrameError> {
        let [a, b, c, d, kind] = bytes;
        let length = u32::from_le_bytes([a, b, c, d]);
        let limit = match kind {
            MESSAGE => FRAME_LIMIT as usize,
            BYTES => PACK_FRAME + 1,
            other => return Err(FrameError::UnknownKind(other)),
        };
        match (length as usize).checked_sub(1) {
            Some(payload) if payload < limit => Ok(Self { payload, kind }),
            _ => Err(FrameError::TooLong {
                length: u64::from(length),
                limit: limit as u64,
            }),
        }
    }

    /// The frame of this header and its payload.
    ///
    /// # Errors
    /// When the payload is no message.
    pub(crate) fn frame(self, payload: Vec<u8>) -> Result<Frame, FrameError> {
        if self.kind == BYTES {
            return Ok(Frame::Bytes(payload));
        }
        serde_json::from_slice(&payload)
            .map(|message| Frame::Message(Box::new(message)))
            .map_err(FrameError::Malformed)
    }
}

/// A message as a whole frame.
///
/// # Errors
/// When it is longer than the other side would read.
pub fn encode_message(message: &Message) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEADER];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Malformed)?;
    let length = frame.len() - HEADER + 1;
    if length > FRAME_LIMIT as usize {
        return Err(FrameError::TooLong {
            length: length as u64,
            limit: u64::from(FRAME_LIMIT),
        });
    }
    seal(&mut frame, MESSAGE);
    Ok(frame)
}

/// Bytes of a pack, [`PACK_FRAME`] at most, as a whole frame.
///
/// # Errors
/// When there are more.
pub fn encode_bytes(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
    if bytes.len() > PACK_FRAME {
        return Err(FrameError::TooLong {
            length: bytes.len() as u64,
            limit: PACK_FRAME as u64,
        });
    }
    let mut frame = vec![0; HEADER];
    frame.extend_from_slice(bytes);
    seal(&mut frame, BYTES);
    Ok(frame)
}

fn seal(frame: &mut [u8], kind: u8) {
    let length = u32::try_from(frame.len() - HEADER + 1).expect("BUG: the length was checked");
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4] = kind;
}

/// Reads the next frame; none at the end of the stream.
///
/// Memory grows with what arrives, never with what a header promises.
///
/// # Errors
/// When the stream fails, ends inside a frame, or carries something else than frames.
pub fn read_frame(stream: &mut impl Read) -> Result<Option<Frame>, FrameError> {
    let mut header = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match stream.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(FrameError::CutOff),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let header = Header::parse(header)?;
    let mut payload = Vec::new();
    stream
        .take(header.payload as u64)
        .read_to_end(&mut payload)?;
    if payload.len() < header.payload {
        return Err(FrameError::CutOff);
    }
    header.frame(payload).map(Some)
}

/// Writes a frame that was encoded before, and flushes.
///
/// # Errors
/// When the stream fails.
pub fn write_frame(stream: &mut impl Write, frame: &[u8]) -> Result<(), FrameError> {
    stream.write_all(frame)?;
    stream.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_and_bytes_come_back_in_their_order() {
        let mut stream = Vec::new();
        write_frame(&mut stream, &encode_message(&Message::Heartbeat).unwrap()).unwrap();
        write_frame(&mut stream, &encode_bytes(b"pack").unwrap()).unwrap();
        write_frame(&mut stream, &encode_bytes(b"").unwrap()).unwrap();
        let mut stream = Cursor::new(stream);
        let first = read_frame(&mut stream).unwrap().unwrap();
        assert!(matches!(first, Frame::Message(message) if matches!(*message, Message::Heartbeat)));
        let second = read_frame(&mut stream).unwrap().unwrap();
        assert!(matches!(second, Frame::Bytes(bytes) if bytes == b"pack"));
        let third = read_frame(&mut stream).unwrap().unwrap();
        assert!(matches!(third, Frame::Bytes(bytes) if bytes.is_empty()));
        assert!(read_frame(&mut stream).unwrap().is_none());
    }

    #[test]
    fn a_frame_cut_off_anywhere_is_never_an_end() {
        let whole = encode_message(&Message::Credit { id: 7, taken: 9 }).unwrap();
        for length in 1..whole.len() {
            let error = read_frame(&mut &whole[..length]).unwrap_err();
            assert!(matches!(error, FrameError::CutOff), "{length}: {error}");
        }
    }

    #[test]
    fn a_length_that_lies_costs_no_memory() {
        let mut frame = (FRAME_LIMIT - 1).to_le_bytes().to_vec();
        frame.push(MESSAGE);
        frame.extend_from_slice(b"{}");
        assert!(matches!(
            read_frame(&mut frame.as_slice()),
            Err(FrameError::CutOff)
        ));
        frame[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(
            read_frame(&mut frame.as_slice()),
            Err(FrameError::TooLong { .. })
        ));
        frame[..4].copy_from_slice(&0u32.to_le_bytes());
        assert!(matches!(
            read_frame(&mut frame.as_slice()),
            Err(FrameError::TooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut stream = bytes.as_slice();
            while let Ok(Some(_)) = read_frame(&mut stream) {}
        }

        #[test]
        fn any_payload_is_understood_or_refused(text in "[\\[\\]{}\":,a-z0-9-]{0,120}") {
            let length = u32::try_from(text.len() + 1).unwrap();
            let mut frame = length.to_le_bytes().to_vec();
            frame.push(MESSAGE);
            frame.extend_from_slice(text.as_bytes());
            let read = read_frame(&mut frame.as_slice());
            prop_assert!(matches!(read, Ok(Some(_)) | Err(FrameError::Malformed(_))));
        }
    }
}
