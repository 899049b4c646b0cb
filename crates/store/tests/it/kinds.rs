//! A log stays what it began as, wherever its bucket is copied to.

use crate::volumes::World;
use anyhow::Result;
use ballast_store::{Batch, Error, Read, Space, Volume};
use bytes::Bytes;

async fn write(world: &World, key: &[u8]) -> Result<()> {
    let volume = world.open().await?;
    let payload = volume.append_payload(&volume.room().await?, &[Bytes::from_static(b"payload")]).await?;
    let mut batch = Batch::new();
    batch.hold(&payload);
    batch.put_with_payload(Space::Block.key(&[key]), Bytes::from_static(b"value"), [payload.pointer]);
    let position = volume.commit(batch).await?;
    volume.durable(position).await?;
    // As after a kill: what is in the log alone must be found there.
    drop(volume);
    Ok(())
}

async fn check(world: &World, keys: &[&[u8]]) -> Result<()> {
    let volume = world.open().await?;
    for key in keys {
        let row = volume.get(&Space::Block.key(&[key])).await?.expect("the row is there");
        assert_eq!(volume.read_payload(&row.pointers[0]).await?, "payload");
    }
    volume.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_log_of_objects_goes_on_as_objects_in_a_directory() -> Result<()> {
    let mut world = World::new(false, 1)?;
    write(&world, b"one").await?;
    world.set_local(Some(false));
    write(&world, b"two").await?;
    check(&world, &[b"one", b"two"]).await?;
    assert!(world.log_files().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_log_of_files_is_not_left_behind() -> Result<()> {
    let mut world = World::new(true, 2)?;
    write(&world, b"one").await?;
    world.copy_log_to_bucket().await?;
    world.set_local(None);
    let refused = world.open().await.err().expect("rows would be missing");
    assert!(
        matches!(refused.downcast_ref(), Some(Error::Invalid(why)) if why.contains("of a bucket in a directory")),
        "{refused}"
    );
    // Where it began it goes on, also on a disk that others reach.
    world.set_local(Some(true));
    write(&world, b"two").await?;
    check(&world, &[b"one", b"two"]).await
}

#[tokio::test]
async fn a_new_log_is_objects_where_other_machines_reach_its_files() -> Result<()> {
    let mut world = World::new(true, 3)?;
    world.set_local(Some(true));
    write(&world, b"one").await?;
    check(&world, &[b"one"]).await?;
    assert!(world.log_files().is_empty());
    world.set_local(Some(false));
    check(&world, &[b"one"]).await
}

#[tokio::test]
async fn two_logs_of_one_volume_are_damage() -> Result<()> {
    let (mut objects, files) = (World::new(false, 4)?, World::new(true, 5)?);
    write(&objects, b"one").await?;
    write(&files, b"two").await?;
    objects.take_files(&files)?;
    objects.set_local(Some(false));
    let refused = objects.open().await.err().expect("one of them would be left behind");
    assert!(matches!(refused.downcast_ref(), Some(Error::Corrupt(why)) if why.contains("two logs")), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_directory_that_cannot_be_listed_is_not_one_without_a_log() -> Result<()> {
    let mut world = World::new(true, 6)?;
    world.set_local(Some(true));
    world.block_log()?;
    let refused = world.open().await.err().expect("there may be a log in it");
    assert!(
        matches!(refused.downcast_ref(), Some(Error::Unavailable { what, .. }) if what.contains("listing")),
        "{refused}"
    );
    Ok(())
}
