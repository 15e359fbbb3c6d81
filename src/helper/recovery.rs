//! What brings a host back by itself: a copy of this program that nobody deletes, and a unit that
//! runs it at boot.
//!
//! They belong to the host, not to an app: they are there before the first run changes anything, and
//! no undo and no remove takes them away, since a host without them couldn't be brought back from the
//! middle of the next first run. This file works on this machine itself, not through the ports: like
//! a lock they are no state of an app.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use super::serve::digest_of;
use crate::host::UNITS;

/// The unit that runs at boot.
const UNIT: &str = "rosey-recover.service";

/// The target that wants it.
const WANTS: &str = "multi-user.target.wants";

/// What a host has, and where.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    /// The host's registry.
    registry: PathBuf,
    units: PathBuf,
}

impl Recovery {
    /// Of a host with its registry there.
    pub fn of(registry: &Path) -> Self {
        Self {
            registry: registry.to_owned(),
            units: PathBuf::from(UNITS),
        }
    }

    /// The copy of the program.
    pub fn program(&self) -> PathBuf {
        self.registry.join("rosey-recover")
    }

    /// Makes sure that both are there, durably, and are of this program, whose digest is given. The
    /// registry is there. Called again, it only looks.
    ///
    /// # Errors
    /// When one can't be written.
    pub fn install(&self, digest: &str) -> io::Result<()> {
        // One at a time: two first runs may come together.
        let directory = File::open(&self.registry)?;
        directory.lock()?;
        if digest_of(&self.program()).ok().as_deref() != Some(digest) {
            let mut own = File::open("/proc/self/exe")?;
            put(&self.program(), 0o700, |file| {
                io::copy(&mut own, file).map(drop)
            })?;
        }
        let text = self.unit();
        let unit = self.units.join(UNIT);
        if fs::read_to_string(&unit).ok().as_ref() != Some(&text) {
            put(&unit, 0o644, |file| file.write_all(text.as_bytes()))?;
        }
        self.enable()
    }

    /// As `systemctl enable` does it, but durably; PID 1 reads it at boot and not before.
    fn enable(&self) -> io::Result<()> {
        let wants = self.units.join(WANTS);
        let link = wants.join(UNIT);
        if fs::read_link(&link).is_ok() {
            return Ok(());
        }
        match fs::create_dir(&wants) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync(&self.units)?,
        }
        symlink(Path::new(UNITS).join(UNIT), &link)?;
        sync(&wants)
    }

    fn unit(&self) -> String {
        let registry = self.registry.display();
        let program = self.program();
        // Not `oneshot`: while a file system refuses writes it waits, and the boot must not wait with it. Ordered
        // before nothing: it restarts services, whose own start it would otherwise hold up, and wait for.
        format!(
            "# rosey's own: takes back what a power cut or a crash has cut off. Written anew by rosey's next run.\n\
             [Unit]\n\
             Description=rosey: takes back what was cut off\n\
             ConditionDirectoryNotEmpty={registry}/apps\n\
             RequiresMountsFor={registry}\n\
             After=local-fs.target remote-fs.target\n\
             \n\
             [Service]\n\
             Type=exec\n\
             ExecStart={program} helper --recover\n\
             Restart=on-failure\n\
             RestartForceExitStatus=SIGTERM SIGINT SIGHUP SIGPIPE\n\
             RestartSec=1s\n\
             KillMode=process\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n",
            program = program.display(),
        )
    }
}

/// Writes a file whole and durably, or not at all.
fn put(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)?;
    let written = write(&mut file).and_then(|()| file.sync_all());
    drop(file);
    if let Err(error) = written.and_then(|()| fs::rename(&new, path)) {
        // What can't be removed now is removed by the next try.
        drop(fs::remove_file(&new));
        return Err(error);
    }
    sync(path.parent().unwrap_or(path))
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_is_installed_once_and_replaced_when_the_program_differs() {
        let directory = tempfile::tempdir().unwrap();
        let recovery = Recovery {
            registry: directory.path().join("registry"),
            units: directory.path().join("units"),
        };
        fs::create_dir(&recovery.registry).unwrap();
        fs::create_dir(&recovery.units).unwrap();
        let own = crate::helper::digest_self().unwrap();
        recovery.install(&own).unwrap();
        assert_eq!(digest_of(&recovery.program()).unwrap(), own);
        let wanted = recovery.units.join(WANTS).join(UNIT);
        assert_eq!(
            fs::read_link(&wanted).unwrap(),
            Path::new("/etc/systemd/system/rosey-recover.service")
        );
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let unit = recovery.units.join(UNIT);
        let before = (inode(&recovery.program()), inode(&unit));
        recovery.install(&own).unwrap();
        assert_eq!(before, (inode(&recovery.program()), inode(&unit)));

        fs::write(recovery.program(), "another").unwrap();
        fs::write(&unit, "another").unwrap();
        recovery.install(&own).unwrap();
        assert_eq!(digest_of(&recovery.program()).unwrap(), own);
        assert!(fs::read_to_string(&unit).unwrap().contains("--recover"));
        assert_eq!(fs::read_dir(&recovery.registry).unwrap().count(), 1);
    }
}
