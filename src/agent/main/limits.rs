//! Limits of the shell or the service manager (`ulimit`) that may stop the agent, said at the start: the
//! kernel says nothing when it enforces them.
//!
//! The other limits need no word here. What finds no memory, no thread or no room in a file says so when it
//! happens.

use rustix::process::{Resource, getrlimit};

/// An agent with a handler or two has this many files open, sockets and pipes included, when much happens at
/// once.
const FEW_FILES: u64 = 64;

/// What an operator has to know of them.
pub(crate) fn warnings() -> Vec<String> {
    describe(getrlimit(Resource::Cpu).maximum, getrlimit(Resource::Nofile).current)
}

fn describe(cpu_seconds: Option<u64>, files: Option<u64>) -> Vec<String> {
    let cpu = cpu_seconds.map(|seconds| {
        format!("Limited to {seconds} s of CPU time (ulimit -t): the kernel will kill this agent after that")
    });
    let files = files.filter(|files| *files < FEW_FILES).map(|files| {
        format!(
            "Limited to {files} open files (ulimit -n): members, control clients and event handlers will find \
             none free at times; give it {FEW_FILES} at least"
        )
    });
    cpu.into_iter().chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_that_hurt_are_spoken_of() {
        assert!(describe(None, None).is_empty() && describe(None, Some(FEW_FILES)).is_empty());
        let [cpu, files] = &describe(Some(60), Some(32))[..] else { panic!("both hurt") };
        assert!(cpu.starts_with("Limited to 60 s of CPU time"), "{cpu}");
        assert!(files.starts_with("Limited to 32 open files"), "{files}");
    }
}
