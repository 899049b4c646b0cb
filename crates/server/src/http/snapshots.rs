//! Named snapshots of the volume.

use crate::http::State as Server;
use crate::http::failure::Failure;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use ballast_api::{Snapshot, SnapshotName, Snapshots, time};
use ballast_store::SnapshotEntry;
use ballast_store::limits::SNAPSHOT_NAME_MAX;
use ballast_types::{ErrorKind, Name, Timestamp};
use std::sync::Arc;

type Body = Result<Json<SnapshotName>, JsonRejection>;

pub async fn list(State(server): State<Arc<Server>>) -> Result<Json<Snapshots>, Failure> {
    let snapshots = server.tree().volume().snapshots().await?;
    Ok(Json(Snapshots { snapshots: snapshots.into_iter().map(show).collect() }))
}

pub async fn create(State(server): State<Arc<Server>>, body: Body) -> Result<Json<Snapshot>, Failure> {
    let name = checked(body)?;
    // What programs have written belongs into the cut, also where nobody has asked for it to be durable.
    server.engines.files.flush_all().await?;
    Ok(Json(show(server.tree().volume().create_snapshot(&name).await?)))
}

pub async fn remove(State(server): State<Arc<Server>>, body: Body) -> Result<Json<Snapshot>, Failure> {
    let name = checked(body)?;
    let volume = server.tree().volume();
    let snapshot = volume.snapshots().await?.into_iter().find(|snapshot| snapshot.name == name);
    let gone = || Failure::new(ErrorKind::NotFound, format!("there is no snapshot {name:?}"));
    let snapshot = snapshot.ok_or_else(gone)?;
    volume.delete_snapshot(&name).await?;
    Ok(Json(show(snapshot)))
}

/// The name of a snapshot is a name of the tree, in text.
fn checked(body: Body) -> Result<String, Failure> {
    let name = body?.0.name;
    let legal = name.parse::<Name>().is_ok() && name.len() <= SNAPSHOT_NAME_MAX;
    if !legal || name.chars().any(char::is_control) {
        return Err(Failure::invalid(format!(
            "{name:?} cannot name a snapshot: 1 to {SNAPSHOT_NAME_MAX} bytes without / and control characters"
        )));
    }
    Ok(name)
}

fn show(snapshot: SnapshotEntry) -> Snapshot {
    let created = time::format(Timestamp(snapshot.created));
    Snapshot { name: snapshot.name, created, position: snapshot.position.0 }
}
