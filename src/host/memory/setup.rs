//! What a test does to a host in memory, and what it may ask of it: none of it is a primitive.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::host::listening::Listener;
use crate::host::port::{Account, Command, CommandOutput, Owner, Space, Unit};

use super::MemoryHost;
use super::fault::{Fault, Primitive};
use super::services::{Running, UNIT_DIRECTORIES, WANTS};
use super::tree::{Change, Inode, Node, Tree, root_owner};
use super::view::View;
use super::world::World;

impl World {
    /// The directories and users of a fresh host.
    pub(super) fn furnish(&mut self) {
        for (name, number) in [("root", 0), ("rosey", 1000), ("nobody", 65534)] {
            self.add_account(name, number);
        }
        let [own, vendor] = UNIT_DIRECTORIES;
        for path in [
            own,
            WANTS,
            vendor,
            "/opt",
            "/var/lib",
            "/etc/nginx",
            "/tmp",
            "/home",
        ] {
            self.make_directories(Path::new(path));
        }
        self.disk.sync_all();
    }

    fn add_account(&mut self, name: &str, number: u32) {
        let home = match name {
            "root" => "/root".into(),
            name => Path::new("/home").join(name),
        };
        self.groups.insert(name.to_owned());
        self.accounts.insert(
            name.to_owned(),
            Account {
                name: name.to_owned(),
                user: number,
                group: number,
                group_name: name.to_owned(),
                home,
            },
        );
    }

    fn make_directories(&mut self, path: &Path) {
        if matches!(self.disk.now.find(path), Ok(Some(_))) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.make_directories(parent);
        }
        self.put(path, Node::Directory(BTreeMap::new()), 0o755);
    }

    /// Adds something, whatever space and faults there are.
    fn put(&mut self, path: &Path, node: Node, mode: u32) {
        let (directory, name) = self
            .disk
            .now
            .parent(path)
            .unwrap_or_else(|error| panic!("BUG: the test puts {}: {error}", path.display()));
        let modified = self.now();
        self.clock += 1000;
        let inode = Inode {
            node,
            mode,
            owner: root_owner(),
            attributes: BTreeMap::new(),
            modified,
        };
        self.disk.create(directory, name.to_os_string(), inode);
    }
}

/// Preparing.
impl MemoryHost {
    /// Puts a file (and the directories above it), durable, root's, mode 0644; what was there goes.
    pub fn put_file(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        self.put(
            path.as_ref(),
            Node::File(Arc::new(content.as_ref().to_vec())),
            0o644,
        );
    }

    /// Puts a link, durable; what was there goes.
    pub fn put_link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        self.put(
            path.as_ref(),
            Node::Link(target.as_ref().to_path_buf()),
            0o777,
        );
    }

    /// Puts a directory and those above it, durable; one that is there stays.
    pub fn put_directory(&self, path: impl AsRef<Path>) {
        let mut world = self.world();
        world.make_directories(path.as_ref());
        world.disk.sync_all();
    }

    /// Puts a socket, durable.
    pub fn put_socket(&self, path: impl AsRef<Path>) {
        self.put(path.as_ref(), Node::Other, 0o755);
    }

    /// Removes whatever is at a path, durable.
    pub fn take_away(&self, path: impl AsRef<Path>) {
        let mut world = self.world();
        world
            .remove_all(path.as_ref())
            .unwrap_or_else(|error| panic!("BUG: the test removes: {error}"));
        world.disk.sync_all();
    }

    /// Sets an extended attribute, durable. Renames keep it; a copy hasn't got it.
    pub fn put_attribute(&self, path: impl AsRef<Path>, name: &str, value: &[u8]) {
        self.alter(path.as_ref(), |inode| Change::Attribute {
            inode,
            name: name.to_owned(),
            value: value.to_vec(),
        });
    }

    /// Sets mode bits, durable.
    pub fn put_mode(&self, path: impl AsRef<Path>, mode: u32) {
        self.alter(path.as_ref(), |inode| Change::Mode { inode, mode });
    }

    /// Sets the owner, durable.
    pub fn put_owner(&self, path: impl AsRef<Path>, user: &str, group: &str) {
        let owner = Owner {
            user: user.to_owned(),
            group: group.to_owned(),
        };
        self.alter(path.as_ref(), |inode| Change::Owner { inode, owner });
    }

    /// Adds a user with a group of its own name.
    pub fn add_account(&self, name: &str, number: u32) {
        self.world().add_account(name, number);
    }

    /// Has somebody listen on a port.
    pub fn put_listener(&self, port: u16, listener: Listener) {
        let mut world = self.world();
        world.listeners.entry(port).or_default().push(listener);
    }

    /// Decides whether services start: it gets the tree, the unit and the definition that the manager
    /// knows, and says why not.
    pub fn on_start(
        &self,
        decide: impl Fn(&Tree, &Unit, &str) -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.world().on_start = Arc::new(decide);
    }

    /// Has starts succeed even where [`Self::on_start`] says why not, as systemd's `Type=simple` does: the
    /// service is then failed when it is looked at.
    pub fn set_simple_starts(&self, simple: bool) {
        self.world().simple_starts = simple;
    }

    /// Does what commands do; without it every command succeeds and does nothing.
    pub fn on_command(
        &self,
        act: impl Fn(&Command, &mut View<'_>) -> CommandOutput + Send + Sync + 'static,
    ) {
        self.world().on_command = Arc::new(act);
    }

    /// Shows the tree after each writing primitive, failed ones too; for what must hold at every moment.
    pub fn watch(&self, look: impl Fn(&Tree, &Primitive) + Send + Sync + 'static) {
        self.world().watch = Some(Arc::new(look));
    }

    /// Leaves so much room from now on, or ends the limit.
    pub fn set_free(&self, free: Option<Space>) {
        let mut world = self.world();
        let used = world.disk.now.used();
        world.limit = free.map(|free| Space {
            bytes: used.0 + free.bytes,
            inodes: used.1 + free.inodes,
        });
    }

    /// Has the file system refuse every write, or take them again.
    pub fn set_read_only(&self, read_only: bool) {
        self.world().read_only = read_only;
    }

    fn put(&self, path: &Path, node: Node, mode: u32) {
        let mut world = self.world();
        if let Some(parent) = path.parent() {
            world.make_directories(parent);
        }
        world
            .remove_all(path)
            .unwrap_or_else(|error| panic!("BUG: the test removes: {error}"));
        world.put(path, node, mode);
        world.disk.sync_all();
    }

    fn alter(&self, path: &Path, change: impl FnOnce(u64) -> Change) {
        let mut world = self.world();
        let number = match world.disk.now.at(path) {
            Ok((number, _)) => number,
            Err(error) => panic!("BUG: the test alters {}: {error}", path.display()),
        };
        world.disk.change(change(number));
        world.disk.sync_all();
    }
}

/// Faults.
impl MemoryHost {
    /// Lets something go wrong at the `at`-th writing primitive from now, counted from 1.
    pub fn fault_at(&self, at: u64, fault: Fault) {
        let mut world = self.world();
        world.fault = Some((world.primitives + at, fault));
    }

    /// How many writing primitives there were.
    #[must_use]
    pub fn primitives(&self) -> u64 {
        self.world().primitives
    }

    /// What was called so far; forgets it.
    #[must_use]
    pub fn take_trace(&self) -> Vec<Primitive> {
        std::mem::take(&mut self.world().trace)
    }

    /// Whether the calling process is dead.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.world().crashed
    }

    /// Starts the calling process again on a machine that ran on: nothing is lost. Disarms the fault.
    pub fn revive(&self) {
        let mut world = self.world();
        world.crashed = false;
        world.fault = None;
    }

    /// Sets the clock for people wrong by so many seconds. What is measured since boot goes on as before.
    pub fn set_clock(&self, wrong_by: i64) {
        self.world().wrong_by = wrong_by * 1_000_000;
    }

    /// How many changes a power cut may undo now.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.world().disk.unsynced()
    }

    /// Makes everything durable, as time does.
    pub fn settle(&self) {
        self.world().disk.sync_all();
    }

    /// Cuts the power. Of what is unsynced nothing survives with 0, everything with the largest
    /// number, and a part that the number decides otherwise. Then every call fails until [`Self::reboot`].
    pub fn crash(&self, choice: u64) {
        let mut world = self.world();
        world.disk.crash(choice);
        world.crashed = true;
    }

    /// Boots: a new boot id and clock, enabled services started. Without a crash before nothing is lost.
    pub fn reboot(&self) {
        let mut world = self.world();
        world.disk.sync_all();
        world.crashed = false;
        world.fault = None;
        world.booted_at += world.clock + 60_000_000;
        world.clock = 5_000_000;
        world.boots += 1;
        for service in world.services.values_mut() {
            service.stop();
            service.failed = None;
            service.failures = 0;
            service.restarts = 0;
        }
        world.daemon_reload();
        world.start_enabled();
    }
}

/// Services behind rosey's back.
impl MemoryHost {
    /// What a service was started with; none when it doesn't run.
    #[must_use]
    pub fn running(&self, unit: &Unit) -> Option<Running> {
        self.world().services.get(unit)?.running.clone()
    }

    /// Lets a running service die, as if it had crashed.
    pub fn kill_service(&self, unit: &Unit, words: &str) {
        let mut world = self.world();
        if let Some(service) = world.services.get_mut(unit) {
            service.stop();
            service.failed = Some(words.to_owned());
        }
    }

    /// Restarts a service, as a person or systemd itself would.
    pub fn restart_service(&self, unit: &Unit) {
        let mut world = self.world();
        if let Some(service) = world.services.get_mut(unit) {
            service.stop();
            service.restarts += 1;
        }
        // Whether it starts is read from its state, as by hand.
        let _ = world.start(unit);
    }

    /// Has all services of systemd die and be started again by systemd itself, as [`Fault::ServicesDie`] does.
    pub fn let_services_die(&self) {
        self.world().die();
    }

    /// Has a service show as being on its way up, or no longer.
    pub fn set_activating(&self, unit: &Unit, activating: bool) {
        let mut world = self.world();
        world.services.entry(unit.clone()).or_default().activating = activating;
    }

    /// Has a service fail before it has a main process, and wait to be started again, as by `ExecStartPre=`.
    pub fn fail_before_start(&self, unit: &Unit) {
        let mut world = self.world();
        let service = world.services.entry(unit.clone()).or_default();
        service.stop();
        service.waits = true;
    }

    /// Adds lines to a service's log.
    pub fn log(&self, unit: &Unit, lines: &[&str]) {
        let mut world = self.world();
        let log = &mut world.services.entry(unit.clone()).or_default().log;
        log.extend(lines.iter().map(|line| (*line).to_owned()));
    }
}
