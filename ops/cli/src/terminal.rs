//! Secrets that are typed at a terminal, and the terminal as it was afterwards, however the command ends.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    process,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use sallyport_core::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};

/// What the terminal was before it was told not to show what is typed.
static HIDDEN: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// A line of the terminal that is not shown, in its bytes and without its end.
///
/// # Errors
/// There is no terminal, or it was closed before the end of the line.
pub(crate) fn hidden_line(prompt: &str) -> io::Result<Secret<Vec<u8>>> {
    watch()?;
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let mut line = Vec::new();
    let hidden = Hidden::begin(&terminal)?;
    terminal.write_all(prompt.as_bytes())?;
    terminal.flush()?;
    let read = BufReader::new(&terminal).read_until(b'\n', &mut line);
    drop(hidden);
    let line = Secret::new(line);
    // The line's end was not shown either.
    terminal.write_all(b"\n")?;
    read?;
    match line.expose().strip_suffix(b"\n") {
        Some(typed) => Ok(Secret::new(typed.to_vec())),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal was closed")),
    }
}

/// While it lives, the terminal shows nothing of what is typed.
struct Hidden;

impl Hidden {
    fn begin(terminal: &File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ECHONL;
        // A shell that takes over in between gives the terminal back in its own state: what is typed then would show.
        hidden.special_codes[SpecialCodeIndex::VSUSP] = 0;
        *locked() = Some((terminal.try_clone()?, before));
        // What was typed before the prompt is dropped: it was shown.
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if let Some((terminal, before)) = locked().take() {
        // There is nobody to tell: a terminal that is gone needs nothing back.
        tcsetattr(&terminal, OptionalActions::Now, &before).unwrap_or_default();
    }
}

fn locked() -> std::sync::MutexGuard<'static, Option<(File, Termios)>> {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Signals that end a command: their number, and what a shell says of a process that they ended.
const SIGNALS: [(fn() -> SignalKind, i32); 4] = [
    (SignalKind::interrupt, 130),
    (SignalKind::quit, 131),
    (SignalKind::hangup, 129),
    (SignalKind::terminate, 143),
];

/// From the first question on, a signal gives the terminal back before it ends the command: for the rest of the command, since
/// a signal that was once caught does nothing by itself any more.
#[expect(clippy::exit, reason = "a signal ends the process, wherever its other thread is")]
fn watch() -> io::Result<()> {
    static WATCHED: OnceLock<()> = OnceLock::new();
    if WATCHED.get().is_some() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = Vec::new();
    {
        let _entered = runtime.enter();
        for (kind, code) in SIGNALS {
            signals.push((signal(kind())?, code));
        }
    }
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let waiting = signals.into_iter().map(|(mut signal, code)| {
            Box::pin(async move {
                signal.recv().await;
                code
            })
        });
        let (code, ..) = runtime.block_on(futures_util::future::select_all(waiting));
        give_back();
        process::exit(code);
    })?;
    WATCHED.set(()).unwrap_or_default();
    Ok(())
}
