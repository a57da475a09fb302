//! The programs under test, and running one to its end.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A command that takes longer than this hangs.
pub(crate) const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// The daemon: `SERF_TEST_BIN_DIR/serf`, or else the one that was built with the tests.
///
/// The variable lets the tests drive a release build, or another program with Serf's command line.
pub(crate) fn serf() -> PathBuf {
    program("serf", env!("CARGO_BIN_EXE_serf"))
}

/// The control commands alone: `SERF_TEST_BIN_DIR/serf-ctl`, or else the one built with the tests.
pub(crate) fn serf_ctl() -> PathBuf {
    program("serf-ctl", env!("CARGO_BIN_EXE_serf-ctl"))
}

fn program(name: &str, built: &str) -> PathBuf {
    match std::env::var_os("SERF_TEST_BIN_DIR") {
        Some(dir) => Path::new(&dir).join(name),
        None => PathBuf::from(built),
    }
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Answer {
    command: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    /// Standard output as it is.
    pub(crate) bytes: Vec<u8>,
    pub(crate) stderr: String,
}

impl Answer {
    /// The exit code; `None` if a signal ended the command.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output of a command that succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.code(), Some(0), "{self}");
        &self.stdout
    }

    /// All output of a command that failed as it should: exit code 1, something said, no panic.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        let said = self.everything();
        assert_eq!(self.code(), Some(1), "exit code of a refusal; {self}");
        assert!(!said.trim().is_empty(), "a refusal must say why; {self}");
        assert!(!said.contains("panicked"), "{self}");
        said
    }

    /// Standard output, then standard error.
    pub(crate) fn everything(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

/// A command with nothing of the caller's own Serf settings in its environment.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for variable in ["SERF_RPC_ADDR", "SERF_RPC_AUTH", "SERF_ENCRYPT_KEY", "SERF_LOG", "NOTIFY_SOCKET"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a program to its end, or kills it after [`COMMAND_DEADLINE`].
pub(crate) fn run<S: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = S>) -> Answer {
    let mut command = command(program);
    command.args(args);
    run_command(command, COMMAND_DEADLINE)
}

/// Like [`run`], with these variables in the environment.
pub(crate) fn run_with_env<S: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = S>,
    variables: &[(&str, &str)],
) -> Answer {
    let mut command = command(program);
    command.args(args).envs(variables.iter().copied());
    run_command(command, COMMAND_DEADLINE)
}

/// Runs a prepared command to its end, or kills it after `deadline`.
pub(crate) fn run_command(mut command: Command, deadline: Duration) -> Answer {
    let description = format!("{command:?}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {description}: {e}"));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let stdout = scope.spawn(|| read_all(stdout));
        let stderr = scope.spawn(|| read_all(stderr));
        let status = wait_or_kill(&mut child, deadline);
        let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().expect("reading does not panic"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer { command: description, status, stdout: text(&stdout), bytes: stdout, stderr: text(&stderr) }
    })
}

/// The exit status of a child, which is killed at the deadline.
pub(crate) fn wait_or_kill(child: &mut Child, deadline: Duration) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if start.elapsed() > deadline {
            let _ = child.kill();
            return child.wait().expect("a killed child can be waited for");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A command that goes on, and what it has printed so far. Killed on drop.
pub(crate) struct Output {
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    /// Starts a command and collects its standard output.
    pub(crate) fn watch<S: AsRef<OsStr>>(program: &Path, args: &[S]) -> Output {
        let mut child = command(program)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", program.display()));
        let printed = Arc::<Mutex<Vec<u8>>>::default();
        let mut stdout = child.stdout.take().expect("standard output is piped");
        let collected = printed.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut chunk) {
                collected.lock().expect("nobody panics with it").extend_from_slice(&chunk[..length]);
            }
        });
        Output { child, printed }
    }

    /// Whether a text has been printed.
    pub(crate) fn shows(&self, text: &str) -> Result<(), String> {
        let printed = self.printed.lock().expect("nobody panics with it");
        let printed = String::from_utf8_lossy(&printed);
        if printed.contains(text) { Ok(()) } else { Err(format!("printed so far:\n{printed}")) }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = self.child.kill();
        wait_or_kill(&mut self.child, Duration::from_secs(5));
    }
}

fn read_all(source: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        // A broken pipe ends the output like any other end.
        let _ = source.read_to_end(&mut bytes);
    }
    bytes
}
