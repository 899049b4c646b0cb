//! Who asks, and which request it is.

use smallvec::SmallVec;

/// Whose rights an operation uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, without `gid`.
    pub groups: SmallVec<[u32; 4]>,
}

impl Caller {
    /// The superuser: background work and administration.
    pub fn root() -> Self {
        Self::new(0, 0)
    }

    pub fn new(uid: u32, gid: u32) -> Self {
        Self { uid, gid, groups: SmallVec::new() }
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// Names one request, so that a retry of it is not applied twice. Unique per client session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// Set in requests that came through a mount: the kernel counts its own from small numbers.
    const MOUNT: u64 = 1 << 63;

    /// The request that the kernel of a mount gave this number.
    pub fn of_mount(number: u64) -> Self {
        Self(number | Self::MOUNT)
    }

    /// Whether it came through a mount, whose kernel knows of its outcome without being told.
    pub fn is_of_mount(self) -> bool {
        self.0 & Self::MOUNT != 0
    }
}

/// What travels with every call into an engine: it may have been made on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub caller: Caller,
    pub request: RequestId,
}

impl Call {
    pub fn new(caller: Caller) -> Self {
        Self { caller, request: RequestId::default() }
    }

    /// A call of the server itself.
    pub fn internal() -> Self {
        Self::new(Caller::root())
    }
}
