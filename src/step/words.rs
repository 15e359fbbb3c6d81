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
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_environments_of_this_repository_are_right() {
        for name in ["demo", "test", "prod"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("environments")
                .join(format!("{name}.kdl"));
            let environment = crate::config::load(&path, &words()).unwrap();
            assert_eq!(environment.apps[0].name.as_str(), "rosey-bot");
        }
    }
}
