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
    for path in SOURCES.iter().chain(&["src/nn/guarded.h", "src/nn/group/c10d.cpp", "src/nn/group/gloo"]) {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // Set by torch-sys, except on Windows.
    let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        panic!("torch-sys does not say where libtorch lies: the libtorch feature needs Linux or macOS");
    };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    let headers = std::path::Path::new(&folder).with_file_name("include");
    let build = || {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").warnings(false); // of libtorch's headers
        build
    };
    let libtorch = [headers.clone(), headers.join("torch/csrc/api/include")];
    build().includes(&libtorch).files(SOURCES).compile("segtool_libtorch");
    // Only here do Gloo's headers stand in for those that libtorch's packages leave out.
    let collectives = std::iter::once("src/nn/group/gloo".into()).chain(libtorch);
    let mut group = build();
    group.define("USE_C10D_GLOO", None).includes(collectives).file("src/nn/group/c10d.cpp").compile("segtool_group");
}
