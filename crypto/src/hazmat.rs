//! The door through which raw keys come and go.
