//! The local endpoint that carries credentials to the remote.
