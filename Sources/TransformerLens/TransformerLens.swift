// TransformerLens
