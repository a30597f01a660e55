"""`llmitm review`: the queue of held exchanges in a terminal and for scripts."""
