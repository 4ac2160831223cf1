// A SentencePiece `.model` file: ModelProto of sentencepiece_model.proto, as far as a tokenizer needs it.
// It refuses files without pieces, models other than BPE and Unigram, and numbers that cannot be.
import LensFiles

/// The content of a SentencePiece model.
struct SentencePieceModel {
    enum Kind: Int { case unigram = 1, bpe = 2 }

    /// ModelProto.SentencePiece.Type.
    enum PieceType: Int { case normal = 1, unknown, control, userDefined, unused, byte }

    struct Piece {
        var text = ""
        var score: Float = 0
        var type = PieceType.normal
    }

    var pieces: [Piece] = []
    // TrainerSpec, with its defaults.
    var kind = Kind.unigram
    var byteFallback = false
    var unkID = 0
    var bosID = 1
    var eosID = 2
    var padID = -1
    var unkPiece = "<unk>"
    // NormalizerSpec, with its defaults.
    var charsmap: [UInt8] = []
    var addDummyPrefix = true
    var removeExtraWhitespaces = true

    init(_ data: [UInt8], at location: String) throws {
        var reader = ProtobufReader(data[...], at: location)
        while let (number, value) = try reader.next() {
            switch number {
            case 1:
                guard pieces.count < Int(Int32.max) else { throw LensError(.format, "too many pieces", at: location) }
                pieces.append(try Self.piece(try value.asBytes(at: location), at: "\(location): pieces[\(pieces.count)]"))
            case 2: try readTrainer(try value.asBytes(at: location), at: "\(location): trainer_spec")
            case 3: try readNormalizer(try value.asBytes(at: location), at: "\(location): normalizer_spec")
            default: break
            }
        }
        guard !pieces.isEmpty else { throw LensError(.format, "SentencePiece model without pieces", at: location) }
        guard pieces.indices.contains(unkID) else {
            throw LensError(.format, "unknown piece that is not there", at: "\(location): trainer_spec.unk_id",
                            expected: "0 to \(pieces.count - 1)", found: "\(unkID)")
        }
    }

    /// The text of the piece with an id; nil if the id is none (a negative one switches the piece off).
    func piece(_ id: Int) -> String? { pieces.indices.contains(id) ? pieces[id].text : nil }

    private static func piece(_ data: ArraySlice<UInt8>, at location: String) throws -> Piece {
        var reader = ProtobufReader(data, at: location), piece = Piece()
        while let (number, value) = try reader.next() {
            switch number {
            case 1: piece.text = try value.asString(at: "\(location).piece")
            case 2: piece.score = try value.asFloat(at: "\(location).score")
            case 3:
                let number = try value.asInt(at: "\(location).type")
                guard let type = PieceType(rawValue: number) else {
                    throw LensError(.format, "piece of an unknown type", at: "\(location).type", expected: "1 to 6", found: "\(number)")
                }
                piece.type = type
            default: break
            }
        }
        guard piece.score.isFinite else {
            throw LensError(.format, "score that is no number", at: "\(location).score", found: "\(piece.score)")
        }
        return piece
    }

    private mutating func readTrainer(_ data: ArraySlice<UInt8>, at location: String) throws {
        var reader = ProtobufReader(data, at: location)
        while let (number, value) = try reader.next() {
            switch number {
            case 3:
                let number = try value.asInt(at: "\(location).model_type")
                guard let kind = Kind(rawValue: number) else {
                    throw LensError(.format, "unsupported kind of SentencePiece model", at: "\(location).model_type",
                                    expected: "1 (unigram) or 2 (BPE)", found: "\(number)")
                }
                self.kind = kind
            case 35: byteFallback = try value.asBool(at: "\(location).byte_fallback")
            case 40: unkID = try value.asInt(at: "\(location).unk_id")
            case 41: bosID = try value.asInt(at: "\(location).bos_id")
            case 42: eosID = try value.asInt(at: "\(location).eos_id")
            case 43: padID = try value.asInt(at: "\(location).pad_id")
            case 45: unkPiece = try value.asString(at: "\(location).unk_piece")
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ data: ArraySlice<UInt8>, at location: String) throws {
        var reader = ProtobufReader(data, at: location)
        while let (number, value) = try reader.next() {
            switch number {
            case 2: charsmap = Array(try value.asBytes(at: "\(location).precompiled_charsmap"))
            case 3: addDummyPrefix = try value.asBool(at: "\(location).add_dummy_prefix")
            case 4: removeExtraWhitespaces = try value.asBool(at: "\(location).remove_extra_whitespaces")
            default: break
            }
        }
    }
}
