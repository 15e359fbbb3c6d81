//! The words of all kinds, for the declaration's decoder.

use crate::config::Word;

use super::registry::registry;

/// Every word that an app's body may have beside the app's own settings.
#[must_use]
pub fn words() -> Vec<Word> {
    registry().iter().flat_map(|kind| kind.words()).collect()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wrong;
