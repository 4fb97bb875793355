//! What the command line says: [`Settings`].

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;

/// How much is measured, of which program.
pub(crate) struct Settings {
    pub(crate) gateway: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) span: Duration,
    pub(crate) streams: usize,
    pub(crate) soak: Option<u64>,
    /// Whether uploads are what is measured.
    pub(crate) uploads: bool,
    /// Whether the upstream is spoken with in plain HTTP/1.1, and whether over TLS and HTTP/2.
    pub(crate) plain: bool,
    pub(crate) tls: bool,
}

impl Settings {
    pub(crate) fn read(args: &[String]) -> Result<Self> {
        // Examples are a folder below the binaries.
        let beside = std::env::current_exe()?;
        let folder = beside.parent().and_then(|examples| examples.parent());
        let mut settings = Self {
            gateway: folder
                .ok_or("no folder above this program")?
                .join("fairkey"),
            rounds: 5,
            span: Duration::from_secs(3),
            streams: 4_000,
            soak: None,
            uploads: false,
            plain: true,
            tls: true,
        };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            if name == "--uploads" {
                settings.uploads = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--rounds" => settings.rounds = value.parse()?,
                "--seconds" => settings.span = Duration::from_secs_f64(value.parse()?),
                "--streams" => settings.streams = value.parse()?,
                "--gateway" => settings.gateway = value.into(),
                "--soak" => settings.soak = Some(value.parse()?),
                "--upstream" => {
                    (settings.plain, settings.tls) = match value.as_str() {
                        "plain" => (true, false),
                        "tls" => (false, true),
                        "both" => (true, true),
                        _ => return Err("--upstream is plain, tls or both".into()),
                    }
                }
                _ => return Err(format!("unknown: {name}").into()),
            }
        }
        if !settings.gateway.is_file() {
            let path = settings.gateway.display();
            return Err(format!("no {path}: build it first, with `cargo build --release`").into());
        }
        Ok(settings)
    }
}
