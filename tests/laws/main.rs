//! Level 0: what the project promises about its own structure, read from its sources.

mod architecture;
mod cycles;
mod dependencies;
mod flags;
mod modules;
mod names;
mod shaders;
mod words;
