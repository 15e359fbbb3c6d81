//! The executor over host ports and a journal; knows no network.
