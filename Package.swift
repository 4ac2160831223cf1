// swift-tools-version: 6.2
// The package, target by target; arrows point one way, from the kernels up to the command line.
// Nothing below LensModel knows what a transformer is; nothing below LensZoo knows what Hugging Face is.
import PackageDescription

/// Flags of the hot C code. `-O3` also in debug builds (SwiftPM's default there is -O0, and tests run the kernels);
/// contraction off, because a product's rounding is part of the design: kernels fuse where they say so.
/// No fast-math: NaN, infinity and the order of every sum are kept.
let kernelFlags: [CSetting] = [
    .headerSearchPath("internal"), .headerSearchPath("rows"),
    .unsafeFlags(["-O3", "-fopenmp", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror",
                  // Vectors wider than the baseline's are only passed between inlined functions.
                  "-Wno-psabi"]),
]

let package = Package(
    name: "swift-transformer-lens",
    products: [
        .library(name: "TransformerLens", targets: ["TransformerLens"]),
        .executable(name: "tlens", targets: ["tlens"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        // LAPACK, for the analyses, is opened where it is needed (LensTensor/LAPACK.swift): nothing is linked with it.
        .target(name: "CLensKernels", path: "CKernels/CLensKernels",
                exclude: ["README.md"], cSettings: kernelFlags,
                linkerSettings: [.linkedLibrary("omp5"), .linkedLibrary("m")]),

        // The model that comes with the package, as bytes in the program.
        .target(name: "CShippedFiles", path: "CKernels/CShippedFiles", exclude: ["tiny-ioi"],
                cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror", "-Wno-c23-extensions"])]),
        .target(name: "LensFiles", dependencies: ["CShippedFiles"]),
        .target(name: "LensTensor", dependencies: ["CLensKernels", "LensFiles"]),
        .target(name: "LensHooks", dependencies: ["LensTensor", "LensFiles"]),
        .target(name: "LensModel", dependencies: ["LensHooks", "LensTensor", "LensFiles"]),
        .target(name: "LensZoo", dependencies: ["LensModel", "LensFiles"]),
        // libcurl, opened when a download begins.
        .target(name: "CLensHTTP", path: "CKernels/CLensHTTP", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]),
        .target(name: "LensHub", dependencies: ["CLensHTTP", "LensZoo", "LensHooks", "LensFiles"]),
        .target(name: "LensText", dependencies: ["LensFiles"], exclude: ["Unicode/make_tables.py"]),
        .target(name: "LensAnalysis", dependencies: ["LensModel", "LensHooks", "LensTensor", "LensFiles"]),
        .target(name: "TransformerLens",
                dependencies: ["LensFiles", "LensTensor", "LensHooks", "LensModel", "LensZoo", "LensHub", "LensText", "LensAnalysis"]),
        .executableTarget(name: "tlens", dependencies: [
            "TransformerLens", .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ]),

        // Double-precision references, comparisons that reject NaN first, tiny models, golden files.
        // Optimised in debug builds too: the references are the slow part of a test run.
        .target(name: "LensTestSupport", dependencies: ["LensFiles", "LensTensor", "LensHooks", "LensModel"],
                path: "Tests/LensTestSupport", swiftSettings: [.unsafeFlags(["-O"], .when(configuration: .debug))]),
        .testTarget(name: "FilesTests", dependencies: ["LensFiles", "LensTestSupport"], exclude: ["Goldens"]),
        .testTarget(name: "KernelTests", dependencies: ["CLensKernels", "LensTestSupport"]),
        .testTarget(name: "TensorTests", dependencies: ["LensTensor", "LensFiles", "LensTestSupport"], exclude: ["Goldens"]),
        .testTarget(name: "TextTests", dependencies: ["LensText", "LensTestSupport"],
                    exclude: ["Goldens", "make_goldens.py", "make_components.py", "make_formats_goldens.py",
                              "make_chat_goldens.py", "fuzz.py"]),
        .testTarget(name: "ModelTests", dependencies: ["TransformerLens", "LensTestSupport", "TinyModels"],
                    exclude: ["Goldens"]),
        .testTarget(name: "HubTests", dependencies: ["LensHub", "LensTestSupport"], exclude: ["check_with_python.py"]),
        .testTarget(name: "AnalysisTests", dependencies: ["TransformerLens", "LensTestSupport"], exclude: ["Goldens"]),
        .testTarget(name: "TrainingTests", dependencies: ["LensAnalysis", "LensTestSupport"], exclude: ["Goldens"]),
        .testTarget(name: "CommandTests", dependencies: ["TransformerLens", "TinyModels", "tlens"]),

        // A tiny random GPT-2, and the program that writes it: for the demo and the tests, no product.
        .target(name: "TinyModels", dependencies: ["LensFiles"], path: "Tests/TinyModels"),
        .executableTarget(name: "list-public-symbols", dependencies: ["LensFiles"], path: "Tests/list-public-symbols"),
        .executableTarget(name: "make-tiny-model", dependencies: ["TinyModels"], path: "Tests/make-tiny-model"),
    ],
    swiftLanguageModes: [.v6]
)
