// A matrix of numbers as text: every number in its cell, with a background by its size on a terminal that has colours.
// Too many columns for the terminal go below one another; too many for any terminal are what --out is for.

import TransformerLens

/// Rows × columns of numbers with labels.
struct Heatmap {
    /// What colours say.
    enum Scale {
        /// From the smallest (dark) to the largest (bright).
        case sequential
        /// The same between given bounds, for numbers that have them (attention: 0 and 1).
        case between(Double, Double)
        /// Below the middle blue, above it red, white at it.
        case diverging(middle: Double)
    }

    var title = ""
    let rows: [String]
    let columns: [String]
    /// `[row][column]`; NaN: nothing there.
    let values: [[Double]]
    var digits = 3
    var scale = Scale.sequential
    /// What stands in the cells instead of their numbers, which then only colour them.
    var texts: [[String]]?
    /// What stands above the row labels.
    var corner = ""

    /// - Parameter values: `[rows × columns]` in row-major order.
    init(_ title: String = "", rows: [String], columns: [String], values: [Double], digits: Int = 3, scale: Scale = .sequential, corner: String = "") {
        self.title = title
        self.rows = rows
        self.columns = columns
        let width = columns.count
        self.values = rows.indices.map { row in
            (0..<width).map { column in row * width + column < values.count ? values[row * width + column] : .nan }
        }
        self.digits = digits
        self.scale = scale
        self.corner = corner
    }

    /// The text, one block of columns after another where they do not fit beside each other.
    func text(on terminal: Terminal) -> String {
        let rowWidth = ([corner] + rows).map { TextTable.width($0) }.max() ?? 0
        let cells = texts ?? values.map { $0.map { $0.isNaN ? "·" : fixed($0, digits) } }
        // A number whole; a long label cut rather than all columns widened.
        let cellWidth = cells.joined().map { TextTable.width($0) }.max() ?? 0
        let labelWidth = columns.map { TextTable.width($0) }.max() ?? 0
        let width = max(cellWidth, min(labelWidth, max(cellWidth, 8)))
        let fitting = terminal.width.map { max(1, ($0 - rowWidth - 1) / (width + 1)) } ?? max(1, columns.count)
        var blocks: [String] = title.isEmpty ? [] : [terminal.styled(title, .bold)]
        for start in stride(from: 0, to: max(1, columns.count), by: fitting) {
            let range = start..<min(columns.count, start + fitting)
            blocks.append(block(range, cells, rowWidth: rowWidth, cellWidth: width, terminal))
        }
        return blocks.joined(separator: "\n")
    }

    private func block(_ range: Range<Int>, _ cells: [[String]], rowWidth: Int, cellWidth: Int, _ terminal: Terminal) -> String {
        let header = padded(corner, rowWidth, right: false) + range.map { " " + padded(cutToWidth(columns[$0], cellWidth), cellWidth, right: true) }.joined()
        let bounds = self.bounds
        let lines = rows.indices.map { row in
            padded(rows[row], rowWidth, right: false) + range.map { column in
                let cell = " " + padded(cells[row][column], cellWidth, right: true)
                guard terminal.hasColours, let style = style(values[row][column], bounds) else { return cell }
                return terminal.styled(cell, style)
            }.joined()
        }
        return ([terminal.styled(header, .dim)] + lines).joined(separator: "\n")
    }

    private func padded(_ text: String, _ width: Int, right: Bool) -> String {
        let filling = String(repeating: " ", count: max(0, width - TextTable.width(text)))
        return right ? filling + text : text + filling
    }

    private var bounds: (low: Double, high: Double) {
        let finite = values.joined().filter(\.isFinite)
        return (finite.min() ?? 0, finite.max() ?? 0)
    }

    private static let sequential = [16, 17, 18, 54, 90, 126, 162, 198, 204, 210, 216, 223, 230]
    private static let blues = [231, 195, 153, 111, 75, 33, 26, 19]
    private static let reds = [231, 224, 217, 210, 203, 196, 160, 124]

    private func style(_ value: Double, _ bounds: (low: Double, high: Double)) -> Terminal.Style? {
        guard value.isFinite else { return nil }
        func step(_ share: Double, _ count: Int) -> Int { min(count - 1, max(0, Int((share * Double(count - 1)).rounded()))) }
        switch scale {
        case .sequential, .between:
            var (low, high) = bounds
            if case .between(let least, let most) = scale { (low, high) = (least, most) }
            guard high > low else { return nil }
            let index = step((value - low) / (high - low), Self.sequential.count)
            return .background(Self.sequential[index], darkText: index > 7)
        case .diverging(let middle):
            let reach = max(abs(bounds.high - middle), abs(bounds.low - middle))
            guard reach > 0 else { return nil }
            let index = step(abs(value - middle) / reach, Self.blues.count)
            return .background(value < middle ? Self.blues[index] : Self.reds[index], darkText: index < 5)
        }
    }
}
