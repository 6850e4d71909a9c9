//! Floor 5: segment files behind `spool::Medium`: allocate, zero, write, map,
//! retire; and small files replaced as a whole.
//!
//! All of the project's memory maps are here, read-only. Nothing here starts a
//! thread or a clock: what blocks for long ([`Keeper`]) is run by the runtime
//! where it likes. Nothing here knows mail.

mod disk;
mod error;
mod file;
mod folder;
mod keeper;
mod medium;
mod shared;
pub mod small_file;

#[cfg(test)]
mod tests;

pub use error::FolderError;
pub use folder::Folder;
pub use keeper::Keeper;
pub use medium::{FileMedium, Request};
pub use shared::Pin;
