//! Why a command failed, for its exit code.

use std::process::ExitCode;

use crate::anchor::AnchorError;
use crate::data_directory::DirectoryError;
use crate::signer::KeyFileError;
use crate::startup::StartError;

/// A command that did not do what it was asked. Our errors name their cause themselves.
pub enum Failure {
    /// Exit code 2: wrong usage, or a file that makes no sense.
    Usage(anyhow::Error),
    /// Exit code 5: something outside does not work; trying again may help.
    Unavailable(anyhow::Error),
    /// Exit code 6: stored bytes contradict what was signed. A person must look.
    Integrity(anyhow::Error),
}

impl Failure {
    /// Says it, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let (code, error) = match self {
            Self::Usage(error) => (2, error),
            Self::Unavailable(error) => (5, error),
            Self::Integrity(error) => (6, error),
        };
        eprintln!("error: {error}");
        ExitCode::from(code)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Directory(
                DirectoryError::Missing { .. }
                | DirectoryError::Exists { .. }
                | DirectoryError::OtherVersion { .. }
                | DirectoryError::AnchorInside { .. },
            )
            | StartError::NoPolicy
            | StartError::NoAccessPolicy => Self::Usage(error.into()),
            StartError::Directory(DirectoryError::Locked { .. } | DirectoryError::Io { .. })
            | StartError::Anchor(AnchorError::Locked { .. } | AnchorError::Io { .. })
            | StartError::Key(KeyFileError::Io { .. }) => Self::Unavailable(error.into()),
            _ => Self::Integrity(error.into()),
        }
    }
}
