//! Tests of the rsync driver.
