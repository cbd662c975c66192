//! Turns the codecs' samples into the first corpus: `cargo run --bin seeds`, in this directory.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for codec in ["dubbo", "thrift", "redis", "declarative"] {
        let samples = root.join("../codecs").join(codec).join("samples");
        let count = meltemi_testkit::fuzz::seeds(&samples, &root.join("corpus").join(codec))?;
        println!("{codec}: {count} seeds");
    }
    Ok(())
}
