//! What SIGINT does to a command that waits for its agent.

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

/// From now on an interrupt ends the process with `code`, after printing `complaint`, if there
/// is one, to standard error.
///
/// It does so from a thread of its own: the command may be waiting for the agent, or for a reader
/// that does not read, and neither may keep it from ending.
pub(super) fn ends_with(code: i32, complaint: Option<&'static str>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT])?;
    let wait = move || {
        if signals.forever().next().is_some() {
            if let Some(complaint) = complaint {
                eprintln!("{complaint}");
            }
            std::process::exit(code);
        }
    };
    std::thread::Builder::new().name("serf-interrupt".into()).spawn(wait).map(drop)
}
