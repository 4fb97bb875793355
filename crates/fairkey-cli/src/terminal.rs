//! Everything that is printed, but results: standard error, without keys, and never with a panic.

mod events;
mod progress;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic;

pub(crate) use self::events::speak_json;
pub(crate) use self::progress::{Reporter, time};

use crate::redaction;

/// Prints to standard error. That nobody reads it is no reason to fail.
pub(crate) fn say(text: &str) {
    if events::is_json() {
        line(&events::message("info", text));
    } else {
        line(text);
    }
}

/// Prints what went wrong.
pub(crate) fn error(text: &str) {
    if events::is_json() {
        line(&events::message("error", text));
    } else {
        line(&format!("{} {text}", paint("error:", "1;31")));
    }
}

/// Prints what the user should know, and the program goes on.
pub(crate) fn warn(text: &str) {
    if events::is_json() {
        line(&events::message("warning", text));
    } else {
        line(&format!("{} {text}", paint("warning:", "1;33")));
    }
}

/// Prints a line to standard error as it is, without keys.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", redaction::clean(text));
}

/// Prints to standard output.
///
/// # Errors
///
/// Where it cannot be written: whoever read it may have gone away.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Returns how many columns the terminal has that `stream` goes to, if it goes to one.
#[cfg(unix)]
pub(crate) fn width(stream: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(not(unix))]
pub(crate) fn width<T>(_: T) -> Option<usize> {
    None
}

/// Colors `text` where standard error is a terminal that wants it.
fn paint(text: &str, color: &str) -> String {
    if has_color() {
        format!("\x1b[{color}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

fn has_color() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Makes panics print what they say without keys. The functions of a backtrace have names only.
pub(crate) fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let what = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic");
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        error(&format!("this is a bug, please report it: {what} ({at})"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            say(&backtrace.to_string());
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_reported_without_the_key_in_its_message() {
        // The hook prints to standard error; what it prints passes here.
        let cleaned = redaction::clean("called with Key { secret: \"sk-or-v1-canary-canary\" }");
        assert!(!cleaned.contains("canary"));
        install_panic_hook();
        let result = panic::catch_unwind(|| panic!("sk-or-v1-canary-canary"));
        let _ = panic::take_hook();
        assert!(result.is_err());
    }
}
