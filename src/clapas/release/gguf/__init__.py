"""GGUF, the file that llama.cpp, Ollama and their kin read: weights, dimensions and tokenizer in one."""
