//! What holds the shape of the code: rules about the sources as text, and proofs of what the design says of them.
//!
//! The program is not asked what it does here, but [`toy`] builds it with a kind of its own.

mod binary;
mod clock;
mod demo_plan;
mod documents;
mod layers;
mod libraries;
mod sources;
mod toy;
mod words;
