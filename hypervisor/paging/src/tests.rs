//! Against a model, a walk written from the manual, and every state in between.

mod entries;
mod frames;
mod model;
mod stacks;
