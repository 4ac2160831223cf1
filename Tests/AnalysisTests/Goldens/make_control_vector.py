"""Makes control_vector.gguf as repeng and llama.cpp's cvector-generator write one, with the `gguf` package (0.19.0).

    python make_control_vector.py
"""

from pathlib import Path

import gguf
import numpy as np

writer = gguf.GGUFWriter(Path(__file__).resolve().parent / "control_vector.gguf", "controlvector")
writer.add_string("controlvector.model_hint", "llama")
writer.add_int32("controlvector.layer_count", 3)
for layer in (1, 2, 4):
    writer.add_tensor(f"direction.{layer}", (np.arange(7, dtype=np.float32) - 3) * layer / 8)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
