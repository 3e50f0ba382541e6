//! Small file systems of our own, where root may make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use treering_tests::server::text;

/// A mounted file system; unmounted when it is dropped.
pub(crate) struct Mount {
    directory: TempDir,
    image: Option<PathBuf>,
}

impl Mount {
    /// A file system in memory, of so many bytes.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub(crate) fn memory(bytes: u64) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mount = Self { directory, image: None };
        fs::create_dir(mount.path()).map_err(|error| error.to_string())?;
        let size = format!("size={bytes}");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&mount.path())])?;
        Ok(mount)
    }

    /// A file system of this type in a file, of so many bytes.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub(crate) fn image(kind: &str, bytes: u64) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = directory.path().join("image");
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(bytes).map_err(|error| error.to_string())?;
        run(&format!("mkfs.{kind}"), &["-q", text(&image)])?;
        let mount = Self { directory, image: Some(image) };
        fs::create_dir(mount.path()).map_err(|error| error.to_string())?;
        mount.mount()?;
        Ok(mount)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// Unmounts it and mounts it again, which replays its journal.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn mount_again(&self) -> Result<(), String> {
        run("umount", &[text(&self.path())])?;
        self.mount()
    }

    /// Shuts it down as by power loss: what is not on its disk is lost.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn go_down(&self, godown: &Path) -> Result<(), String> {
        run(text(godown), &[text(&self.path())])
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.image.as_deref().ok_or("there is no image to mount")?;
        run("mount", &["-o", "loop", text(image), text(&self.path())])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", text(&self.path())]);
    }
}

/// Compiles the helper that shuts a file system down.
///
/// # Errors
/// What the compiler says.
pub(crate) fn compile_godown(directory: &Path) -> Result<PathBuf, String> {
    let source = directory.join("godown.c");
    fs::write(&source, include_str!("godown.c")).map_err(|error| error.to_string())?;
    let target = directory.join("godown");
    run("cc", &["-O1", "-o", text(&target), text(&source)])?;
    Ok(target)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
