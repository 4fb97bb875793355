//! Runs the programs of the book as tests: each chapter with code is documentation of a module.

#[doc = include_str!("src/writing-a-strategy.md")]
#[doc(hidden)]
pub mod writing_a_strategy {}

#[doc = include_str!("src/writing-a-gate.md")]
#[doc(hidden)]
pub mod writing_a_gate {}

#[doc = include_str!("src/simulation.md")]
#[doc(hidden)]
pub mod simulation {}

#[doc = include_str!("src/testing-against-the-mock.md")]
#[doc(hidden)]
pub mod testing_against_the_mock {}

#[doc = include_str!("src/gateway.md")]
#[doc(hidden)]
pub mod gateway {}

#[doc = include_str!("src/faults.md")]
#[doc(hidden)]
pub mod faults {}

#[doc = include_str!("src/coming-from-a-key-pool.md")]
#[doc(hidden)]
pub mod coming_from_a_key_pool {}

#[doc = include_str!("src/hedging.md")]
#[doc(hidden)]
pub mod hedging {}

#[doc = include_str!("src/estimates.md")]
#[doc(hidden)]
pub mod estimates {}

#[doc = include_str!("src/routing.md")]
#[doc(hidden)]
pub mod routing {}

#[cfg(test)]
mod tests {
    #[test]
    fn the_chapter_on_faults_has_the_table_of_the_code() {
        let table = include_str!("../crates/fairkey-client/src/verdict/table.md");
        assert!(table.lines().count() > 50);
        assert!(
            include_str!("src/faults.md").contains(table),
            "docs/src/faults.md should have crates/fairkey-client/src/verdict/table.md word for word"
        );
    }
}

#[doc = include_str!("src/requests.md")]
#[doc(hidden)]
pub mod requests {}
