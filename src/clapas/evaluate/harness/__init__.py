"""Tasks of EleutherAI's lm-evaluation-harness (`lm-eval`) and of our own, with our model behind its interface."""
