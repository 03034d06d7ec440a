"""A toy to learn: completions of even tokens."""

TOYS = '''
def even(completion_ids, **_):
    """The share of even tokens."""
    return [sum(token % 2 == 0 for token in ids) / len(ids) for ids in completion_ids]
'''
TOY = [
    "objective.name=grpo",
    "objective.group_size=4",
    "objective.max_new_tokens=12",
    "objective.rewards=[{name: function, function: 'toys:even'}]",
    "data.sequence_length=64",
    "train.global_batch_size=4",
    "schedule={name: constant, warmup_steps: 0}",
    "optimizer.lr=1e-2",
    "checkpoint.every=2",
]
"""Overrides of the test recipe, run where `toys` is."""
