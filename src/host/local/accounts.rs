//! Users and groups, without the C library's resolver.
//!
//! /etc/passwd and /etc/group are read here; what isn't in them is asked of `getent`, a program of
//! the host's own that may load the host's modules (LDAP, systemd-userdb). See passwd(5), group(5).

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::host::port::{Account, HostErrorKind, Owner};
use crate::host::program::ask;

/// How long `getent` may take: it may ask a server on the network.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what `getent` said is believed.
const BELIEVED: Duration = Duration::from_secs(10);
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// A line of passwd.
#[derive(Debug, Clone)]
struct User {
    name: String,
    number: u32,
    group: u32,
    home: String,
}

/// A line of group.
#[derive(Debug, Clone)]
struct Group {
    name: String,
    number: u32,
    members: Vec<String>,
}

/// Inode, size and time of a file that was read.
type Stamp = Option<(u64, u64, i64, i64)>;

#[derive(Debug, Default)]
struct Known {
    stamps: [Stamp; 2],
    users: Vec<User>,
    groups: Vec<Group>,
    other_users: HashMap<String, (Instant, Option<User>)>,
    other_groups: HashMap<String, (Instant, Option<Group>)>,
}

/// The users and groups of this host.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    known: Mutex<Known>,
}

impl Accounts {
    /// Names for a user's and a group's number, or the numbers as text.
    pub(super) fn owner(&self, user: u32, group: u32) -> Result<Owner, HostErrorKind> {
        self.with(|known| {
            let found_user = known.user(&user.to_string())?;
            let found_group = known.group(&group.to_string())?;
            Ok(Owner {
                user: found_user.map_or_else(|| user.to_string(), |user| user.name),
                group: found_group.map_or_else(|| group.to_string(), |group| group.name),
            })
        })
    }

    /// The numbers of an owner.
    pub(super) fn numbers(&self, owner: &Owner) -> Result<(u32, u32), HostErrorKind> {
        self.with(|known| {
            let user = match known.user(&owner.user)? {
                Some(user) => user.number,
                None => owner.user.parse().map_err(|_| {
                    HostErrorKind::Other(format!("this host has no user {:?}", owner.user))
                })?,
            };
            let group = match known.group(&owner.group)? {
                Some(group) => group.number,
                None => owner.group.parse().map_err(|_| {
                    HostErrorKind::Other(format!("this host has no group {:?}", owner.group))
                })?,
            };
            Ok((user, group))
        })
    }

    /// A user by name or number.
    pub(super) fn account(&self, user: &str) -> Result<Option<Account>, HostErrorKind> {
        self.with(|known| {
            let user = match known.user(user)? {
                Some(user) => user,
                // In a container whoever runs this may have no entry, and is there all the same.
                None if user == rustix::process::geteuid().to_string() => User {
                    name: user.to_owned(),
                    number: rustix::process::geteuid().as_raw(),
                    group: rustix::process::getegid().as_raw(),
                    home: "/".to_owned(),
                },
                None => return Ok(None),
            };
            let group = known.group(&user.group.to_string())?;
            Ok(Some(Account {
                group_name: group.map_or_else(|| user.group.to_string(), |group| group.name),
                name: user.name,
                user: user.number,
                group: user.group,
                home: user.home.into(),
            }))
        })
    }

    /// Whether there is a group of that name or number.
    pub(super) fn has_group(&self, group: &str) -> Result<bool, HostErrorKind> {
        self.with(|known| Ok(known.group(group)?.is_some()))
    }

    /// The numbers of all groups that a user is in.
    pub(super) fn groups_of(&self, account: &Account) -> Result<Vec<u32>, HostErrorKind> {
        let mut groups = self.with(|known| {
            let is_member = |group: &&Group| group.members.contains(&account.name);
            Ok(known
                .groups
                .iter()
                .filter(is_member)
                .map(|group| group.number)
                .collect::<Vec<_>>())
        })?;
        groups.push(account.group);
        // Groups of a directory service; `getent` says them after the name.
        if let Some(line) = getent("initgroups", &account.name)? {
            let numbers = line.split_whitespace().skip(1);
            groups.extend(numbers.filter_map(|number| number.parse::<u32>().ok()));
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    fn with<T>(
        &self,
        look: impl FnOnce(&mut Known) -> Result<T, HostErrorKind>,
    ) -> Result<T, HostErrorKind> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.refresh()?;
        look(&mut known)
    }
}

impl Known {
    /// Reads the files again where they have changed.
    fn refresh(&mut self) -> Result<(), HostErrorKind> {
        let stamps = [stamp(USERS)?, stamp(GROUPS)?];
        if stamps == self.stamps && stamps != [None, None] {
            return Ok(());
        }
        *self = Self {
            stamps,
            users: lines(USERS)?.lines().filter_map(parse_user).collect(),
            groups: lines(GROUPS)?.lines().filter_map(parse_group).collect(),
            ..Self::default()
        };
        Ok(())
    }

    fn user(&mut self, key: &str) -> Result<Option<User>, HostErrorKind> {
        let by_name = |user: &&User| user.name == key;
        let number: Option<u32> = key.parse().ok();
        let by_number = |user: &&User| Some(user.number) == number;
        let found = self.users.iter().find(by_name);
        if let Some(user) = found.or_else(|| self.users.iter().find(by_number)) {
            return Ok(Some(user.clone()));
        }
        other(&mut self.other_users, "passwd", key, parse_user)
    }

    fn group(&mut self, key: &str) -> Result<Option<Group>, HostErrorKind> {
        let by_name = |group: &&Group| group.name == key;
        let number: Option<u32> = key.parse().ok();
        let by_number = |group: &&Group| Some(group.number) == number;
        let found = self.groups.iter().find(by_name);
        if let Some(group) = found.or_else(|| self.groups.iter().find(by_number)) {
            return Ok(Some(group.clone()));
        }
        other(&mut self.other_groups, "group", key, parse_group)
    }
}

fn other<T: Clone>(
    known: &mut HashMap<String, (Instant, Option<T>)>,
    database: &str,
    key: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, HostErrorKind> {
    match known.get(key) {
        Some((since, found)) if since.elapsed() < BELIEVED => Ok(found.clone()),
        _ => {
            let found = getent(database, key)?.as_deref().and_then(parse);
            known.insert(key.to_owned(), (Instant::now(), found.clone()));
            Ok(found)
        }
    }
}

/// The first line that `getent` has for a key; none where it has none or isn't installed.
fn getent(database: &str, key: &str) -> Result<Option<String>, HostErrorKind> {
    if key.is_empty() || key.starts_with('-') {
        return Ok(None);
    }
    let said = match ask("getent", &[database, key], PATIENCE) {
        Ok(said) => said,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match said.status {
        Some(0) => Ok(said.output.lines().next().map(str::to_owned)),
        _ if said.timed_out => Err(HostErrorKind::TimedOut),
        // 2: no such key; 1: no such database, as on a host without NSS modules. See getent(1).
        _ => Ok(None),
    }
}

fn stamp(path: &str) -> Result<Stamp, HostErrorKind> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some((
            found.ino(),
            found.size(),
            found.mtime(),
            found.mtime_nsec(),
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn lines(path: &str) -> Result<String, HostErrorKind> {
    match std::fs::read(Path::new(path)) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

fn parse_user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    Some(User {
        name: (*fields.first()?).to_owned(),
        number: fields.get(2)?.parse().ok()?,
        group: fields.get(3)?.parse().ok()?,
        home: (*fields.get(5)?).to_owned(),
    })
}

fn parse_group(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    Some(Group {
        name: (*fields.first()?).to_owned(),
        number: fields.get(2)?.parse().ok()?,
        members: fields
            .get(3)?
            .split(',')
            .filter(|member| !member.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}
