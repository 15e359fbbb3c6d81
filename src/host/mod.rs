//! One server as rosey may see and change it.
