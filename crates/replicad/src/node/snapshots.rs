//! Snapshots that clients have made of a node.

use replica::NodeId;
use std::path::{Component, Path, PathBuf};
use tokio::sync::Semaphore;

use crate::backend::AdminError;
use crate::storage::{SnapshotReport, StoreReader};

/// Copies the store of a node to a new directory, in `allowed` if that is set. `turns` lets few copies of the
/// node be made at a time.
pub(super) async fn snapshot(
    node: NodeId,
    store: Option<StoreReader>,
    turns: &Semaphore,
    allowed: Option<&Path>,
    to: &Path,
) -> Result<SnapshotReport, AdminError> {
    let to = place(allowed, to).map_err(AdminError::Other)?;
    let store = store.ok_or_else(|| {
        let why = "the node has no store: it belongs to no cluster yet, or has failed";
        AdminError::Other(why.into())
    })?;
    let Ok(_turn) = turns.try_acquire() else {
        let refusal = "another snapshot of this node is being made; ask again when it is done";
        return Err(AdminError::Other(refusal.into()));
    };
    let made = tokio::task::spawn_blocking(move || store.snapshot(&to)).await;
    let made = made.map_err(|error| AdminError::Other(error.to_string()))?;
    let report = made.map_err(|error| AdminError::Other(error.to_string()))?;
    tracing::info!(%node, path = %report.path.display(), "a snapshot was made");
    Ok(report)
}

/// Where a snapshot is made that a client wants at `to`: there, or in `allowed`.
fn place(allowed: Option<&Path>, to: &Path) -> Result<PathBuf, String> {
    let is_plain = |component| !matches!(component, Component::ParentDir | Component::CurDir);
    if !to.components().all(is_plain) || to.file_name().is_none() {
        return Err(format!(
            "{} is not the path of a new directory",
            to.display()
        ));
    }
    match allowed {
        None if to.is_absolute() => Ok(to.to_owned()),
        None => Err(format!(
            "{} is not an absolute path: it is one on the machine of the node",
            to.display()
        )),
        Some(allowed) => {
            let path = allowed.join(to);
            match path.starts_with(allowed) && path != allowed {
                true => Ok(path),
                false => Err(format!(
                    "snapshots of this node are made in {} (storage.snapshot_dir)",
                    allowed.display()
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_stays_where_it_is_allowed() {
        let place =
            |allowed: Option<&str>, to: &str| place(allowed.map(Path::new), Path::new(to)).ok();
        let is = |path: &str| Some(PathBuf::from(path));
        assert_eq!(place(None, "/backup/one"), is("/backup/one"));
        assert_eq!(place(None, "one"), None);
        assert_eq!(place(None, "/backup/../etc/one"), None);
        assert_eq!(place(None, "/"), None);
        assert_eq!(place(Some("/backup"), "one"), is("/backup/one"));
        assert_eq!(place(Some("/backup"), "/backup/one"), is("/backup/one"));
        for outside in ["/etc/one", "../one", "/backup", "", "/backup-2/one"] {
            assert_eq!(place(Some("/backup"), outside), None, "{outside}");
        }
    }
}
