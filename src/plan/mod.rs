//! The pure planner: a difference of two states as a graph of steps.
