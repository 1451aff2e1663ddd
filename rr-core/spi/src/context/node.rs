//! Shared part of a context.

use std::sync::Arc;

use super::cause::Cause;
use super::metadata::Metadata;
use super::scope::Scope;
use super::server_state::ServerState;

/// Shared part of a context: a link in the chain of scopes, and the metadata in force.
#[derive(Default)]
pub(crate) struct Node {
    pub(super) parent: Parent,
    pub(super) scope: Option<Scope>,
    pub(super) data: Option<Arc<Metadata>>,
    pub(super) server: Option<ServerState>,
    /// Whether the scopes above do not apply to this node.
    pub(super) is_detached: bool,
}

impl Node {
    pub(super) fn child_of(parent: Option<&Arc<Self>>) -> Self {
        Self {
            parent: Parent(parent.cloned()),
            scope: Some(Scope::default()),
            data: parent.and_then(|node| node.data.clone()),
            ..Self::default()
        }
    }

    pub(super) fn detached_child_of(parent: &Arc<Self>) -> Self {
        Self {
            parent: Parent(Some(Arc::clone(parent))),
            data: parent.data.clone(),
            is_detached: true,
            ..Self::default()
        }
    }

    /// Returns the cause of the end of this node's scope.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.scope.as_ref().and_then(Scope::cause)
    }

    /// Cancels the scope of this node.
    pub(crate) fn cancel(&self, cause: Cause) {
        if let Some(scope) = &self.scope {
            scope.cancel(cause);
        }
    }
}

/// Link to the parent node.
#[derive(Default)]
pub(super) struct Parent(pub(super) Option<Arc<Node>>);

impl Drop for Parent {
    /// Unlinks the chain in a loop: dropping a very long chain recursively would exhaust the stack.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.parent.0.take();
        }
    }
}
