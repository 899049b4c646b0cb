//! A real mount, used through the kernel. Without /dev/fuse, or the right to mount, each test says so and passes.

mod content;
mod kinds;
mod lives;
mod names;
mod news;
mod rights;

use async_trait::async_trait;
use ballast_files::Files;
use ballast_fuse::{Mount, NoVirtuals, Settings, Virtual, VirtualEntry, VirtualFile, mount};
use ballast_runtime::{Clock, SystemClock};
use ballast_store::{MemoryVolume, Volume};
use ballast_tree::{Inode, Tree};
use ballast_types::{Call, ErrorKind};
use bytes::Bytes;
use parking_lot::Mutex;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A volume that is mounted somewhere.
pub struct World {
    pub volume: MemoryVolume,
    pub tree: Tree,
    pub files: Files,
    pub path: PathBuf,
    pub runtime: tokio::runtime::Handle,
}

impl World {
    pub async fn open(volume: MemoryVolume, path: PathBuf) -> Self {
        let (shared, clock): (Arc<dyn Volume>, Arc<dyn Clock>) = (Arc::new(volume.clone()), Arc::new(SystemClock));
        let tree = Tree::open(Arc::clone(&shared), Arc::clone(&clock), (0, 0)).await.expect("the volume is fine");
        let files = Files::new(shared, tree.clone(), clock, &ballast_files::Settings::default());
        Self { volume, tree, files, path, runtime: tokio::runtime::Handle::current() }
    }

    pub async fn mount(&self, virtuals: Arc<dyn Virtual>) -> ballast_fuse::Result<Mount> {
        mount(Settings::new(&self.path), self.tree.clone(), self.files.clone(), virtuals).await
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// True if this machine can mount; else says why not.
pub fn can_mount() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let can = Path::new("/dev/fuse").exists() && root;
    if !can {
        eprintln!("skipped: mounting needs /dev/fuse and root");
    }
    can
}

/// Runs `test` on a fresh mount with `virtuals` in its streams and tables.
pub fn on_mount_with(virtuals: Arc<dyn Virtual>, test: impl FnOnce(&World) + Send + 'static) {
    if !can_mount() {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room for a directory");
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
    let path = directory.path().join("mount");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async move {
        let world = World::open(MemoryVolume::new(), path).await;
        let mount = world.mount(virtuals).await.expect("it can be mounted");
        let tested = tokio::task::spawn_blocking(move || test(&world)).await;
        let unmounted = mount.unmount().await;
        tested.expect("the test passes");
        unmounted.expect("it can be unmounted");
    });
    drop(directory);
}

pub fn on_mount(test: impl FnOnce(&World) + Send + 'static) {
    on_mount_with(Arc::new(NoVirtuals), test);
}

/// Children of streams and tables for tests: what was appended can be read.
#[derive(Default)]
pub struct Notebook {
    pub text: Mutex<Vec<u8>>,
}

#[async_trait]
impl Virtual for Notebook {
    async fn list(&self, _: &Inode) -> Result<Vec<VirtualEntry>, ErrorKind> {
        let entry = |name: &str, mode| VirtualEntry { name: name.into(), mode, size: None };
        Ok(vec![entry("append", 0o200), entry("tail.ndjson", 0o444)])
    }

    async fn read(&self, _: &Call, file: &VirtualFile, offset: u64, length: u32) -> Result<Bytes, ErrorKind> {
        if file.name != "tail.ndjson" {
            return Err(ErrorKind::Denied);
        }
        let text = self.text.lock();
        let from = text.len().min(offset as usize);
        Ok(Bytes::copy_from_slice(&text[from..text.len().min(from + length as usize)]))
    }

    async fn write(&self, _: &Call, file: &VirtualFile, bytes: Bytes) -> Result<(), ErrorKind> {
        if file.name != "append" {
            return Err(ErrorKind::Denied);
        }
        self.text.lock().extend_from_slice(&bytes);
        Ok(())
    }
}

/// The errno of the last call of libc if it failed, else what it returned.
pub fn checked(result: impl Into<i64>) -> Result<i64, i32> {
    let result = result.into();
    if result >= 0 { Ok(result) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
}

pub fn c_path(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).expect("the test's paths hold no NUL")
}

/// The errno of an operation that must fail.
pub fn errno<T>(result: std::io::Result<T>) -> i32 {
    result.err().expect("it fails").raw_os_error().expect("the kernel says why")
}
