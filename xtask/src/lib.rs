//! What xtask and the emulator tests share.
