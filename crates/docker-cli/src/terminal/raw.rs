//! Raw mode: every key goes to the container, none is interpreted here.

use rustix::stdio::{stdin, stdout};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcsetattr};

/// Raw as long as it lives; what was before comes back when it is dropped, on whatever way out.
#[derive(Debug)]
pub struct RawMode {
    input: Option<Termios>,
    output: Option<Termios>,
}

impl RawMode {
    /// Both terminals, as far as there are any; `None` when there is none to change.
    pub fn enter() -> std::io::Result<Option<Self>> {
        let mut raw = Self { input: None, output: None };
        if isatty(stdin()) {
            let before = tcgetattr(stdin())?;
            let mut changed = before.clone();
            changed.make_raw();
            raw.input = Some(before);
            tcsetattr(stdin(), OptionalActions::Now, &changed)?;
        }
        if isatty(stdout()) {
            let before = tcgetattr(stdout())?;
            let mut changed = before.clone();
            // The container's terminal has translated line ends already.
            changed.output_modes.remove(OutputModes::OPOST);
            raw.output = Some(before);
            tcsetattr(stdout(), OptionalActions::Now, &changed)?;
        }
        Ok((raw.input.is_some() || raw.output.is_some()).then_some(raw))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // In the opposite order: both may be one terminal. A terminal that is gone needs nothing back.
        if let Some(before) = &self.output {
            let _ = tcsetattr(stdout(), OptionalActions::Now, before);
        }
        if let Some(before) = &self.input {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// What is typed is not shown, as long as it lives.
#[derive(Debug)]
pub struct HiddenInput(Termios);

impl HiddenInput {
    /// Standard input must be a terminal.
    pub fn start() -> std::io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut changed = before.clone();
        changed.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &changed)?;
        Ok(Self(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}
