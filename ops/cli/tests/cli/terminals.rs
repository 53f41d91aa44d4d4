//! Passwords that are typed, in a terminal that is given back.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    process::{Child, Command},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use serde_json::json;

use crate::support::{PASSWORD, Shell, World};

/// A terminal with a command in it, and somebody who looks at it and types.
struct Terminal {
    keys: File,
    shown: Receiver<Vec<u8>>,
    seen: String,
    /// The command's end, kept open: the terminal is looked at when the command is gone.
    end: File,
    child: Child,
}

impl Terminal {
    fn run(shell: &Shell, line: &str) -> anyhow::Result<Self> {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&keys)?;
        unlockpt(&keys)?;
        let name = ptsname(&keys, Vec::new())?;
        let name = std::ffi::OsStr::from_bytes(name.as_bytes());
        let end = OpenOptions::new().read(true).write(true).open(name)?;
        let keys = File::from(keys);
        // `setsid --ctty` makes it the terminal of the command, as a terminal's program does.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(env!("CARGO_BIN_EXE_sallyport"))
            .args(line.split(' '))
            .env_clear()
            .envs(&shell.environment)
            .env("USER", "grace")
            .env("HOSTNAME", "desk")
            .stdin(end.try_clone()?)
            .stdout(end.try_clone()?)
            .stderr(end.try_clone()?)
            .spawn()?;
        let mut output = keys.try_clone()?;
        let (sender, shown) = channel();
        thread::spawn(move || {
            let mut chunk = [0_u8; 1024];
            while let Ok(read @ 1..) = output.read(&mut chunk) {
                if sender.send(chunk.get(..read).unwrap_or_default().to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { keys, shown, seen: String::new(), end, child })
    }

    /// Waits until the terminal shows the text, behind what was waited for before.
    fn until(&mut self, text: &str) -> anyhow::Result<()> {
        while !self.seen.contains(text) {
            let chunk = self.shown.recv_timeout(Duration::from_secs(60));
            let chunk = chunk.with_context(|| format!("no {text:?} in {:?}", self.seen))?;
            self.seen.push_str(&String::from_utf8_lossy(&chunk));
        }
        let rest = self.seen.split_once(text).map(|(_, rest)| rest.to_owned());
        self.seen = rest.unwrap_or_default();
        Ok(())
    }

    fn type_in(&mut self, keys: &[u8]) -> anyhow::Result<()> {
        Ok(self.keys.write_all(keys)?)
    }

    fn shows_what_is_typed(&self) -> anyhow::Result<bool> {
        Ok(tcgetattr(&self.end)?
            .local_modes
            .contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG))
    }

    fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }
}

const ASK: &str = "user set-password ada@example.com --password-stdin";

async fn signs_in(world: &World, password: &str) -> anyhow::Result<bool> {
    let login = format!("{}/api/v1/auth/login", world.url());
    let body = json!({"email": "ada@example.com", "password": password});
    Ok(reqwest::Client::new().post(login).json(&body).send().await?.status() == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_ended_while_it_asks_gives_the_terminal_back() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for asked in ["Password: ", "Once more: "] {
        for (signal, code) in
            [("key ^C", 130), ("key ^\\", 131), ("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)]
        {
            let mut terminal = Terminal::run(&world.shell, ASK)?;
            terminal.until("Password: ")?;
            if asked == "Once more: " {
                terminal.type_in(b"another long one\n")?;
                terminal.until(asked)?;
            }
            ensure!(!terminal.shows_what_is_typed()?, "what is typed would show");
            terminal.type_in(b"half a passw")?;
            match signal {
                "key ^C" => terminal.type_in(b"\x03")?,
                "key ^\\" => terminal.type_in(b"\x1c")?,
                signal => {
                    let id = terminal.child.id().to_string();
                    ensure!(Command::new("kill").args(["-s", signal, &id]).status()?.success());
                }
            }
            assert_eq!(terminal.ended()?, Some(code), "{signal} at {asked:?}");
            assert!(
                terminal.shows_what_is_typed()?,
                "{signal} at {asked:?} leaves the terminal without echo"
            );
        }
    }
    assert!(signs_in(&world, PASSWORD).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_the_password_or_nothing_is_changed() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let ask = |first: &[u8], second: &[u8]| -> anyhow::Result<(Option<i32>, bool, String)> {
        let mut terminal = Terminal::run(&world.shell, ASK)?;
        terminal.until("Password: ")?;
        terminal.type_in(first)?;
        if !second.is_empty() {
            terminal.until("Once more: ")?;
            terminal.type_in(second)?;
        }
        let code = terminal.ended()?;
        while let Ok(chunk) = terminal.shown.recv_timeout(Duration::from_millis(100)) {
            terminal.seen.push_str(&String::from_utf8_lossy(&chunk));
        }
        Ok((code, terminal.shows_what_is_typed()?, terminal.seen.clone()))
    };
    let line = "k\u{f6}rrekt\thorse \u{1f40e}\n".as_bytes();
    let (code, restored, shown) = ask(line, line)?;
    assert_eq!((code, restored), (Some(0), true), "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
    assert!(signs_in(&world, "k\u{f6}rrekt\thorse \u{1f40e}").await?);
    // A terminal in Latin-1, an arrow key, two that differ, a terminal that is closed in the middle of a line.
    for (first, second) in [
        (&b"k\xf6rrekt horse\n"[..], &b""[..]),
        (b"correct\x1b[D horse\n", b""),
        (b"correct horse 1\n", b"correct horse 2\n"),
        (b"correct horse\x04\x04", b""),
        (b"\x04", b""),
    ] {
        let (code, restored, shown) = ask(first, second)?;
        assert!(matches!(code, Some(1 | 2)) && restored, "{first:?}: {code:?} {shown}");
    }
    assert!(signs_in(&world, "k\u{f6}rrekt\thorse \u{1f40e}").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_piped_is_what_was_typed_in_any_encoding_or_nothing_is_changed()
-> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for (piped, typed) in [
        (&b"\xef\xbb\xbfcorrect horse one\r\n"[..], "correct horse one"),
        (b"correct horse two\r\n", "correct horse two"),
        (b"\xef\xbb\xbfk\xc3\xb6rrekt horse\n", "k\u{f6}rrekt horse"),
    ] {
        assert_eq!(world.shell.run_with_bytes(ASK, piped)?.code, 0);
        assert!(signs_in(&world, typed).await?, "{typed}");
    }
    let utf16: Vec<u8> = "correct horse\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xff\xfe", utf16.as_slice()].concat();
    for piped in [
        &utf16[..],
        &marked,
        b"k\xf6rrekt horse\n",
        b"correct\0horse\n",
        b"correct\nhorse\n",
        "l\u{fffd}st horse".as_bytes(),
    ] {
        let run = world.shell.run_with_bytes(ASK, piped)?;
        assert_eq!(run.code, 2, "{piped:?} {run:?}");
        assert!(!run.stderr.contains("horse"), "{run:?}");
    }
    assert!(signs_in(&world, "k\u{f6}rrekt horse").await?);
    Ok(())
}
