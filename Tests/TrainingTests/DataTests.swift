// Where batches come from: tasks, files, and that a batch depends on its number alone.

import Foundation
@testable import LensAnalysis
import LensFiles
import LensModel
import LensTensor
import Testing

@Suite struct TaskTests {
    @Test(arguments: ModularArithmetic.Operation.allCases)
    func modularArithmetic(operation: ModularArithmetic.Operation) throws {
        let p = 11, task = try ModularArithmetic(operation, modulus: p, trainFraction: 0.3, seed: 5)
        let train = try task.data.batch(0, size: nil), held = try #require(task.data.evaluation(size: nil).first)
        let rows = train.tokens.rows + held.tokens.rows, answers = (train.targets.rows + held.targets.rows).map { $0[2] }
        let pairs = operation == .divide ? p * (p - 1) : p * p
        #expect(rows.count == pairs && Set(rows).count == pairs, "every pair once")
        #expect(train.tokens.shape == [Int(Double(pairs) * 0.3), 3] && train.isAboutLastPosition)
        for (row, answer) in zip(rows, answers) {
            let (a, b) = (row[0], row[1])
            #expect(row[2] == p && (0..<p).contains(answer))
            switch operation {
            case .add: #expect(answer == (a + b) % p)
            case .subtract: #expect((answer + b) % p == a)
            case .multiply: #expect(answer == a * b % p)
            case .divide: #expect(answer * b % p == a)
            case .sumOfSquares: #expect(answer == (a * a + b * b) % p)
            case .quadratic: #expect(answer == (a * a + a * b + b * b) % p)
            case .cubic: #expect(answer == (a * a * a + a * b * b + b) % p)
            }
        }
        #expect(try ModularArithmetic(operation, modulus: p, seed: 5).data.batch(0, size: nil) == train, "the same seed, the same split")
        #expect(try ModularArithmetic(operation, modulus: p, seed: 6).data.batch(0, size: nil) != train)
    }

    @Test func repeatedTokensAskWhatCanBeKnown() throws {
        let data = try GeneratedData.repeatedTokens(vocabulary: 9, length: 4, seed: 1), batch = try data.batch(3, size: 20)
        for (row, targets) in zip(batch.tokens.rows, batch.targets.rows) {
            #expect(row[0] == 9 && Array(row[1...4]) == Array(row[5...8]))
            #expect(targets == [-100, -100, -100, -100, -100, row[6], row[7], row[8], -100])
        }
        #expect(try data.batch(3, size: 20) == batch && data.batch(4, size: 20) != batch)
        #expect(try data.evaluation(size: 100).map(\.tokens.shape) == [[100, 9], [100, 9], [56, 9]])
    }

    @Test func bracketsBalanceHalfOfTheTime() throws {
        let batch = try GeneratedData.balancedBrackets(length: 8, seed: 1).batch(0, size: 400)
        var balanced = 0
        for (row, targets) in zip(batch.tokens.rows, batch.targets.rows) {
            #expect(row.first == 2 && row.last == 5 && row.dropFirst().dropLast().allSatisfy { $0 == 3 || $0 == 4 })
            var height = 0, isBalanced = true
            for bracket in row.dropFirst().dropLast() {
                height += bracket == 3 ? 1 : -1
                if height < 0 { isBalanced = false }
            }
            #expect(targets.last == (isBalanced && height == 0 ? 1 : 0))
            balanced += targets.last ?? 0
        }
        #expect((200...320).contains(balanced), "\(balanced)")
    }

    /// The five balanced rows of six brackets come equally often.
    @Test func balancedRowsAreEquallyLikely() {
        var random = RandomStream(seed: 3, "test"), counts: [[Bool]: Int] = [:]
        for _ in 0..<2000 { counts[GeneratedData.balanced(6, &random), default: 0] += 1 }
        #expect(counts.count == 5 && counts.keys.allSatisfy(GeneratedData.isBalanced))
        #expect(counts.values.allSatisfy { (330...470).contains($0) }, "\(counts.values)")
    }

    @Test func indirectObjects() throws {
        let task = try IndirectObjectTask(seed: 2), batch = try task.data.batch(0, size: 50)
        for (row, targets) in zip(batch.tokens.rows, batch.targets.rows) {
            let asked = try #require(targets.firstIndex { $0 >= 0 }), answer = task.words[targets[asked]]
            #expect(targets.count { $0 >= 0 } == 1 && targets[asked] == row[asked + 1])
            let words = row[...asked].map { task.words[$0] }, names = words.filter(IndirectObjectTask.names.contains)
            #expect(names.count { $0 == answer } == 1, "the answer was said once: \(words)")
            #expect(names.count { $0 != answer } == 2 && Set(names).count == 2, "the other name twice: \(words)")
        }
        let everything = try IndirectObjectTask(asksEverything: true, seed: 2).data.batch(0, size: 5)
        #expect(everything.countedTargets > 50)
    }

    @Test func byName() throws {
        for name in TrainingTask.names {
            let task = try TrainingTask(name, options: name == "divide" ? ["modulus": "7"] : [:], seed: 1)
            let batch = try task.data.batch(0, size: 4)
            #expect(batch.tokens.array.allSatisfy { (0..<task.data.vocabularySize).contains($0) })
            #expect(batch.targets.array.allSatisfy { $0 == -100 || (0..<task.data.outputSize).contains($0) })
            #expect(batch.tokens.shape == [4, task.data.length])
        }
        #expect { try TrainingTask("addd") } throws: { "\($0)".contains("did you mean add") }
        #expect(throws: LensError.self) { try TrainingTask("add", options: ["p": "7"]) }
        #expect(throws: LensError.self) { try TrainingTask("add", options: ["modulus": "seven"]) }
        #expect(throws: LensError.self) { try TrainingTask("add", options: ["modulus": "-7"]) }
        #expect(throws: LensError.self) { try TrainingTask("divide", options: ["modulus": "9"]) }
        #expect(throws: LensError.self) { try TrainingTask("brackets", options: ["length": "5"]) }
    }
}

@Suite struct TrainingDataTests {
    @Test func everyRowOnceAnEpoch() throws {
        let rows = (0..<10).map { [$0, $0 + 1, $0 + 2] }
        let data = try TokenRowsData(training: rows, heldOut: [[1, 2, 3]], vocabularySize: 12, seed: 7, name: "test")
        let seen = try (0..<5).flatMap { try data.batch($0, size: 4).tokens.rows }
        #expect(Set(seen[..<10]).count == 10 && Set(seen[10...]).count == 10, "two epochs of ten")
        #expect(Array(seen[..<10]) != Array(seen[10...]) && Array(seen[..<10]) != rows, "each in its own order")
        #expect(try data.batch(3, size: 4).tokens.rows == Array(seen[12..<16]), "whichever was asked for before")
        #expect(try data.batch(0, size: nil).tokens.rows == rows)
        #expect(try data.evaluation(size: nil).first?.tokens.rows == [[1, 2, 3]])
        #expect(try data.batch(0, size: nil).targets.rows[0] == [1, 2, -100])
        let other = try TokenRowsData(training: rows.reversed(), heldOut: [[1, 2, 3]], vocabularySize: 12, seed: 7, name: "test")
        #expect(other.identity != data.identity)
    }

    @Test func masksAreNoTargets() throws {
        let batch = try TrainingBatch(nextTokensOf: IntTensor([0, 0, 5, 6, 1, 2, 3, 4], shape: [2, 4]), attentionMask: IntTensor([0, 0, 1, 1, 1, 1, 1, 1], shape: [2, 4]))
        #expect(batch.targets.rows == [[-100, -100, 6, -100], [2, 3, 4, -100]])
    }

    /// A tokenizer of bytes.
    private struct Bytes: Tokenizing {
        let bosID: Int? = 256
        func encode(text: String, addSpecialTokens: Bool) throws -> [Int] { text.utf8.map(Int.init) }
        func decode(tokens: [Int], skipSpecialTokens: Bool) throws -> String { "" }
    }

    @Test func textFiles() throws {
        let place = try TrainingPlace()
        try Data("abcd\n---\nefg\n---\nhij".utf8).write(to: URL(fileURLWithPath: place("text.txt")))
        let data = try TokenRowsData(text: place("text.txt"), tokenizer: Bytes(), vocabularySize: 258, length: 4, separator: "---", bos: 256, eos: 257, heldOut: 0)
        let rows = try data.batch(0, size: nil).tokens.rows
        #expect(rows == [[256, 97, 98, 99], [256, 100, 257, 101], [256, 102, 103, 257], [256, 104, 105, 106]])
        let split = try TokenRowsData(text: place("text.txt"), tokenizer: Bytes(), vocabularySize: 258, length: 2, heldOut: 0.3)
        #expect(try split.rowCount == 7 && split.evaluation(size: 2).map(\.tokens.shape) == [[2, 2], [1, 2]])
        try Data([0x61, 0xFF]).write(to: URL(fileURLWithPath: place("bad.txt")))
        #expect(throws: LensError.self) { try TokenRowsData(text: place("bad.txt"), tokenizer: Bytes(), vocabularySize: 258, length: 2) }
        #expect(throws: LensError.self) { try TokenRowsData(text: place("none.txt"), tokenizer: Bytes(), vocabularySize: 258, length: 2) }
        #expect(throws: LensError.self, "shorter than a row") { try TokenRowsData(text: place("text.txt"), tokenizer: Bytes(), vocabularySize: 258, length: 99) }
    }

    @Test func tokenFiles() throws {
        let place = try TrainingPlace()
        func write(_ text: String) throws -> String {
            try Data(text.utf8).write(to: URL(fileURLWithPath: place("t.json")))
            return place("t.json")
        }
        let rows = try TokenRowsData(tokens: write("[[1,2,3],[4,5,6]]"), length: 3, heldOut: 0)
        #expect(try rows.batch(0, size: nil).tokens.rows == [[1, 2, 3], [4, 5, 6]])
        #expect(rows.vocabularySize == 7)
        #expect(try TokenRowsData(tokens: write("[1,2,3,4,5]"), length: 2, heldOut: 0).batch(0, size: nil).tokens.rows == [[1, 2], [3, 4]])
        #expect(try TokenRowsData(tokens: write("[[1,2,3],[4]]"), length: 2, heldOut: 0).batch(0, size: nil).tokens.rows == [[1, 2], [3, 4]])
        for wrong in ["{}", "[]", "[1, \"a\"]", "[[1],[2.5]]", "[-1, 2, 3]", "[[1,2,3],4]", "[1,2", "[99999999999999999999, 1]"] {
            #expect(throws: LensError.self, "\(wrong)") { try TokenRowsData(tokens: write(wrong), length: 2) }
        }
        #expect(throws: LensError.self, "outside the vocabulary") { try TokenRowsData(tokens: write("[1,3,2]"), vocabularySize: 3, length: 2) }
        let numpy = place("t.npy")
        var header = Array("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), }".utf8)
        header += Array(repeating: 0x20, count: 117 - header.count) + [0x0A]
        try Data([0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + header + [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0, 1]).write(to: URL(fileURLWithPath: numpy))
        #expect(try TokenRowsData(tokens: numpy, length: 3, heldOut: 0).batch(0, size: nil).tokens.rows == [[1, 2, 3], [4, 5, 256]])
    }
}
