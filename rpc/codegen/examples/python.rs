//! Writes Python stubs: `python PROTO... --include DIRECTORY... --out DIRECTORY`.

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str =
    "usage: python PROTO... --include DIRECTORY [--include DIRECTORY] --out DIRECTORY";

fn main() -> ExitCode {
    let mut protos = Vec::new();
    let mut includes = Vec::new();
    let mut out = None;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--include" {
            includes.extend(arguments.next().map(PathBuf::from));
        } else if argument == "--out" {
            out = arguments.next().map(PathBuf::from);
        } else {
            protos.push(PathBuf::from(argument));
        }
    }
    let (Some(out), false, false) = (out, protos.is_empty(), includes.is_empty()) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match sealmoot_rpc_codegen::python::generate(&protos, &includes, &out) {
        Ok(written) => {
            for path in written {
                println!("{}", path.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
