//! KDL to an environment, with every error on its place.
