//! The file below a journal: the trait [`JournalFile`].

use std::fs::File;
use std::io::{self, Write};

/// What a journal is written to. A file, but for tests.
pub trait JournalFile: Send + 'static {
    /// Appends bytes; all of them, or an error.
    ///
    /// # Errors
    ///
    /// Where not all of them could be appended; some may have been.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off what lies behind so many bytes.
    ///
    /// # Errors
    ///
    /// Where that cannot be done.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Has everything on the disk when it returns.
    ///
    /// # Errors
    ///
    /// Where that cannot be done: what was appended may be lost with the power.
    fn sync(&mut self) -> io::Result<()>;

    /// Makes sure that the file can grow by `ahead` bytes beyond `len`, as far as that can be done.
    ///
    /// # Errors
    ///
    /// Where there is no room for that. Where the file system cannot tell, there is no error.
    fn reserve(&mut self, len: u64, ahead: u64) -> io::Result<()>;
}

impl JournalFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn reserve(&mut self, len: u64, ahead: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;

        match fallocate(&*self, FallocateFlags::KEEP_SIZE, len, ahead) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
            // Whatever else it says, it is not about room.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}
