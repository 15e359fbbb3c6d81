//! SSH: session, host keys, upload.
