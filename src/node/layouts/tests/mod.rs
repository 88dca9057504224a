//! The keeper of layouts.
