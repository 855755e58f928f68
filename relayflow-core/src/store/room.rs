//! The room that is left on the store's disk. Requests are turned away while there is still enough of
//! it to write down how the work under way ends.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;
/// Below the larger of these, but never more than [`RESERVE_BYTES_MAX`], nothing new is taken.
const RESERVE_BYTES_MIN: u64 = 256 * MIB;
const RESERVE_SHARE: u64 = 20;
/// A twentieth of a large disk is more than any drain writes.
const RESERVE_BYTES_MAX: u64 = 2048 * MIB;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The disk of a store, looked at once a second.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    last: Mutex<(Instant, bool)>,
}

impl Room {
    pub(super) fn of(store: &Path) -> Self {
        let parent = store.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new(".")).to_owned();
        let is_short = is_short(&folder);
        Self { folder, last: Mutex::new((Instant::now(), is_short)) }
    }

    /// Whether there is too little room for anything new.
    pub(super) fn is_short(&self) -> bool {
        let Ok(mut last) = self.last.lock() else {
            return false;
        };
        if LOOK_EVERY <= last.0.elapsed() {
            *last = (Instant::now(), is_short(&self.folder));
        }
        last.1
    }
}

fn is_short(folder: &Path) -> bool {
    // A file system that does not say has as much room as its writes find.
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        bytes(disk.f_bavail) < reserve(bytes(disk.f_blocks))
    })
}

/// Size, room that is left and room that is kept, in bytes, and whether it is mounted to be read only;
/// `None` where the file system does not say.
pub(super) fn disk_of(folder: &Path) -> Option<(u64, u64, u64, bool)> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let total = bytes(disk.f_blocks);
    let is_read_only = disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    Some((total, bytes(disk.f_bavail), reserve(total), is_read_only))
}

/// How many bytes of a disk of `total` are kept for what is under way.
fn reserve(total: u64) -> u64 {
    (total / RESERVE_SHARE).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_twentieth_within_bounds() {
        assert_eq!(reserve(0), 256 * MIB);
        assert_eq!(reserve(10 * 1024 * MIB), 512 * MIB);
        assert_eq!(reserve(4096 * 1024 * MIB), 2048 * MIB);
    }
}
