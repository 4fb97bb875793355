//! How the program ends: [`Exit`].

use std::process::ExitCode;

/// How the program ends. The numbers are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was answered.
    Done,
    /// Some rows failed, or the one question.
    Failed,
    /// The command line, the configuration, the input or the output cannot be used.
    Usage,
    /// The run stopped before its input was done.
    Stopped,
    /// Somebody interrupted it.
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Stopped => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
