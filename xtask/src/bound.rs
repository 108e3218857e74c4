//! Child processes that do not outlive us, however we end.

use std::process::Command;

/// The command, to be ended by the kernel when the thread that starts it ends (prctl(2), PR_SET_PDEATHSIG).
///
/// The call must come between fork and exec, where Rust has no safe way to put it: setpriv(1) of util-linux, which
/// is on every Debian system, makes it and becomes the program, with the same process id.
pub(crate) fn to_us(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Stdio;

    #[test]
    fn the_program_gets_what_it_was_to_get() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $A-$B; pwd; exit 3"])
            .env("A", "a")
            .env_remove("B")
            .current_dir("/");
        let output = to_us(&command).output().unwrap();
        assert_eq!(output.stdout, b"a-\n/\n");
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn it_ends_with_the_thread_that_started_it() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let starter = std::thread::spawn(move || {
            // While it lives, it holds the pipe open.
            let mut child = to_us(&command).stdout(Stdio::piped()).spawn().unwrap();
            // Long enough for setpriv to have made its call.
            std::thread::sleep(std::time::Duration::from_millis(500));
            (child.stdout.take().unwrap(), child)
        });
        let (mut pipe, mut child) = starter.join().unwrap();
        assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
        assert!(!child.wait().unwrap().success());
    }
}
