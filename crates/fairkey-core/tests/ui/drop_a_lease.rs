//! A lease that is dropped at once is nearly always a mistake.

#![deny(unused_must_use)]

use fairkey_core::{Ask, Pool, Unavailable};

fn call(pool: &Pool) -> Result<(), Unavailable> {
    pool.select(&Ask::new())?;
    Ok(())
}

fn main() {}
