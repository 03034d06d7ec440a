"""Load an exported folder with stock transformers, as anyone who downloads it would, and let it write French."""

import os
import sys

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")

from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

BEGINNINGS = (
    "Le salarié a droit à",
    "La durée du travail",
    "L'administration communique",
    "Le préavis est",
)

folder = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
for number, beginning in enumerate(BEGINNINGS):
    set_seed(number)
    ids = tokenizer(beginning, return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=60, do_sample=True, temperature=0.7, top_p=0.9)  # pyright: ignore
    text = tokenizer.decode(out[0], skip_special_tokens=True)
    print(f"  « {' '.join(text.split())} »\n")
