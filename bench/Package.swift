// swift-tools-version: 6.2
// Benchmarks, in a package of their own so that users never resolve what they need.
import PackageDescription

let package = Package(
    name: "lens-bench",
    dependencies: [
        .package(name: "swift-transformer-lens", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        // The machine's limits, in C: vectors as wide as it has.
        .target(name: "CMachine", cSettings: [.unsafeFlags(["-O3", "-Wall", "-Wextra", "-Wno-psabi"])]),
        .executableTarget(name: "lens-bench", dependencies: [
            "CMachine",
            .product(name: "TransformerLens", package: "swift-transformer-lens"),
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ]),
    ],
    swiftLanguageModes: [.v6]
)
