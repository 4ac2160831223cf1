// Gradients of the golden models by PyTorch's autograd, in the summaries that `gradients.safetensors` keeps of them
// (Tests/ModelTests/Goldens/goldenmaker/gradients.py): the largest magnitude, sums with random signs, some elements.

import LensFiles
import LensModel
import LensTensor

/// What is kept of one gradient.
public struct GradientSummary: Sendable {
    public static let projections = 6, samples = 12
    /// Largest magnitude; `projections` sums; `samples` elements.
    public let numbers: [Float]

    public init(numbers: [Float]) { self.numbers = numbers }

    /// Of a tensor here.
    public init(_ tensor: Tensor) throws {
        numbers = try tensor.withUnsafeElements { elements in
            guard !elements.isEmpty else { return Array(repeating: 0, count: 1 + Self.projections + Self.samples) }
            var largest: Float = 0, sums = [Double](repeating: 0, count: Self.projections)
            for (place, element) in elements.enumerated() {
                if !(abs(element) <= largest) { largest = abs(element) }
                for projection in 0..<Self.projections { sums[projection] += Double(element) * Self.sign(place, projection) }
            }
            return [largest] + sums.map { Float($0) } + (0..<Self.samples).map { elements[$0 * elements.count / Self.samples] }
        }
    }

    /// 1 or -1: a bit of splitmix64 of an element's place.
    public static func sign(_ place: Int, _ projection: Int) -> Double {
        var z = (UInt64(place) &* UInt64(projections) &+ UInt64(projection + 1)) &* 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return 1 - 2 * Double((z ^ (z >> 31)) & 1)
    }

    /// The first sum.
    public var firstSum: Double { Double(numbers[1]) }
    /// The largest magnitude.
    public var largest: Double { Double(numbers[0]) }

    /// How far apart two are, relative to the largest magnitude; sums, of `count` elements, count as far as an error of each
    /// element by chance would put them apart. NaN is infinitely far.
    /// - Parameter scale: the largest gradient of the run. One below 1e-5 of it is zero but for rounding (of a key's bias, of the
    ///   share of an only expert): it has to be as small here.
    public func distance(to other: GradientSummary, count: Int, scale: Double = 0) -> Double {
        guard numbers.count == other.numbers.count, other.largest.isFinite else { return .infinity }
        if other.largest <= 1e-5 * scale { return largest <= 1e-5 * scale ? 0 : .infinity }
        let spread = Double(count).squareRoot()
        return zip(numbers, other.numbers).enumerated().map { index, pair in
            let difference = abs(Double(pair.0) - Double(pair.1)) / other.largest
            guard difference.isFinite else { return .infinity }
            return (1...Self.projections).contains(index) ? difference / spread : difference
        }.max() ?? 0
    }
}

/// The gradients of one golden folder.
public struct GradientGolden: Sendable {
    /// Runs of `golden.json`, the first first.
    public let runs: [String]
    private let tables: [String: [(name: String, summary: GradientSummary)]]

    public init(_ name: String) throws {
        let file = try SafetensorsFile(path: "\(TestFolders.goldens)/\(name)/gradients.safetensors")
        var tables: [String: [(name: String, summary: GradientSummary)]] = [:]
        for (key, text) in file.metadata where key.contains("/") {
            let names = text.split(separator: "\n").map(String.init), rows = try Tensor(stored: key, in: file)
            guard rows.rank == 2, rows.shape[0] == names.count else { throw LensError(.format, "names and rows differ", at: "\(name): \(key)") }
            tables[key] = try names.indices.map { (names[$0], GradientSummary(numbers: try rows.at(.at($0)).array)) }
        }
        self.tables = tables
        runs = tables.keys.filter { $0.hasSuffix("/sites") }.map { String($0.dropLast("/sites".count)) }.sorted()
    }

    /// `kind`: `sites`, `parameters` (by TransformerLens' names), `values` (of those parameters), `tied` (the sum of both uses of
    /// an embedding), `file` (by the file's names).
    public func table(_ run: String, _ kind: String) -> [(name: String, summary: GradientSummary)] { tables["\(run)/\(kind)"] ?? [] }

    /// The numbers that the scalar of the goldens weighs an output with.
    public static func weights(_ shape: [Int]) throws -> Tensor {
        try Tensor((0..<shape.reduce(1, *)).map { Float($0 * 37 % 19 - 9) / 9 }, shape: shape)
    }
}
