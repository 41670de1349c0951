"""Running language-model servers: how to ask vLLM, SGLang, llama.cpp, and other OpenAI-compatible ones."""
