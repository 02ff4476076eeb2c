//! Packs the relocations of the program: half a megabyte of eleven, on the processors for which
//! linkers know how.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    // The C library that loads it has to know them, too: that of GNU does since 2.36, and a linker
    // that does is no older.
    if target("ARCH") == "x86_64" && target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
