// A model's parameters as a file holds them: which there are is known, each is read when somebody asks for it. So a model that
// is rewritten as it is loaded is never in memory twice.

import LensFiles
import LensTensor

/// The parameters of a configuration, not read yet.
package struct StoredParameters {
    package let config: ModelConfig
    /// What they are read from, for errors.
    let location: String
    /// Whether any is stored in quantised blocks, which stay as they are.
    let isQuantized: Bool
    /// Those there are.
    let names: Set<String>
    private let reading: (String, WeightFormat?) throws -> Parameter

    /// - Parameter reading: gives a parameter by its name, kept in the format, or as the file has it.
    package init(_ config: ModelConfig, at location: String, isQuantized: Bool, names: some Sequence<String>,
                 reading: @escaping (String, WeightFormat?) throws -> Parameter) {
        self.config = config
        self.location = location
        self.isQuantized = isQuantized
        self.names = Set(names)
        self.reading = reading
    }

    /// A parameter, kept in `format`; nil: as the file has it.
    func read(_ name: String, keeping format: WeightFormat?) throws -> Parameter { try reading(name, format) }

    /// All of them.
    /// - Throws: `LensError(.weights)` for a missing or mis-shaped one; what reading throws.
    package func all(keeping format: WeightFormat?) throws -> Parameters {
        var values: [String: Parameter] = [:]
        for name in config.parameterSpecs.map(\.name) where names.contains(name) { values[name] = try read(name, keeping: format) }
        return try located { try Parameters(values, for: config) }
    }

    /// Errors of what `body` checks name the file.
    func located<R>(_ body: () throws -> R) throws -> R {
        do { return try body() } catch let error as LensError { throw error.located(in: location) }
    }
}
