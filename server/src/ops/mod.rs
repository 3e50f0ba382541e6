//! The commands of an operator: one file for each.

pub mod backup;
pub mod claim;
pub mod doctor;
pub mod freeze;
pub mod fsck;
pub mod health_check;
pub mod init;
mod keeper;
pub mod other_face;
pub mod rebuild;
pub mod restore;
pub mod serve;
mod stop;
pub mod timestamps;
pub mod trust_export;
