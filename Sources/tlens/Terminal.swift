// What stdout is: a terminal with colours and a width, or a pipe that gets plain text. NO_COLOR, TERM=dumb and a pipe turn
// colours off; COLUMNS, where it is set, is the width.

import TransformerLens
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// How results may look.
struct Terminal {
    let isTerminal: Bool
    let hasColours: Bool
    /// Columns; nil for a pipe or a file, where lines may be as long as they are.
    let width: Int?

    init(isTerminal: Bool, hasColours: Bool, width: Int?) {
        self.isTerminal = isTerminal
        self.hasColours = hasColours
        self.width = width
    }

    /// What the process' stdout is.
    static let stdout: Terminal = {
        let isTerminal = isatty(1) == 1
        let noColour = environmentVariable("NO_COLOR").map { !$0.isEmpty } ?? false
        let isDumb = environmentVariable("TERM").map { $0 == "dumb" || $0.isEmpty } ?? true
        var width: Int?
        if isTerminal {
            var size = winsize()
            let asked = ioctl(1, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
            width = environmentVariable("COLUMNS").flatMap(Int.init) ?? asked
        }
        return Terminal(isTerminal: isTerminal, hasColours: isTerminal && !noColour && !isDumb, width: width.map { max(20, $0) })
    }()

    /// Text in a style, where there are colours.
    func styled(_ text: String, _ style: Style) -> String {
        hasColours ? "\u{1B}[\(style.code)m\(text)\u{1B}[0m" : text
    }

    /// How text looks.
    enum Style {
        case bold, dim
        /// On a background of the 256-colour palette, in black or white, whichever reads.
        case background(Int, darkText: Bool)

        var code: String {
            switch self {
            case .bold: "1"
            case .dim: "2"
            case .background(let colour, let darkText): "48;5;\(colour);38;5;\(darkText ? 16 : 231)"
            }
        }
    }
}

extension TextTable {
    /// The table as `terminal` shows it: the header bold, lines no wider than it.
    func text(on terminal: Terminal) -> String {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.enumerated().map { index, line in
            let cut = terminal.width.map { cutToWidth(String(line), $0) } ?? String(line)
            return index == 0 ? terminal.styled(cut, .bold) : cut
        }.joined(separator: "\n")
    }
}

/// As much of a line as `width` columns hold, an ellipsis where something is left out.
func cutToWidth(_ line: String, _ width: Int) -> String {
    guard TextTable.width(line) > width else { return line }
    var cut = ""
    var used = 0
    for character in line {
        let next = TextTable.width(String(character))
        guard used + next < width else { break }
        cut.append(character)
        used += next
    }
    return cut + "…"
}
