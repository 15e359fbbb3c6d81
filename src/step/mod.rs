//! One file a kind: everything that rosey knows about it.
