//! Tests of waves.
