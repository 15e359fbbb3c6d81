//! Trees as manifests, and moving them.
