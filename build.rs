//! For the `libtorch` feature: compiles the functions that `tch` leaves out, and writes libtorch's folder into the
//! binary's search path, so that it starts without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "libtorch")]
    libtorch();
}

#[cfg(feature = "libtorch")]
fn libtorch() {
    const SOURCES: &[&str] = &[
        "src/nn/ops/libtorch/counter.cpp",
        "src/nn/ops/libtorch/kernels.cpp",
        "src/nn/ops/libtorch/memory.cpp",
        "src/nn/ops/libtorch/optimizers.cpp",
    ];
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // Set by torch-sys; on Windows it is not, and libtorch's folder has to be on the PATH.
    let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        panic!("torch-sys does not say where libtorch lies: the libtorch feature needs Linux or macOS");
    };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    let headers = std::path::Path::new(&folder).with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false) // of libtorch's headers
        .include(&headers)
        .include(headers.join("torch/csrc/api/include"))
        .files(SOURCES)
        .compile("segtool_libtorch");
}
