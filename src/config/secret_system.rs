//! Secrets from the real world: the process's environment, files, and a shell.
//!
//! Must not know which secrets there are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::host::expand_home;
use super::secret::SecretPort;

/// The controller itself.
#[derive(Debug, Clone)]
pub struct SystemSecrets {
    /// What `~/` stands for.
    pub home: PathBuf,
}

impl SecretPort for SystemSecrets {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        use std::os::unix::ffi::OsStringExt;
        std::env::var_os(name).map(|value| Zeroizing::new(value.into_vec()))
    }

    fn read(&self, path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
        std::fs::read(expand_home(path, &self.home)).map(Zeroizing::new)
    }

    fn run(&self, command: &str, directory: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
        // Its complaints, and questions such as for a passphrase, go to the person directly.
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(directory)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| error.to_string())?;
        let stdout = Zeroizing::new(output.stdout);
        if output.status.success() {
            Ok(stdout)
        } else {
            Err(output.status.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_files_give_their_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let port = SystemSecrets {
            home: directory.path().to_owned(),
        };
        std::fs::write(directory.path().join("token"), "from a file\n").unwrap();
        assert_eq!(
            port.read(Path::new("~/token")).unwrap().as_slice(),
            b"from a file\n"
        );
        assert_eq!(
            port.run("cat token", directory.path()).unwrap().as_slice(),
            b"from a file\n"
        );
        assert_eq!(
            port.run("exit 3", directory.path()).unwrap_err(),
            "exit status: 3"
        );
        assert!(port.variable("ROSEY_TEST_NOT_SET").is_none());
    }
}
