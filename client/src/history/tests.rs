//! Judging at the level of histories: no bytes, no network.

mod attacks;
mod gathering;
mod honest;
mod people;
mod places;
mod world;
