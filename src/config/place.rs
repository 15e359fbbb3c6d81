//! Places in the files of a declaration, and the texts that they point into.
//!
//! Must not know what the texts mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{NamedSource, SourceSpan};
use serde::{Deserialize, Serialize};

/// A stretch of one file of the declaration, in bytes.
///
/// Small and without text of its own: [`Sources`] tells what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Which of the [`Sources`].
    pub(crate) source: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Place {
    pub(crate) fn new(source: u32, offset: usize, length: usize) -> Self {
        // Files are at most 1 MiB, so neither can be beyond 32 bits.
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            source,
            offset: narrow(offset),
            length: narrow(length),
        }
    }

    pub(crate) fn span(self) -> SourceSpan {
        SourceSpan::new((self.offset as usize).into(), self.length as usize)
    }
}

/// One file as it was read.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// The path as messages show it.
    pub shown: String,
    /// The path as it can be opened from anywhere.
    pub path: PathBuf,
    pub text: Arc<str>,
}

/// All files that a declaration was read from, the environment's own first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    pub(crate) fn add(&mut self, file: SourceFile) -> u32 {
        self.files.push(file);
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn file(&self, source: u32) -> Option<&SourceFile> {
        self.files.get(source as usize)
    }

    /// The file at that path, if it was read already.
    pub(crate) fn find(&self, path: &Path) -> Option<u32> {
        let index = self.files.iter().position(|file| file.path == path)?;
        u32::try_from(index).ok()
    }

    /// The directory that relative paths of the file are meant from.
    pub(crate) fn directory_of(&self, place: Place) -> &Path {
        let file = self.file(place.source);
        file.and_then(|file| file.path.parent())
            .unwrap_or_else(|| Path::new("/"))
    }

    pub(crate) fn named(&self, source: u32) -> NamedSource<Arc<str>> {
        match self.file(source) {
            Some(file) => NamedSource::new(&file.shown, Arc::clone(&file.text)),
            None => NamedSource::new("?", Arc::from("")),
        }
    }

    /// A path as the environment's own file is shown: from where the person is who asks, or whole.
    #[must_use]
    pub(crate) fn shown(&self, path: &Path) -> String {
        let from = self.files.first().and_then(|file| {
            let mut from = file.path.as_path();
            for part in Path::new(&file.shown).components().rev() {
                if from.file_name()? != part.as_os_str() {
                    return None;
                }
                from = from.parent()?;
            }
            Some(from)
        });
        let near = from.and_then(|from| path.strip_prefix(from).ok());
        near.unwrap_or(path).display().to_string()
    }

    /// The place as people write it: `environments/prod.kdl:3:5`.
    #[must_use]
    pub fn describe(&self, place: Place) -> String {
        let Some(file) = self.file(place.source) else {
            return "?".to_owned();
        };
        let before = file.text.get(..place.offset as usize).unwrap_or(&file.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        format!("{}:{line}:{column}", file.shown)
    }

    /// The paths of all files that were read, in the order of reading.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }
}
