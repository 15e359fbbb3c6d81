//! Data to words, and the JSON stream; progress.
