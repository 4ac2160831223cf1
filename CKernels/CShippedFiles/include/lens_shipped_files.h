// Files that are part of the program: the model that comes with the package. They are found wherever the binary is moved,
// which a resource bundle is not.
#pragma once
#include <stddef.h>

typedef struct {
    /// `folder/name`, with a zero byte at the end.
    const char *path;
    const unsigned char *bytes;
    size_t count;
} lens_shipped_file;

/// The files, `*count` of them (at least one); valid for as long as the program runs.
const lens_shipped_file *lens_shipped_files(size_t *count);
