"""The smallest model section that a recipe takes: for tests that train nothing."""

MODEL = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 64,
    "max_position_embeddings": 64,
}
