// The tokenizers of LensText are what the analyses ask for.

import LensAnalysis
import LensText

extension Tokenizer: Tokenizing {}
