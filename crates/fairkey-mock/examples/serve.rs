//! Serves the mock until it is interrupted.
//!
//! ```sh
//! cargo run -p fairkey-mock --example serve -- 127.0.0.1:8080        # open: any key, no limits
//! cargo run -p fairkey-mock --example serve -- 127.0.0.1:8080 demo   # four keys on a bad day
//! cargo run -p fairkey-mock --example serve --features scenario -- 127.0.0.1:8080 scenario.toml
//! ```

use std::net::SocketAddr;

use fairkey_mock::Scenario;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr: SocketAddr = args.next().as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let scenario = match args.next().as_deref() {
        None | Some("open") => Scenario::open(0),
        Some("demo") => Scenario::demo(0),
        #[cfg(feature = "scenario")]
        Some(path) => Scenario::load(path)?,
        #[cfg(not(feature = "scenario"))]
        Some(other) => return Err(format!("no scenario {other:?}: open or demo").into()),
    };
    for (label, account, secret) in scenario.keys() {
        println!("key {label} of {account}: {secret}");
    }
    let mock = scenario
        .with(|builder| builder.listen(addr))
        .start()
        .await?;
    println!("listening on {}", mock.base_url());
    tokio::signal::ctrl_c().await?;
    println!("{:#?}", mock.counters().total);
    mock.shutdown().await;
    Ok(())
}
