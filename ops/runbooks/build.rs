//! Puts the pages into the binary, so that an operator without the checkout has them.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

#[expect(clippy::disallowed_methods, reason = "how cargo speaks to a build script")]
fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::var("CARGO_MANIFEST_DIR")?;
    // A page that is added or removed changes the directory, one that is edited the file.
    println!("cargo::rerun-if-changed={directory}");
    let mut pages = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
        if let (Some(name), Some("md")) = (name, path.extension().and_then(|extension| extension.to_str())) {
            println!("cargo::rerun-if-changed={}", path.display());
            pages.push((name, path));
        }
    }
    pages.sort();
    let mut code = String::from("&[\n");
    for (name, path) in pages {
        writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string())?;
    }
    code.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("pages.rs"), code)?;
    Ok(())
}
