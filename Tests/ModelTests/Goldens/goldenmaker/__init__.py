"""Makes the reference data of the model tests from TransformerLens and Hugging Face transformers."""
