//! Files of systemd's as they will be, for systemd to say what it thinks of them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::UNITS;
use crate::model::{ResourceKind, State};

/// Files of systemd's, as they are and as they are to be.
pub(super) struct Units<'a> {
    /// How everything is.
    pub actual: &'a State,
    /// How everything is to be.
    pub wanted: &'a State,
    /// What wanted files would hold, by their paths; without those that hold a secret, or no text.
    pub texts: &'a BTreeMap<String, String>,
}

impl Units<'_> {
    /// Those that change, by their paths below systemd's directory. A drop-in that goes is there and empty: so it takes
    /// the place of the one that systemd would still read (systemd.unit(5)).
    pub fn changing(&self) -> BTreeMap<String, String> {
        let changing = self.texts.iter().filter(|(path, _)| self.changes(path));
        let mut changing: BTreeMap<String, String> = changing
            .filter_map(|(path, text)| Some((below(path)?.to_owned(), text.clone())))
            .collect();
        let going = files(self.actual).filter(|path| {
            content(self.actual, path).is_some() && content(self.wanted, path).is_none()
        });
        for name in going.filter_map(below).filter(|name| name.contains('/')) {
            changing.insert(name.to_owned(), String::new());
        }
        changing
    }

    /// Whether every drop-in of a unit is known that changes.
    pub fn is_known_whole(&self, unit: &str) -> bool {
        let is_of_unit = |path: &str| {
            let of = below(path).and_then(|name| name.split_once(".d/"));
            of.is_some_and(|(of, _)| of == unit)
        };
        files(self.wanted)
            .filter(|path| is_of_unit(path) && self.changes(path))
            .all(|path| self.texts.contains_key(path))
    }

    fn changes(&self, path: &str) -> bool {
        content(self.wanted, path) != content(self.actual, path)
    }
}

/// The path below systemd's directory.
fn below(path: &str) -> Option<&str> {
    Path::new(path).strip_prefix(UNITS).ok()?.to_str()
}

fn files(state: &State) -> impl Iterator<Item = &str> {
    let files = state.resources.keys();
    let files = files.filter(|id| id.kind == ResourceKind::FILE);
    files.map(|id| id.name.as_str())
}

fn content<'a>(state: &'a State, path: &str) -> Option<&'a str> {
    let mut files = state.resources.iter();
    let file = files.find(|(id, _)| id.kind == ResourceKind::FILE && id.name == path);
    file.and_then(|(_, file)| file.text("content"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppName, HostName, Resource, ResourceId};

    fn state(files: &[(&str, &str)]) -> State {
        let mut state = State::default();
        for (name, content) in files {
            let id = ResourceId {
                host: HostName::new("a").unwrap(),
                app: AppName::new("bot").unwrap(),
                kind: ResourceKind::FILE,
                name: format!("{UNITS}/{name}"),
            };
            let file = Resource::new().with("content", *content);
            state.resources.insert(id, file);
        }
        state
    }

    fn texts(names: &[&str]) -> BTreeMap<String, String> {
        let text = |name: &&str| (format!("{UNITS}/{name}"), "text".to_owned());
        names.iter().map(text).collect()
    }

    #[test]
    fn a_drop_in_that_goes_is_empty_and_a_unit_that_goes_is_not_there() {
        let units = Units {
            actual: &state(&[
                ("bot.service", "1"),
                ("same.service", "1"),
                ("old.service", "1"),
                ("bot.service.d/old.conf", "1"),
            ]),
            wanted: &state(&[("bot.service", "2"), ("same.service", "1")]),
            texts: &texts(&["bot.service", "same.service"]),
        };
        let expected = [("bot.service", "text"), ("bot.service.d/old.conf", "")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(units.changing(), BTreeMap::from(expected));
    }

    #[test]
    fn a_unit_is_known_whole_unless_a_drop_in_that_changes_is_left_out() {
        let wanted = [
            ("bot.service", "2"),
            ("bot.service.d/token.conf", "2"),
            ("side.service", "2"),
            ("side.service.d/token.conf", "1"),
        ];
        let units = Units {
            actual: &state(&[("side.service.d/token.conf", "1")]),
            wanted: &state(&wanted),
            texts: &texts(&["bot.service", "side.service"]),
        };
        assert!(!units.is_known_whole("bot.service"));
        assert!(units.is_known_whole("side.service"));
    }
}
