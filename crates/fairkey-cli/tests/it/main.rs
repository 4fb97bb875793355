//! The whole program, from outside.

mod administration;
mod answers;
mod ask;
mod bad_input;
mod config;
mod demo;
mod fuzz_seeds;
mod inputs;
mod interrupt;
mod keys;
mod ledger;
mod memory;
mod mock;
mod models;
mod money;
mod operation;
mod outputs;
mod profiles;
mod program;
mod report;
mod route;
mod secrets;
mod serve;
mod shapes;
mod state;
mod tenants;
