//! Writes every decoder's samples as files, `FOLDER/<decoder>/<number>`: the corpus
//! that fuzzing starts from.
//!
//! `cargo run -p sealmoot-decoders --example write_samples -- FOLDER`

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).expect("usage: write_samples FOLDER"));
    for decoder in sealmoot_decoders::all() {
        let folder = folder.join(decoder.name);
        fs::create_dir_all(&folder)?;
        for (number, sample) in (decoder.samples)().iter().enumerate() {
            fs::write(folder.join(number.to_string()), sample)?;
        }
        println!("{}", decoder.name);
    }
    Ok(())
}
