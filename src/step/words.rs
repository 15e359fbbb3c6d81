//! The words of all kinds, for the declaration's decoder.

use crate::config::Word;

use super::{backup, restart, run, sync, verify};

/// Every word that an app's body may have beside the app's own settings.
#[must_use]
pub fn words() -> Vec<Word> {
    vec![
        sync::declare::SHARED,
        sync::declare::RENDER,
        sync::declare::FILE,
        run::declare::TASK,
        backup::declare::BACKUP,
        restart::declare::SERVICE,
        verify::declare::VERIFY,
    ]
}

#[cfg(test)]
mod tests;
