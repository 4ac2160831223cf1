// Views and subscripts: what each index picks, what throws, and that a value is a value.

import LensFiles
import LensTensor
import LensTestSupport
import Testing

@Suite struct ViewTests {
    @Test func subscriptsPick() throws {
        let x = try counting(2, 3, 4)
        expectElements(x[1], [12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23], shape: [3, 4])
        expectElements(x[-1, -1, -1], [23], shape: [])
        expectElements(x[.all, 1], [4, 5, 6, 7, 16, 17, 18, 19], shape: [2, 4])
        expectElements(x[.all, .all, 2], [2, 6, 10, 14, 18, 22], shape: [2, 3])
        expectElements(x[0, .range(1..<3), .from(2)], [6, 7, 10, 11], shape: [2, 2])
        expectElements(x[0, 0, .upTo(-1)], [0, 1, 2], shape: [3])
        expectElements(x[0, .from(-1)], [8, 9, 10, 11], shape: [1, 4])
        expectElements(x[0, 0, .span(-3, -1)], [1, 2], shape: [2])
        expectElements(x[.all, .range(1..<1)], [], shape: [2, 0, 4])
        expectElements(x[.from(2)], [], shape: [0, 3, 4])
        expectElements(x[], x.array, shape: [2, 3, 4])
        expectElements(x[1][.all, 1][-1], [21], shape: [])
        expectElements(try x.at(.at(1), .at(2), .span(0, 2)), [20, 21], shape: [2])
    }

    @Test(arguments: [[.at(2)], [.at(-3)], [.all, .at(3)], [.at(Int.max)], [.at(Int.min)], [.span(0, 3)], [.span(1, 0)], [.span(-3, 1)], [.span(3, nil)],
                      [.span(0, Int.max)], [.span(Int.min, nil)], [.all, .all, .all, .all]] as [[TensorIndex]])
    func outOfRangeThrows(_ indices: [TensorIndex]) throws {
        var x = try counting(2, 3, 4)
        let before = x.array
        switch indices.count {
        case 1:
            expectError { try x.at(indices[0]) }
            expectError { try x.set(indices[0], to: 1) }
        case 2:
            expectError { try x.at(indices[0], indices[1]) }
            expectError { try x.set(indices[0], indices[1], to: 1) }
        default:
            expectError { try x.at(indices[0], indices[1], indices[2], indices[3]) }
            expectError { try x.set(indices[0], indices[1], indices[2], indices[3], to: 1) }
        }
        expectElements(x, before)
    }

    @Test func assigning() throws {
        var x = Tensor(zeros: [2, 3])
        x[0] = 1
        x[.all, -1] = 2
        expectElements(x, [1, 1, 2, 0, 0, 2])
        x[1] = try Tensor([7, 8, 9], shape: [3])
        expectElements(x, [1, 1, 2, 7, 8, 9])
        x[.all] = try Tensor([5, 6], shape: [2, 1])
        expectElements(x, [5, 5, 5, 6, 6, 6])
        x[.all, .range(1..<3)] = try Tensor([1, 2], shape: [2])
        expectElements(x, [5, 1, 2, 6, 1, 2])
        x[0, 0] = -1.5
        expectElements(x, [-1.5, 1, 2, 6, 1, 2])
        x[.range(0..<0)] = 9
        expectElements(x, [-1.5, 1, 2, 6, 1, 2])
        expectError { try x.set(.at(0), to: Tensor(zeros: [2])) }
        expectError { try x.set(.at(0), to: Tensor(zeros: [1, 3])) }
        expectError { try x.set(.all, to: Tensor(zeros: [2, 3, 1])) }
        expectElements(x, [-1.5, 1, 2, 6, 1, 2])
    }

    @Test func assigningFromItself() throws {
        var x = try counting(3, 2)
        x[0] = x[1]
        expectElements(x, [2, 3, 2, 3, 4, 5])
        x = try counting(4)
        x[.range(1..<4)] = x[.range(0..<3)]
        expectElements(x, [0, 0, 1, 2])
        x = try counting(4)
        x[.range(0..<3)] = x[.range(1..<4)]
        expectElements(x, [1, 2, 3, 3])
        x = try counting(2, 2)
        x[.all] = try x.permuted(1, 0)
        expectElements(x, [0, 2, 1, 3])
        x = try counting(2, 3)
        x[.all] = x[.all, .range(1..<2)]
        expectElements(x, [1, 1, 1, 4, 4, 4])
        x[0, .all] = x[1, 0]
        expectElements(x, [4, 4, 4, 4, 4, 4])
    }

    @Test func aCopyIsAValue() throws {
        let a = try counting(2, 3)
        var b = a
        b[0] = 9
        expectElements(a, [0, 1, 2, 3, 4, 5])
        expectElements(b, [9, 9, 9, 3, 4, 5])
        var row = a[1]
        row[0] = -1
        expectElements(a, [0, 1, 2, 3, 4, 5])
        expectElements(row, [-1, 4, 5])
        var c = a
        let view = c[.all, 1]
        c[.all] = 0
        expectElements(view, [1, 4])
        try c.withUnsafeMutableElements { $0[0] = 8 }
        expectElements(a, [0, 1, 2, 3, 4, 5])
        var broadcast = try Tensor(1).broadcast(to: [2, 2])
        broadcast[0, 0] = 5
        expectElements(broadcast, [5, 1, 1, 1])
        var turned = try a.permuted(1, 0)
        turned[0] = 7
        expectElements(turned, [7, 7, 1, 4, 2, 5])
        expectElements(a, [0, 1, 2, 3, 4, 5])
    }

    /// Writing through a view that is the only owner of a larger buffer.
    @Test func aViewThatOutlivesItsBase() throws {
        var view = try counting(4, 3)[.range(1..<3), .from(1)]
        view[.all, 0] = -1
        expectElements(view, [-1, 5, -1, 8], shape: [2, 2])
        try view.withUnsafeMutableElements { elements in
            #expect(elements.count == 4)
            elements[3] = 0
        }
        expectElements(view, [-1, 5, -1, 0], shape: [2, 2])
    }

    @Test func reshapingAndPermuting() throws {
        let x = try counting(2, 3, 4)
        expectElements(try x.reshaped([6, 4]), x.array, shape: [6, 4])
        expectElements(try x.reshaped([-1]), x.array, shape: [24])
        expectElements(try x.reshaped([4, -1, 2]), x.array, shape: [4, 3, 2])
        let turned = try x.permuted(2, 0, 1)
        #expect(turned.shape == [4, 2, 3])
        for i in 0..<2 { for j in 0..<3 { for k in 0..<4 { #expect(turned[.at(k), .at(i), .at(j)].array == x[.at(i), .at(j), .at(k)].array) } } }
        expectElements(try turned.reshaped([24]), turned.array)
        expectElements(try turned.permuted(1, 2, 0), x.array, shape: [2, 3, 4])
        expectElements(try turned.contiguous(), turned.array, shape: [4, 2, 3])
        expectElements(try x.at(.all, .at(1)).reshaped([8]), [4, 5, 6, 7, 16, 17, 18, 19])
        expectElements(try Tensor(3).reshaped([1, 1]), [3], shape: [1, 1])
        expectElements(try Tensor(zeros: [0, 3]).reshaped([3, 0]), [], shape: [3, 0])
        expectElements(try Tensor(zeros: [0, 3]).reshaped([-1]), [], shape: [0])
        for wrong in [[5], [2, 3], [-1, 5], [-1, -1], [-2, -12], [24, 0], [Int.max, Int.max], [-1, Int.max]] {
            expectError(.shape, "\(wrong)") { try x.reshaped(wrong) }
        }
        expectError { try x.permuted(0, 1) }
        expectError { try x.permuted(0, 1, 1) }
        expectError { try x.permuted(0, 1, 3) }
    }

    @Test func broadcasting() throws {
        let x = try counting(3, 1)
        expectElements(try x.broadcast(to: [3, 2]), [0, 0, 1, 1, 2, 2])
        expectElements(try x.broadcast(to: [2, 3, 2]), [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2])
        expectElements(try x.broadcast(to: [3, 0]), [], shape: [3, 0])
        expectElements(try Tensor(2).broadcast(to: [2]), [2, 2])
        for wrong in [[3], [2, 2], [3, 1, 2], [], [-3, 1], [3, -1], [Int.max, 3, Int.max]] { expectError(.shape, "\(wrong)") { try x.broadcast(to: wrong) } }
    }

    @Test func making() throws {
        expectElements(Tensor(repeating: 2, shape: [2, 2]), [2, 2, 2, 2])
        expectElements(1.5, [1.5], shape: [])
        expectElements(Tensor(zeros: [3, 0]), [], shape: [3, 0])
        #expect(try Tensor([4], shape: [1, 1]).item() == 4)
        expectError { try counting(2).item() }
        expectError { try Tensor(zeros: [0]).item() }
        for shape in [[3], [2, 2, 2], [-1, -4], [], [Int.max, Int.max], [0]] { expectError(.shape, "\(shape)") { try Tensor([1, 2, 3, 4], shape: shape) } }
        #expect(try "\(counting(2, 6))" == "Tensor[2, 6] [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, …]")
        #expect(try "\(counting(2, 2).permuted(1, 0))" == "Tensor[2, 2] [0.0, 2.0, 1.0, 3.0]")
    }

    @Test func integers() throws {
        var x = try IntTensor(rows: [[1, 2, 3], [4, 5, 6]])
        #expect(x.shape == [2, 3] && x.rank == 2 && x.count == 6 && x.rows == [[1, 2, 3], [4, 5, 6]] && x.row(1) == [4, 5, 6])
        #expect(x[1, 2] == 6 && x[-1, -3] == 4)
        let before = x
        x[0, -1] = 9
        #expect(x.array == [1, 2, 9, 4, 5, 6] && before.array == [1, 2, 3, 4, 5, 6] && x != before)
        #expect(IntTensor([1, 2]).shape == [2] && IntTensor([1, 2]).rows == [])
        #expect(try IntTensor(rows: []).shape == [0, 0])
        #expect(try IntTensor([7], shape: [])[] == 7)
        expectError { try IntTensor(rows: [[1, 2], [3]]) }
        for shape in [[3], [-1, -2], [Int.max, 2], [2, 2]] { expectError(.shape, "\(shape)") { try IntTensor([1, 2], shape: shape) } }
    }
}
