//! Prints what each fault costs: requests upstream for each call, and calls that failed, with
//! fairkey and with a hand-written key pool on the same script.
//!
//! `cargo run --release -p fairkey-scenarios --example faults`

use fairkey_scenarios::faults::rows;
use fairkey_scenarios::load::Tally;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    println!(
        "| what goes wrong | fairkey: upstream per call | failed | three strikes: upstream per call | failed | errors taken for answers |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for row in rows().into_iter().filter(|row| row.name.contains(&wanted)) {
        let play = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
        };
        let ours: Tally = play()?.block_on(row.with_fairkey());
        let theirs: Tally = play()?.block_on(row.with_three_strikes());
        println!(
            "| {} | {:.2} | {} | {:.2} | {} | {} |",
            row.name,
            ours.amplification(),
            ours.failed + ours.deceived,
            theirs.amplification(),
            theirs.failed,
            theirs.deceived,
        );
    }
    Ok(())
}
