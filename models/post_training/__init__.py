"""From a base model to an assistant: each method one file, which begins with its formula and paper.

tasks           problems whose answers can be checked: sums, reversing, copying
characters      speaking as a character of the plays, judged by perplexity
conversations   conversations as batches: prompts masked, rows padded or packed
replies         answers to many prompts at once, and their probabilities
sft             supervised fine-tuning
lora            low-rank adapters, in peft's files
"""
