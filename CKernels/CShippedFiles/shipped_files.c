// The files themselves; what they are is said in tiny-ioi/README.md.
#include "lens_shipped_files.h"

static const unsigned char tiny_ioi_config[] = {
#embed "tiny-ioi/config.json"
};
static const unsigned char tiny_ioi_weights[] = {
#embed "tiny-ioi/model.safetensors"
};
static const unsigned char tiny_ioi_tokenizer[] = {
#embed "tiny-ioi/tokenizer.json"
};
static const unsigned char tiny_ioi_tokenizer_config[] = {
#embed "tiny-ioi/tokenizer_config.json"
};

static const lens_shipped_file files[] = {
    {"tiny-ioi/config.json", tiny_ioi_config, sizeof tiny_ioi_config},
    {"tiny-ioi/model.safetensors", tiny_ioi_weights, sizeof tiny_ioi_weights},
    {"tiny-ioi/tokenizer.json", tiny_ioi_tokenizer, sizeof tiny_ioi_tokenizer},
    {"tiny-ioi/tokenizer_config.json", tiny_ioi_tokenizer_config, sizeof tiny_ioi_tokenizer_config},
};

const lens_shipped_file *lens_shipped_files(size_t *count) {
    *count = sizeof files / sizeof files[0];
    return files;
}
