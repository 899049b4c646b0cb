//! Who makes a request.
//!
//! The kernel tells user and group, but not the supplementary groups. They are read from /proc only when they can
//! matter: when the tree has refused the caller without them, or a change of groups is asked for.

use ballast_types::{Call, Caller, RequestId};
use fuser::Request;
use smallvec::SmallVec;

/// The origin of one request.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub uid: u32,
    pub gid: u32,
    pub pid: u32,
    unique: u64,
}

impl Who {
    pub fn of(request: &Request) -> Self {
        Self { uid: request.uid(), gid: request.gid(), pid: request.pid(), unique: request.unique().0 }
    }

    /// The call without supplementary groups.
    pub fn call(&self) -> Call {
        Call { caller: Caller::new(self.uid, self.gid), request: RequestId::of_mount(self.unique) }
    }

    pub fn call_with_groups(&self) -> Call {
        let mut call = self.call();
        self.learn_groups(&mut call);
        call
    }

    /// Adds the supplementary groups; false if there are none to add.
    pub fn learn_groups(&self, call: &mut Call) -> bool {
        if self.uid == 0 || self.pid == 0 || !call.caller.groups.is_empty() {
            return false;
        }
        // procfs answers from memory: this does not wait for a disk.
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        call.caller.groups = groups_in(&status, self.gid);
        !call.caller.groups.is_empty()
    }
}

fn groups_in(status: &str, gid: u32) -> SmallVec<[u32; 4]> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    line.split_whitespace().filter_map(|group| group.parse().ok()).filter(|group| *group != gid).collect()
}

/// Runs an operation as the caller; if it is refused, once more with the caller's supplementary groups.
macro_rules! as_caller {
    ($who:expr, $call:ident => $operation:expr) => {{
        let mut $call = $who.call();
        let done = $operation.await;
        match &done {
            Err(error) if error.kind() == ballast_types::ErrorKind::Denied && $who.learn_groups(&mut $call) => {
                $operation.await
            }
            _ => done,
        }
    }};
}
pub(crate) use as_caller;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_from_a_status_file_without_the_first_one() {
        let status = "Name:\tcat\nGid:\t7\t7\t7\t7\nGroups:\t7 4 20 \nVmPeak:\t1 kB\n";
        assert_eq!(groups_in(status, 7).as_slice(), [4, 20]);
        assert!(groups_in("", 7).is_empty());
    }
}
