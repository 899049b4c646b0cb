pub trait Disk: Send + Sync {}
